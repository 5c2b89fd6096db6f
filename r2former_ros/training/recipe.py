# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a run learns: the settings of one stage, from a named recipe or a YAML file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from ..config import checked_values, option
from ..errors import ConfigError
from .augment import AUGMENTS

FOLDER = Path(__file__).parent / 'recipes'
STAGES = ('retrieval', 'rerank', 'joint')


@dataclass(frozen=True)
class Recipe:
    """One stage of training; defaults are those of the released code where it has them."""

    stage: str = option('retrieval', 'What is trained', choices=STAGES)
    retrieval_loss: str = option(
        'triplet', 'Loss of the global descriptor: triplet as published, or info_nce, which '
        'contrasts all images of a micro-batch', choices=('triplet', 'info_nce'),
    )
    pair_loss: str = option(
        'cross_entropy', 'Loss of the reranker: cross_entropy of each pair as published, or '
        'ranking of the positive among the negatives', choices=('cross_entropy', 'ranking'),
    )
    mining: str = option(
        'partial', 'Where negatives come from: the hardest of a sample (partial), a draw from '
        'the hardest of the whole database (global), or any other place (random, info_nce only)',
        choices=('partial', 'global', 'random'),
    )
    epochs: int = option(50, 'Epochs', minimum=1)
    patience: int = option(
        0, 'End after this many epochs without a better recall@1; 0: never early', unit='epochs',
        minimum=0,
    )
    batch: int = option(16, 'Queries per optimizer step', unit='queries', minimum=1)
    micro_batch: int = option(
        0, 'Queries computed at a time, where a batch exceeds memory; 0: all. Triplet and '
        'reranking losses stay the same; info_nce contrasts within a micro-batch',
        unit='queries', minimum=0,
    )
    negatives: int = option(
        2, 'Negatives per query; 0: the other images of the batch (retrieval with info_nce)',
        minimum=0,
    )
    queries_per_epoch: int = option(
        50_000, 'Queries per epoch, at most all', unit='queries', minimum=1
    )
    queries_per_mining: int = option(
        10_000, 'Queries between two rounds of mining', unit='queries', minimum=1
    )
    sample: int = option(
        1000, 'Database images that partial mining searches', unit='images', minimum=1
    )
    hardest: int = option(
        100, 'Hardest negatives that global mining draws from', unit='images', minimum=1
    )
    margin: float = option(0.1, 'Margin of the triplet loss, on distances', minimum=0)
    temperature: float = option(0.05, 'Temperature of info_nce', minimum=1e-3)
    local_weight: float = option(
        0.0, 'Weight of a contrast of images by their patches (retrieval with info_nce); 0: off',
        minimum=0,
    )
    local_temperature: float = option(0.02, 'Temperature of that contrast', minimum=1e-3)
    patch_weight: float = option(
        0.0, 'Weight of a contrast of patches between two views of one image; 0: off', minimum=0
    )
    patch_temperature: float = option(0.05, 'Temperature of that contrast', minimum=1e-3)
    pair_weight: float = option(
        1.0, 'Weight of the reranking loss next to the retrieval loss (joint)', minimum=0
    )
    local_gradient: bool = option(
        False, 'Pass the gradient of the local head on to the trunk'
    )
    hold_reranker: bool = option(
        False, 'Keep the reranker as it is; its loss then trains the local head alone'
    )
    trained_blocks: int = option(
        -1, 'Last transformer blocks that are trained; 0: only the heads, -1: everything',
        unit='blocks', minimum=-1,
    )
    augment: str = option(
        'none', 'How strongly views of an image are changed', choices=tuple(AUGMENTS)
    )
    query_augment: str = option(
        '', 'The same for queries; empty: as augment', choices=('', *AUGMENTS)
    )
    antialias: bool = option(
        True, 'Smooth larger images when shrinking them, as the released training does and '
        'inference does not'
    )
    positive_radius_m: float = option(
        10.0, 'Images of a bag within this distance show the same place; datasets keep the '
        'published 10 m', unit='m', minimum=0,
    )
    positive_angle_deg: float = option(
        45.0, 'Largest difference of heading at the same place, in bags', unit='deg', minimum=0
    )
    same_place_radius_m: float = option(
        25.0, 'Images of a bag within this distance are never negatives; datasets keep the '
        'published 25 m', unit='m', minimum=0,
    )
    optimizer: str = option('adamw', 'Optimizer', choices=('adam', 'adamw'))
    learning_rate: float = option(1e-5, 'Learning rate', minimum=0)
    weight_decay: float = option(0.03, 'Weight decay', minimum=0)
    stem_rate: float = option(
        1.0, 'Learning rate of the patch embedding, relative to the rest', minimum=0
    )
    clip_norm: float = option(
        0.0, 'Largest norm of the gradient; 0: not clipped', minimum=0
    )
    average: float = option(
        0.0, 'Decay of a moving average of the weights, which is then measured and kept; 0: '
        'none, below 1', minimum=0,
    )
    blend: float = option(
        1.0, 'Share of the learned weights in what is kept; the rest are the initial weights',
        minimum=0,
    )
    schedule: str = option(
        'constant', 'Learning rate over the epochs', choices=('constant', 'cosine')
    )
    warmup_epochs: float = option(
        0.0, 'Epochs over which the learning rate rises', unit='epochs', minimum=0
    )
    validated_candidates: int = option(
        100, 'Candidates that are reranked to measure recall@1', minimum=1
    )
    precision: str = option(
        '32-true', 'Arithmetic', choices=('32-true', 'bf16-mixed', '16-mixed')
    )
    seed: int = option(0, 'Seed of everything random')

    def __post_init__(self) -> None:
        checked_values(Recipe, asdict(self))
        contrast = self.stage == 'retrieval' and self.retrieval_loss == 'info_nce'
        if self.average >= 1:
            raise ConfigError(f'average: {self.average!r} is not below 1')
        if self.local_weight and not contrast:
            raise ConfigError('local_weight: is only for retrieval with info_nce')
        if self.mining == 'random' and self.retrieval_loss != 'info_nce':
            raise ConfigError('mining: random is only for info_nce')
        if self.negatives == 0 and not contrast:
            raise ConfigError('negatives: 0 is only for retrieval with info_nce, which takes the '
                              'other images of the batch')

    @property
    def trains_reranker(self) -> bool:
        """Whether steps are taken on the reranker itself."""
        return self.stage != 'retrieval' and not self.hold_reranker

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return asdict(self)


def load_recipe(name: str | Path, **changes: Any) -> Recipe:
    """
    Read a recipe by the name of a file in this package, or by path.

    :param changes: settings that take precedence over the file.
    :raises ConfigError: for a missing or malformed file, an unknown setting, or a bad value.
    """
    path = FOLDER / f'{name}.yaml'
    path = path if path.exists() else Path(name)
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8')) or {}
    except OSError as error:
        raise ConfigError(f'{name}: no such recipe; there are {", ".join(recipe_names())}, or '
                          'give a file') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path}: is not YAML ({" ".join(str(error).split())})') from error
    if not isinstance(values, dict):
        raise ConfigError(f'{path}: expected settings as NAME: VALUE lines')
    return Recipe(**checked_values(Recipe, {**values, **changes}))


def recipe_names() -> list[str]:
    """Return the names of the recipes in this package."""
    return sorted(file.stem for file in FOLDER.glob('*.yaml'))
