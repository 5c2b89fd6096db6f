# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Weights, images and features from integer seeds, the same bits everywhere: numpy, no model code.

The reference outputs in ``golden`` were computed by the released code from what this makes.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / 'golden'
SEED = 1
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
TOKENS = (
    'backbone.cls_token', 'backbone.dist_token', 'backbone.pos_embed', 'Reranker.cls_token',
    'Reranker.cls_token_2', 'Reranker.decoder_pos_embed',
)
GAINS = (
    # Sharper than at initialisation, so that single tokens matter and logits spread over pairs.
    ('backbone.', '.attn.qkv.weight', 1.25),
    ('Reranker.', '.attn.qkv.weight', 2.5),
    ('Reranker.', 'pair_head.weight', 4.0),
)
CANVAS = (1408, 1664)
SCALES = ((96, 6), (32, 5), (12, 4), (4, 2))


def make_state_dict(architecture: str, seed: int = SEED) -> dict[str, np.ndarray]:
    """Make an official state dict, without prefix, of ``deit`` or ``resnet50``."""
    shapes = json.loads((GOLDEN / f'{architecture}_shapes.json').read_text())
    return {key: make_tensor(key, shape, seed) for key, shape in sorted(shapes.items())}


def make_tensor(key: str, shape: list[int], seed: int) -> np.ndarray:
    """Make one tensor by the rule that its name falls under."""
    last = key.rsplit('.', 1)[-1]
    if last == 'num_batches_tracked':
        return np.zeros(shape, np.int64)
    if key == 'Reranker.ratio':
        return np.full(shape, 0.5, np.float32)
    if key == 'aggregation.0.1.p':
        return np.full(shape, 3.0, np.float32)
    noise = np.random.default_rng([seed, zlib.crc32(key.encode())]).standard_normal(shape)
    if key in TOKENS:
        values = 0.5 * noise
    elif last == 'running_var':
        values = 1.0 + 0.1 * np.abs(noise)
    elif len(shape) == 1:
        values = 0.02 * noise + (1.0 if last == 'weight' else 0.0)
    else:
        values = _gain(key) * noise / np.sqrt(float(np.prod(shape[1:])))
    return values.astype(np.float32)


def make_image(scene: int, view: int, height: int, width: int, seed: int = SEED) -> np.ndarray:
    """Make a picture, uint8 (height, width, 3); views of one scene overlap."""
    top, left = 64 + 13 * view, 64 + 29 * view
    crop = _canvas(seed, scene)[top : top + height, left : left + width]
    noise = np.random.default_rng([seed, 7002, scene, view]).integers(
        -4, 5, (height, width, 3), dtype=np.int64
    )
    image = 128 + ((crop // 8) * (256 - 20 * (view % 4))) // 256 + noise
    return np.clip(image, 0, 255).astype(np.uint8)


def make_batch(scenes_views: np.ndarray, height: int, width: int) -> np.ndarray:
    """Make normalised images, float32 (B, 3, height, width)."""
    images = [make_image(scene, view, height, width) for scene, view in scenes_views.tolist()]
    normalised = (np.stack(images).astype(np.float32) / np.float32(255) - MEAN) / STD
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))


def make_pairs(
    case: int, count: int, nx: int, ny: int, *, out_of_range: bool, seed: int = SEED
) -> tuple[np.ndarray, ...]:
    """
    Make features of image pairs, half of their patches matching.

    :returns: descriptors (count, 256) and local features (count, N, 131) of queries, then of
        candidates; local features hold x, y, attention and 128 values.
    """
    rng = np.random.default_rng([seed, 7003, case])
    (x_global, x_local), (y_global, y_local) = _side(rng, count, nx), _side(rng, count, ny)
    matching = min(nx, ny) // 2
    for row in range(count):
        source = rng.permutation(nx)[:matching]
        target = rng.permutation(ny)[:matching]
        level = 0.2 + rng.random((matching, 1)) * 2.0
        noise = rng.standard_normal((matching, 128))
        y_local[row, target, 3:] = x_local[row, source, 3:] + level * noise
    if out_of_range:
        x_local[:, :, :3] = x_local[:, :, :3] * 2.0 - 0.5
        y_local[:, :, :3] = y_local[:, :, :3] * 2.0 - 0.5
    return tuple(a.astype(np.float32) for a in (x_global, x_local, y_global, y_local))


def _side(rng: np.random.Generator, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    descriptors = rng.standard_normal((count, 256))
    descriptors /= np.sqrt((descriptors * descriptors).sum(1, keepdims=True))
    local = np.empty((count, size, 131))
    cells = np.stack([rng.permutation(1200)[np.arange(size) % 1200] for _ in range(count)])
    local[:, :, 0] = (cells % 40 * 16 + 8) / 640.0
    local[:, :, 1] = (cells // 40 * 16 + 8) / 640.0
    attention = np.sort(rng.random((count, size)), axis=1)[:, ::-1]
    local[:, :, 2] = attention / attention[:, :1]
    noise = rng.standard_normal((count, size, 128))
    local[:, :, 3:] = noise * (0.5 + rng.random((count, size, 1)))
    return descriptors, local


def _gain(key: str) -> float:
    for prefix, suffix, gain in GAINS:
        if key.startswith(prefix) and key.endswith(suffix):
            return gain
    return 1.0


def _canvas(seed: int, scene: int) -> np.ndarray:
    height, width = CANVAS
    rng = np.random.default_rng([seed, 7001, scene])
    canvas = np.zeros((height, width, 3), np.int64)
    for block, gain in SCALES:
        size = (height // block + 4, width // block + 4, 3)
        coarse = rng.integers(0, 256, size, dtype=np.int64) - 128
        fine = np.repeat(np.repeat(coarse, block, 0), block, 1)
        canvas += gain * _box(_box(fine, block, 0), block, 1)[:height, :width]
    return canvas


def _box(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Average ``size`` neighbours in integers, so that every machine gives the same bits."""
    total = np.cumsum(values, axis=axis, dtype=np.int64)
    total = np.concatenate([np.zeros_like(np.take(total, [0], axis)), total], axis)
    length = total.shape[axis]
    upper = np.take(total, np.arange(size, length), axis)
    return (upper - np.take(total, np.arange(0, length - size), axis)) // size
