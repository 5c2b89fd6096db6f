# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How the bundled weights come about: from published ImageNet weights and images without labels.

The trunk is that of EfficientNet-Lite0. Its tokens, the local features and the head of the pooled
tokens are fitted in closed form (``initial.encoder``). Blocks and class token then learn on tokens
that were computed once (``class_token``). The reranker is set and calibrated on changed views and
synthetic towns; ``reranker_steps`` above zero lets it learn which patches to believe
(``initial.judge``). Finished parts are kept in the output folder and not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..common.files import digest_of, replacing
from ..config import checked_values, option
from ..errors import ConfigError, DatasetError
from ..model import PRESETS, R2Former, save_weights
from ..model.checkpoint import untrained_model
from ..model.hybrid_encoder import HybridEncoder
from ..model.network import Origin
from ..model.preprocess import normalised
from .augment import AugmentConfig
from .class_token import ClassTokenTrainer, Components
from .data.camera_views import VIEWS
from .data.pools import ImagePool, PairLoader, load_pool, patch_matches
from .data.shots import Shot, group_of, shots_of_pictures
from .data.token_store import TokenViews, token_views
from .initial.encoder import fit_tokens, fit_words, point_heads_at_cells, read_first_values
from .initial.judge import JudgeRecipe, learn_to_judge
from .initial.pair_data import kept_pair_data, pair_data
from .initial.reranker import start_reranker
from .initial.trunk import load_published, published_weights
from .optimization import attend_plainly

CACHE_SIZE_PX = (288, 384)
PAIRS_AT_ONCE = 32
LEAST_IMAGES = 257
"""One more than a descriptor has values: they are fitted as principal components of images."""
MILD = AugmentConfig(
    zoom=0.2, shift=0.06, tilt=0.04, turn_deg=3.0, light=0.4, night=0.05, grey=0.1, blur=0.1,
    coarse=0.15, occlusion=0.1, noise=0.1,
)
STRONG = AugmentConfig(zoom=0.5, shift=0.12, tilt=0.1, turn_deg=8.0, night=0.4, occlusion=0.2)
PATCH = 16 / 256
"""Distance of neighbouring patches of ``tiny``; the longer side of the image is one."""
WEIGHTS = 'r2former-tiny.safetensors'
ORIGIN = 'r2former_ros bootstrap on EfficientNet-Lite0 (ImageNet) and unlabelled images'
PARTS = 6

Report = Callable[[str, int, int], None]
"""Gets the part that is made, and how much of how much is done."""


@dataclass(frozen=True)
class BootstrapConfig:
    """How much data each part uses; the defaults are those of the bundled weights."""

    start_pairs: int = option(
        1280, 'Pairs of views that tokens and local features are fitted to', unit='pairs',
        minimum=PAIRS_AT_ONCE,
    )
    word_images: int = option(
        1000, 'Images that the visual words are fitted to', unit='images', minimum=1
    )
    pool_components: int = option(
        1536, 'Principal components of the pooled tokens', minimum=PRESETS['tiny'].descriptor_dim
    )
    pool_images: int = option(
        3200, 'Images that these are fitted to, more than there are components', unit='images',
        minimum=LEAST_IMAGES,
    )
    viewed_images: int = option(
        3000, 'Images that are seen in other views too', unit='images', minimum=2
    )
    class_steps: int = option(
        450, 'Optimizer steps on blocks, class token and heads', unit='steps', minimum=0
    )
    class_batch: int = option(
        48, 'Images per optimizer step, each in two views', unit='images', minimum=6
    )
    class_rate: float = option(1.2e-3, 'Largest learning rate of these steps', minimum=0.0)
    pair_images: int = option(
        600, 'Images that the reranker is calibrated on', unit='images', minimum=2
    )
    towns: int = option(
        3, 'Synthetic towns that the reranker is calibrated on too', unit='towns', minimum=0
    )
    reranker_steps: int = option(
        0, 'Optimizer steps on what the reranker adds to the support of patches', unit='steps',
        minimum=0,
    )
    seed: int = option(0, 'Seed of everything random', minimum=0)

    def __post_init__(self) -> None:
        checked_values(BootstrapConfig, asdict(self))
        if self.pool_images <= self.pool_components:
            raise ConfigError(f'pool_images: {self.pool_images} is not above pool_components, '
                              f'{self.pool_components}')


