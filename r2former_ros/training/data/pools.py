# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of views of unlabelled images, prepared by a thread while others train."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...common.files import digest_of
from ...errors import DatasetError
from ...records import Image
from ...sources.pictures import is_picture, read_image
from ..augment import AugmentConfig, Matrix, make_view
from .image_store import StoredImages, store_images

CLIP_FRAME = re.compile(r'(.*?)_(?:frame_)?(\d+)$')
SAME_PLACE_FRAMES = 4


@dataclass(frozen=True)
class ImagePool:
    """
    Decoded images uint8 (N, H, W, 3), with the clip and the frame number of each.

    Images of one clip within ``SAME_PLACE_FRAMES`` may show the same place; an image without a
    clip has a unique ``clip``.
    """

    images: NDArray[np.uint8]
    paths: tuple[Path, ...]
    clip: NDArray[np.int64]
    frame: NDArray[np.int64]


def load_pool(folders: Sequence[Path], cache: Path, size: tuple[int, int]) -> ImagePool:
    """Decode and resize all pictures of some folders once, into a folder; later read that."""
    files = [path for folder in folders for path in sorted(folder.iterdir()) if is_picture(path)]
    if not files:
        raise DatasetError(f'{", ".join(map(str, folders))}: no pictures')
    path = cache / f'pool-{digest_of(*files, size)}.u8'
    stored = StoredImages(path, size)
    if not path.exists():
        stored = store_images((read_image(file) for file in files), path, size)
    clip, frame = clips_of(files)
    return ImagePool(stored.array, tuple(files), clip, frame)


def clips_of(files: Sequence[Path]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Parse clip and frame number from names that end in ``_frame_<number>``."""
    numbers: dict[str, int] = {}
    clips, frames = [], []
    for path in files:
        stem = path.stem.split('__')[-1] if '_frame_' in path.stem else path.stem
        match = CLIP_FRAME.match(stem) if '_frame_' in stem else None
        name, frame = (match[1], int(match[2])) if match else (str(path), 0)
        clips.append(numbers.setdefault(name, len(numbers)))
        frames.append(frame)
    return np.array(clips), np.array(frames)


@dataclass(frozen=True)
class PairBatch:
    """Two views each of B images, uint8 (B, H, W, 3); ``right_T_left`` (B, 3, 3) in pixels."""

    left: torch.Tensor
    right: torch.Tensor
    right_T_left: torch.Tensor


class PairLoader:
    """An endless iterator of ``PairBatch``; a thread keeps a few batches ready."""

    def __init__(
        self, pool: ImagePool, size: tuple[int, int], batch: int, *,
        left: AugmentConfig, right: AugmentConfig, seed: int = 0, ahead: int = 3,
    ) -> None:
        self._pool, self._size, self._batch = pool, size, batch
        self._left, self._right = left, right
        self._rng = np.random.default_rng(seed)
        self._ready: queue.Queue[PairBatch] = queue.Queue(ahead)
        threading.Thread(target=self._work, daemon=True).start()

    def __iter__(self) -> Iterator[PairBatch]:
        while True:
            yield self._ready.get()

    def _work(self) -> None:
        order: list[int] = []
        while True:
            if len(order) < self._batch:
                order = self._rng.permutation(len(self._pool.clip)).tolist()
            picked, order = order[: self._batch], order[self._batch :]
            self._ready.put(self._make(picked))

    def _make(self, picked: Sequence[int]) -> PairBatch:
        left, right, moved = zip(*map(self._pair, picked), strict=True)
        return PairBatch(
            torch.from_numpy(np.stack(left)), torch.from_numpy(np.stack(right)),
            torch.from_numpy(np.stack(moved)).float(),
        )

    def _pair(self, index: int) -> tuple[Image, Image, Matrix]:
        rng, image = self._rng, self._pool.images[index]
        flip = bool(rng.random() < 0.5)
        left = make_view(image, self._size, self._left, rng, flip=flip)
        right = make_view(image, self._size, self._right, rng, flip=flip)
        return left.image, right.image, right.view_T_source @ np.linalg.inv(left.view_T_source)


def patch_matches(
    right_T_left: torch.Tensor, size: tuple[int, int], patch_px: int = 16
) -> torch.Tensor:
    """
    Return which patches of the right view each patch of the left view moved to.

    :param right_T_left: homographies (B, 3, 3) in pixels.
    :returns: (B, P, P) bilinear shares of the four nearest patch centres; zero rows for patches
        that left the view.
    """
    rows, columns = size[0] // patch_px, size[1] // patch_px
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
    centres = torch.stack([x.flatten(), y.flatten()], dim=-1) * patch_px + (patch_px - 1) / 2
    return matched_patches(right_T_left, centres, centres, patch_px)


def matched_patches(
    right_T_left: torch.Tensor, left: torch.Tensor, right: torch.Tensor, patch_px: int = 16
) -> torch.Tensor:
    """
    Return which patches of the right view given patches of the left view moved to.

    :param left: centres (..., N, 2) of patches of a grid, in pixels; ``right`` (..., M, 2) too.
    :returns: (..., N, M) bilinear shares; zero rows where the four nearest are not all there.
    """
    moved = torch.cat([left, torch.ones_like(left[..., :1])], dim=-1) @ right_T_left.mT
    place = moved[..., :2] / moved[..., 2:]
    apart = (place[..., :, None, :] - right[..., None, :, :]).abs() / patch_px  # (..., N, M, 2)
    shares = (1 - apart).clamp(min=0).prod(dim=-1)
    inside = (shares.sum(-1, keepdim=True) > 0.999) & (moved[..., 2:] > 0)
    return shares * inside
