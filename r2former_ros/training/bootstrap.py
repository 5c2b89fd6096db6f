# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How the bundled weights come about: from images without labels, on a CPU.

The encoder is set first: regions and whitening (``start``), then the local head by discriminants
of matched patches. From there it learns by contrast (the recipe of that name). The reranker is set
and calibrated; ``reranker_steps`` above zero trains it by gradient on cached features. Finished
parts are kept in the output folder and not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from ..common.files import digest_of, replacing
from ..config import checked_values, option
from ..errors import DatasetError
from ..model import PRESETS, R2Former, save_weights
from ..model.checkpoint import load_network, untrained_model
from ..model.network import Origin
from ..model.preprocess import normalised
from ..model.reranker import Reranker
from ..model.vit_encoder import VitEncoder
from .augment import AugmentConfig
from .data.pools import ImagePool, PairLoader, load_pool, patch_matches
from .data.sources import Source, clip_places
from .engine import FINAL, Trainer
from .initial.encoder import fit_local_head, start_as_gradient_descriptor
from .initial.pairs import (
    STRONG,
    PairRecipe,
    PairTrainer,
    ViewFeatures,
    calibrate_head,
    encode_views,
)
from .initial.reranker import start_reranker
from .recipe import Recipe, load_recipe

CACHE_SIZE_PX = (240, 320)
SAVE_EVERY_STEPS = 200
PAIRS_AT_ONCE = 32
LEAST_START_IMAGES = 257
"""One more than a descriptor has values: they are fitted as principal components of images."""
CALIBRATION = PairRecipe(hardest=100, patches=192)
"""All patches; of the ten most similar images of a pool too many show the same place unmarked."""
CALIBRATION_BATCHES = 25
MILD = AugmentConfig(
    zoom=0.2, shift=0.06, tilt=0.04, turn_deg=3.0, light=0.4, night=0.05, grey=0.1, blur=0.1,
    coarse=0.15, occlusion=0.1, noise=0.1,
)
PATCH = 16 / 256
"""Distance of neighbouring patches of ``tiny``; the longer side of the image is one."""
WEIGHTS = 'r2former-tiny.safetensors'
PARTS = 5

Report = Callable[[str, int, int], None]
"""Gets the part that is made, and how much of how much is done."""


@dataclass(frozen=True)
class BootstrapConfig:
    """How much data each part uses; the defaults are those of the bundled weights."""

    start_images: int = option(
        1500, 'Images that the initial encoder is fitted to', unit='images',
        minimum=LEAST_START_IMAGES,
    )
    matched_pairs: int = option(
        960, 'Pairs of views that the local head is fitted to', unit='pairs',
        minimum=PAIRS_AT_ONCE,
    )
    pair_images: int = option(
        4500, 'Images that the reranker is calibrated on', unit='images', minimum=2
    )
    recipe: str = option('contrast', 'Recipe that trains the encoder; empty: none')
    reranker_steps: int = option(
        0, 'Optimizer steps on the reranker', unit='steps', minimum=0
    )
    seed: int = option(0, 'Seed of everything random', minimum=0)

    def __post_init__(self) -> None:
        checked_values(BootstrapConfig, asdict(self))