def bootstrap(
    folders: Sequence[Path], out: Path, config: BootstrapConfig, report: Report | None = None,
    towns: Iterable[Iterable[Shot]] = (),
) -> R2Former:
    """
    Make a ``tiny`` model from folders of JPEG images; resumes where an earlier call ended.

    :param report: called while the parts are made.
    :param towns: shots of synthetic towns, for the reranker.
    :raises ConfigError: if the package with the trunk's weights is missing.
    :raises DatasetError: if there are too few pictures.
    """
    tell = report or (lambda part, done, total: None)
    trunk_weights = published_weights()
    out.mkdir(parents=True, exist_ok=True)
    tell('read images', 0, PARTS)
    pool = load_pool(folders, out, CACHE_SIZE_PX)
    if len(pool.clip) < max(LEAST_IMAGES, config.pool_images):
        raise DatasetError(f'{len(pool.clip)} pictures: at least '
                           f'{max(LEAST_IMAGES, config.pool_images)} are needed')
    encoded_by = asdict(replace(config, pair_images=2, towns=0, reranker_steps=0))
    folder = out / digest_of(encoded_by, VIEWS, pool.images.shape)
    folder.mkdir(exist_ok=True)
    torch.manual_seed(config.seed)
    model = untrained_model(PRESETS['tiny']).eval()
    encoder = model.encoder
    assert isinstance(encoder, HybridEncoder)  # what the preset says
    tell('fit tokens', 1, PARTS)
    _make_once(encoder, folder / 'tokens.pt',
               lambda: _set_tokens(encoder, trunk_weights, pool, config))
    views = token_views(
        encoder, pool, VIEWS, folder, viewed=config.viewed_images, seed=config.seed,
        normalise=normalise, report=lambda done, total: tell('encode views', done, total))
    tell('fit words', 3, PARTS)
    _make_once(encoder, folder / 'words.pt', lambda: _set_words(encoder, views, config))
    _train_class_token(encoder, views, config, folder / 'class_token.pt', tell)
    tell('encode pairs', 4, PARTS)
    _set_reranker(model, pool, towns, config, folder, tell)
    tell('done', PARTS, PARTS)
    model.origin = Origin(ORIGIN, True, True)
    save_weights(model, out / WEIGHTS, config=asdict(config), half=True)
    return model


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Turn uint8 (B, H, W, 3) of the right size into the input of the model that is made."""
    return normalised(images, PRESETS['tiny'].input)


def _make_once(encoder: HybridEncoder, path: Path, make: Callable[[], None]) -> None:
    """Set an encoder as a file says; where there is none, make it and write the file."""
    if path.exists():
        encoder.load_state_dict(torch.load(path, weights_only=True))
        return
    make()
    _write(encoder.state_dict(), path)


def _set_tokens(
    encoder: HybridEncoder, trunk_weights: Path, pool: ImagePool, config: BootstrapConfig
) -> None:
    size = encoder.spec.image_height, encoder.spec.image_width
    embedding = encoder.backbone.patch_embed.proj
    load_published(embedding.trunk, trunk_weights)
    loader = PairLoader(pool, size, PAIRS_AT_ONCE, left=MILD, right=STRONG,
                        seed=config.seed)
    fit_tokens(embedding, _patch_pairs(loader, size, config.start_pairs // PAIRS_AT_ONCE))
    read_first_values(encoder)
    point_heads_at_cells(encoder)


def _set_words(encoder: HybridEncoder, views: TokenViews, config: BootstrapConfig) -> None:
    fit_words(encoder.pooling, views.maps(0, slice(config.word_images)), config.seed)


def _train_class_token(
    encoder: HybridEncoder, views: TokenViews, config: BootstrapConfig, path: Path,
    report: Report,
) -> None:
    attend_plainly(encoder)
    components = Components.of(encoder, views, config.pool_components, config.pool_images)
    trainer = ClassTokenTrainer(
        encoder, views, components, steps=config.class_steps, batch=config.class_batch,
        learning_rate=config.class_rate, seed=config.seed, path=path)
    trainer.run(lambda step, steps, loss: report(f'class token, loss {loss:.3f}', step, steps))


def _patch_pairs(
    loader: PairLoader, size: tuple[int, int], count: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    for batch, _ in zip(loader, range(count), strict=False):
        yield (normalise(batch.left), normalise(batch.right),
               patch_matches(batch.right_T_left, size))


def _set_reranker(
    model: R2Former, pool: ImagePool, towns: Iterable[Iterable[Shot]], config: BootstrapConfig,
    folder: Path, report: Report,
) -> None:
    """Encode pairs, once; set the reranker, let it learn where that is wanted, calibrate it."""
    encoder, spec = model.encoder, model.spec
    assert isinstance(encoder, HybridEncoder)
    rng = np.random.default_rng(config.seed)
    rows = rng.permutation(len(pool.clip))[: config.pair_images].tolist()
    pictures = shots_of_pictures(
        (pool.images[row] for row in rows), [group_of(pool.paths[row]) for row in rows],
        (spec.image_height, spec.image_width), config.seed,
    )
    kept = folder / f'pairs-{config.pair_images}-{config.towns}.pt'
    data = kept_pair_data(kept, lambda: pair_data(
        encoder, [pictures, *towns], normalise, seed=config.seed))
    report('set reranker', 5, PARTS)
    start_reranker(model.reranker, PATCH)
    learn_to_judge(model.reranker, data,
                   JudgeRecipe(steps=config.reranker_steps, seed=config.seed),
                   lambda done, total: report('look at pairs', done, total))


def _write(content: dict[str, Any], path: Path) -> None:
    with replacing(path) as part:
        torch.save(content, part)
