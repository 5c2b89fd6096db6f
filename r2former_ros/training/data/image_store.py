# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Images at the input size of the network, uint8, decoded once and then read from a file.

The file is plain bytes, image after image. It is written under a temporary name first, so a file
that exists is complete. Processes share it through the page cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ...common.files import digest_of, replacing
from ...records import Image
from ...sources.pictures import read_image

Size = tuple[int, int]
Rows = NDArray[np.int64]
"""Numbers of images of a set."""
"""Height and width in pixels."""


class Images(Protocol):
    """Pictures by row, uint8 (H, W, 3) RGB of one size."""

    def __getitem__(self, row: int) -> Image:
        """Return one picture."""


@dataclass(frozen=True)
class PictureFiles:
    """Picture files, decoded at each access."""

    paths: tuple[Path, ...]
    size: Size
    antialias: bool = True

    def __getitem__(self, row: int) -> Image:
        """Decode one picture."""
        return resized(read_image(self.paths[row]), self.size, antialias=self.antialias)


@dataclass(frozen=True)
class StoredImages:
    """Images in a file that ``store_images`` wrote."""

    path: Path
    size: Size

    def __getitem__(self, row: int) -> Image:
        """Copy one picture."""
        return np.array(self.array[row])

    @cached_property
    def array(self) -> NDArray[np.uint8]:
        """All of them (N, H, W, 3), mapped from the file."""
        return np.memmap(self.path, np.uint8, 'r').reshape(-1, *self.size, 3)

    def __getstate__(self) -> dict[str, object]:
        """Leave out the mapped file, which another process opens itself."""
        return {'path': self.path, 'size': self.size}


def store_images(
    images: Iterable[Image], path: Path, size: Size, *, antialias: bool = True
) -> StoredImages:
    """Resize images of any sizes into a new file."""
    with replacing(path) as part, part.open('wb') as file:
        for image in images:
            file.write(resized(image, size, antialias=antialias).tobytes())
    return StoredImages(path, size)


def store_pictures(
    paths: Sequence[Path], folder: Path, size: Size, *, antialias: bool, limit_mb: float
) -> Images:
    """Store picture files in a folder, once; above the limit, read the files instead."""
    files = PictureFiles(tuple(paths), size, antialias)
    if len(paths) * size[0] * size[1] * 3 > limit_mb * 2**20:
        return files
    path = folder / f'images-{digest_of(*paths, size, antialias)}.u8'
    if path.exists():
        return StoredImages(path, size)
    return store_images((read_image(one) for one in paths), path, size, antialias=antialias)


def resized(image: Image, size: Size, *, antialias: bool) -> Image:
    """
    Return an image (H, W, 3) of another size.

    :param antialias: average over the area of a pixel when shrinking, as the released training
        does; otherwise bilinear, as evaluation does.
    """
    height, width = size
    if image.shape[:2] == size:
        return image
    shrinks = antialias and image.shape[1] > width
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)
