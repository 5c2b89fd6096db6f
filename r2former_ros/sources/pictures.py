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
from .jpeg import JPEG_START, jpeg_size, require_whole_jpeg
from .sixteen_bit import to_8_bit

PICTURES = (
    '.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.pgm', '.ppm', '.pnm', '.jp2',
)
"""Endings of the names of picture files that are read, in lower case."""

MOST_PIXELS = 2**26
"""Larger pictures take seconds and hundreds of megabytes, and show no more at 224 pixels."""
REDUCED = {
    1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
"""Ways to decode a JPEG at a fraction of its size."""
PNG_START, PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'


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
    Decode the content of a picture file as uint8 (H, W, 3) RGB, turned upright by its EXIF data.

    Grey becomes RGB, 16 bits become 8, and transparency is dropped. A JPEG of more than
    ``MOST_PIXELS`` is decoded at a half, a quarter or an eighth of its size, which is cheap.

    :param name: what messages call it.
    :raises ImageError: if it is not a picture, is cut off or damaged, or is another format's of
        more than ``MOST_PIXELS``.
    """
    flag = _flag(content, name)
    data: NDArray[np.uint8] = np.frombuffer(content, np.uint8)
    try:
        decoded = cv2.imdecode(data, flag) if data.size else None
    except cv2.error as error:
        raise ImageError(f'{name}: cannot be decoded ({_reason(error)})') from error
    if decoded is None:
        raise ImageError(f'{name}: is damaged, or not a picture that OpenCV can read')
    if decoded.dtype == np.uint16:
        decoded = to_8_bit(decoded)
    if decoded.dtype != np.uint8:
        raise ImageError(f'{name}: holds {decoded.dtype} samples, expected 8 or 16 bits')
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


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


def _flag(content: bytes, name: str) -> int:
    """Check what can be checked before decoding; return how to decode."""
    if content.startswith(JPEG_START):
        require_whole_jpeg(content, name)
        width, height = jpeg_size(content)
        scale = next((one for one in REDUCED if width * height <= MOST_PIXELS * one * one), 0)
        if scale:
            return REDUCED[scale]
    elif content.startswith(PNG_START):
        if PNG_END not in content:
            raise ImageError(f'{name}: the PNG of {len(content)} bytes is truncated: its end '
                             'marker is missing')
        width, height = (int.from_bytes(content[at:at + 4], 'big') for at in (16, 20))
    else:
        width, height = 0, 0
    if width * height > MOST_PIXELS:
        raise ImageError(f'{name}: has {width}x{height} pixels, more than {MOST_PIXELS:,}; '
                         'make it smaller')
    return cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH


def _reason(error: cv2.error) -> str:
    """Return what OpenCV complains of, without the place in its source."""
    return str(error).rpartition('error: ')[2].partition(' in function')[0].strip()
