# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures: which files hold one, read, decoded, encoded, and shrunk to a thumbnail."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..common.files import read_bytes
from ..common.text import printable
from ..errors import FileError, ImageError
from ..records import Image

PICTURES = (
    '.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.pgm', '.ppm', '.pnm', '.jp2',
)
"""Endings of the names of picture files that are read, in lower case."""


def is_picture(path: Path) -> bool:
    """Say by its name whether a file is a picture that can be read."""
    return path.suffix.lower() in PICTURES


def read_image(path: str | Path) -> Image:
    """
    Read a picture file as uint8 (H, W, 3) RGB, turned upright as its EXIF data says.

    :raises ImageError: if the file is missing, or is not a picture.
    """
    if Path(path).is_dir():
        raise ImageError(f'{path}: is a folder', f'name the pictures in it, such as {path}/*.jpg')
    try:
        content = read_bytes(path)
    except FileError as error:
        raise ImageError(str(error)) from error
    return decode_picture(content, printable(path))


def decode_picture(content: bytes, name: str) -> Image:
    """
    Decode the content of a picture file as uint8 (H, W, 3) RGB, upright.

    Grey becomes RGB, 16 bit become 8, and transparency is dropped.

    :param name: what messages call it.
    :raises ImageError: if it is not a picture.
    """
    data: NDArray[np.uint8] = np.frombuffer(content, np.uint8)
    try:
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error as error:
        raise ImageError(f'{name}: cannot be decoded ({_reason(error)})') from error
    if decoded is None:
        raise ImageError(f'{name}: is not a picture that OpenCV can read')
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def encode_jpeg(image: Image, quality: int = 90) -> bytes:
    """
    Compress uint8 (H, W, 3) RGB as JPEG, quality in [1, 100].

    :raises ImageError: if the array is not such a picture.
    """
    require_rgb(image)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def thumbnail_jpeg(image: Image, width: int, quality: int = 85) -> bytes:
    """Shrink a picture to a width in pixels (never enlarged) and compress it as JPEG."""
    if width == 0:
        return b''
    scale = min(1.0, width / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return encode_jpeg(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8),
                       quality)


def require_rgb(image: Image) -> None:
    """
    Refuse an array that is not a picture.

    :raises ImageError: naming shape and dtype, if it is not uint8 (H, W, 3).
    """
    shape, dtype = tuple(image.shape), image.dtype
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or not image.size:
        raise ImageError(f'image of shape {shape}, {dtype}: expected uint8 (height, width, 3) RGB')


def _reason(error: cv2.error) -> str:
    """Return what OpenCV complains of, without the place in its source."""
    return str(error).rpartition('error: ')[2].partition(' in function')[0].strip()
