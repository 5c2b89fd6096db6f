# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a run learns: the settings of one stage, from a named YAML file of this package or any."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError
from .augment import AUGMENTS

FOLDER = Path(__file__).parent / 'recipes'
STAGES = ('retrieval', 'rerank', 'joint')
CHOICES = {
    'stage': STAGES,
    'retrieval_loss': ('triplet', 'info_nce'),
    'pair_loss': ('cross_entropy', 'ranking'),
    'mining': ('partial', 'global', 'random'),
    'optimizer': ('adam', 'adamw'),
    'schedule': ('constant', 'cosine'),
    'augment': tuple(AUGMENTS),
    'query_augment': ('', *AUGMENTS),
    'precision': ('32-true', 'bf16-mixed', '16-mixed'),
}
MINIMA = {
    'epochs': 1, 'patience': 0, 'batch': 1, 'micro_batch': 0, 'negatives': 0,
    'queries_per_epoch': 1, 'queries_per_mining': 1, 'sample': 1, 'hardest': 1, 'margin': 0,
    'temperature': 1e-3, 'local_weight': 0, 'local_temperature': 1e-3,
    'patch_weight': 0, 'patch_temperature': 1e-3, 'blend': 0, 'positive_radius_m': 0,
    'positive_angle_deg': 0, 'same_place_radius_m': 0, 'pair_weight': 0, 'trained_blocks': -1,
    'learning_rate': 0, 'weight_decay': 0, 'stem_rate': 0, 'clip_norm': 0, 'average': 0,
    'warmup_epochs': 0,
    'validated_candidates': 1,
}


@dataclass(frozen=True)
class Recipe:
    """
    One stage of training; the defaults are those of the released code where it has them.

    An epoch learns ``queries_per_epoch`` queries (at most all); after every
    ``queries_per_mining`` pairs are mined anew. ``sample`` is the part of the database that
    partial mining looks at, ``hardest`` how many global mining draws from; ``random`` takes any
    positive and any other places, without encoding anything.

    ``micro_batch`` queries are computed at a time where a ``batch`` does not fit into memory (0:
    all; the triplet loss and the reranker's do not change by it, ``info_nce`` contrasts within
    it). ``pair_loss`` is the published cross entropy of each pair, or ``ranking``: which candidate
    is the positive. ``pair_weight`` is its share beside the retrieval loss; with
    ``local_gradient`` its gradient goes on into the trunk; with ``hold_reranker`` it passes
    through the reranker to the local head and leaves the reranker as it is. (The retrieval stage
    has no use for these.) ``trained_blocks`` counts from the last (-1: everything; 0: only the
    heads). With ``local_weight`` the retrieval stage contrasts
    images by their patches too; with ``patch_weight`` patches find each other in two views of one
    image. ``keep_constants`` leaves alone what belongs to the token values
    that ``bootstrap`` set as constants and positions; ``stem_rate`` is the patch embedding's share
    of the learning rate; ``average`` the decay of a moving average of the weights, which is then
    what is measured and kept (0: none), and ``blend`` the share of what was learned in the weights
    that are kept, beside those that training began with.

    ``augment`` names how strongly views of the images are changed, ``query_augment`` the same of
    queries where it differs. ``antialias`` is for images larger than the network's: as the
    released training shrinks them, while at run time they are not smoothed. The radii and the
    angle say what is the same place in bags; datasets keep the published 10 m and 25 m. Training
    ends after ``patience`` epochs without a better recall@1 (0: never early); the reranker's is
    measured on the first ``validated_candidates``.
    """

    stage: str = 'retrieval'
    retrieval_loss: str = 'triplet'
    pair_loss: str = 'cross_entropy'
    mining: str = 'partial'
    epochs: int = 50
    patience: int = 0
    batch: int = 16
    micro_batch: int = 0
    negatives: int = 2
    queries_per_epoch: int = 50_000
    queries_per_mining: int = 10_000
    sample: int = 1000
    hardest: int = 100
    margin: float = 0.1
    temperature: float = 0.05
    local_weight: float = 0.0
    local_temperature: float = 0.02
    patch_weight: float = 0.0
    patch_temperature: float = 0.05
    pair_weight: float = 1.0
    local_gradient: bool = False
    hold_reranker: bool = False
    trained_blocks: int = -1
    keep_constants: bool = False
    augment: str = 'none'
    query_augment: str = ''
    antialias: bool = True
    positive_radius_m: float = 10.0
    positive_angle_deg: float = 45.0
    same_place_radius_m: float = 25.0
    optimizer: str = 'adamw'
    learning_rate: float = 1e-5
    weight_decay: float = 0.03
    stem_rate: float = 1.0
    clip_norm: float = 0.0
    average: float = 0.0
    blend: float = 1.0
    schedule: str = 'constant'
    warmup_epochs: float = 0.0
    validated_candidates: int = 100
    precision: str = '32-true'
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f'{name}: {getattr(self, name)!r} is not one of '
                                  f'{", ".join(choices)}')
        for name, least in MINIMA.items():
            if not getattr(self, name) >= least:
                raise ConfigError(f'{name}: {getattr(self, name)!r} is not at least {least}')
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


def checked_values(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    """
    Return settings for a dataclass with plain defaults; whole numbers will do for fractions.

    :raises ConfigError: for an unknown setting, or a value of another type.
    """
    kinds = {item.name: type(item.default) for item in fields(kind)}
    for name, value in values.items():
        if name not in kinds:
            raise ConfigError(f'{name}: no such setting; known are {", ".join(kinds)}')
        accepted = (int, float) if kinds[name] is float else kinds[name]
        wrong_bool = isinstance(value, bool) and kinds[name] is not bool
        if wrong_bool or not isinstance(value, accepted):
            raise ConfigError(f'{name}: {value!r} is no {kinds[name].__name__}')
    return values