def bootstrap(
    folders: Sequence[Path], out: Path, config: BootstrapConfig, report: Report | None = None
) -> R2Former:
    """
    Make a ``tiny`` model from folders of JPEG images; resumes where an earlier call ended.

    :param report: called while the parts are made.
    :raises DatasetError: if there are too few pictures.
    """
    tell = report or (lambda part, done, total: None)
    out.mkdir(parents=True, exist_ok=True)
    tell('read images', 0, PARTS)
    pool = load_pool(folders, out, CACHE_SIZE_PX)
    if len(pool.clip) < LEAST_START_IMAGES:
        raise DatasetError(f'{len(pool.clip)} pictures: at least {LEAST_START_IMAGES} are needed')
    kept = digest_of(asdict(config), pool.images.shape)
    torch.manual_seed(config.seed)
    model = untrained_model(PRESETS['tiny']).eval()
    encoder = model.encoder
    assert isinstance(encoder, VitEncoder)  # what the preset says
    tell('set encoder', 1, PARTS)
    set_by = digest_of(config.start_images, config.matched_pairs, config.seed, pool.images.shape)
    path = out / f'encoder-{set_by}.pt'
    if path.exists():
        encoder.load_state_dict(torch.load(path, weights_only=True))
    else:
        _set_encoder(encoder, pool, config)
        _write(encoder.state_dict(), path)
    if config.recipe:
        model = _contrasted(model, pool, load_recipe(config.recipe), out, tell)
    encoder = model.encoder
    tell('encode views', 3, PARTS)
    rows = _whole_clips(pool, config.pair_images, config.seed)
    features = encode_views(encoder, pool, rows, normalise, seed=config.seed)
    tell('set reranker', 4, PARTS)
    _train_reranker(model.reranker, features, config, out / f'reranker-{kept}.pt', tell)
    tell('done', PARTS, PARTS)
    model.origin = Origin('r2former_ros bootstrap on unlabelled images', True, True)
    save_weights(model, out / WEIGHTS, config=asdict(config), half=True)
    return model


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Turn uint8 (B, H, W, 3) of the right size into the input of the model that is made."""
    return normalised(images, PRESETS['tiny'].input)


def _set_encoder(encoder: VitEncoder, pool: ImagePool, config: BootstrapConfig) -> None:
    rows = _some(len(pool.clip), config.start_images, config.seed)
    size = encoder.spec.image_height, encoder.spec.image_width
    batches = [_resized(pool, part, size) for part in np.array_split(rows, len(rows) // 50 + 1)]
    start_as_gradient_descriptor(encoder, batches)
    loader = PairLoader(pool, size, PAIRS_AT_ONCE, left=MILD, right=STRONG, seed=config.seed)
    fit_local_head(encoder, _patch_pairs(loader, size, config.matched_pairs // PAIRS_AT_ONCE))


def _contrasted(
    model: R2Former, pool: ImagePool, recipe: Recipe, out: Path, report: Report
) -> R2Former:
    """Train by contrast in a folder of its own; resumes there."""
    size = model.spec.image_height, model.spec.image_width
    source = Source(clip_places(pool.paths), pool.images, pool.images, size, recipe.augment,
                    recipe.query_augment)
    fabric = Fabric(accelerator='cpu', precision=recipe.precision)  # type: ignore[arg-type]
    trainer = Trainer(fabric, model, source, recipe, out / recipe.stage)

    def tell(step: int, figures: Mapping[str, float]) -> None:
        loss = figures.get('loss')
        report('contrast' if loss is None else f'contrast, loss {loss:.3f}', step, trainer.steps)

    trainer.run(tell)
    return load_network(out / recipe.stage / FINAL)


def _patch_pairs(
    loader: PairLoader, size: tuple[int, int], count: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    for batch, _ in zip(loader, range(count), strict=False):
        yield (normalise(batch.left), normalise(batch.right),
               patch_matches(batch.right_T_left, size))


def _train_reranker(
    reranker: Reranker, features: ViewFeatures, config: BootstrapConfig, path: Path,
    report: Report,
) -> None:
    """Set, calibrate and train; or go on where an earlier call ended."""
    recipe = PairRecipe(steps=config.reranker_steps, seed=config.seed)
    trainer = PairTrainer(reranker, features, recipe)
    first = 0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        reranker.load_state_dict(saved['reranker'])
        trainer.optimizer.load_state_dict(saved['optimizer'])
        first = saved['step']
    else:
        start_reranker(reranker, PATCH)
        pairs = PairTrainer(reranker, features, replace(CALIBRATION, seed=config.seed))
        calibrate_head(reranker, *pairs.labelled_logits(CALIBRATION_BATCHES))
    for step in range(first, recipe.steps):
        trainer.step(step)
        report('train reranker', step + 1, recipe.steps)
        if (step + 1) % SAVE_EVERY_STEPS == 0 or step + 1 == recipe.steps:
            _write({'reranker': reranker.state_dict(), 'step': step + 1,
                    'optimizer': trainer.optimizer.state_dict()}, path)


def _some(total: int, count: int, seed: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(total, min(total, count), replace=False))


def _whole_clips(pool: ImagePool, count: int, seed: int) -> NDArray[np.int64]:
    """Return the rows of randomly chosen clips, ``count`` or a few more in all."""
    clips = np.random.default_rng(seed).permutation(np.unique(pool.clip))
    sizes = np.bincount(pool.clip)[clips]
    needed = int(np.searchsorted(np.cumsum(sizes), count)) + 1
    return np.flatnonzero(np.isin(pool.clip, clips[:needed]))


def _resized(pool: ImagePool, rows: NDArray[np.int64], size: tuple[int, int]) -> torch.Tensor:
    images = normalise(torch.from_numpy(np.ascontiguousarray(pool.images[rows])))
    return torch.nn.functional.interpolate(
        images, size=size, mode='bilinear', align_corners=False
    )


def _write(content: dict[str, Any], path: Path) -> None:
    with replacing(path) as part:
        torch.save(content, part)
