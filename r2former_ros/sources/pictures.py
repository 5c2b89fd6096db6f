# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Picture files: read, decoded, and shrunk to a thumbnail."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..errors import ImageError
from ..records import Image


def read_image(path: str | Path) -> Image:
    """
    Read a picture file as uint8 (H, W, 3) RGB.

    :raises ImageError: if the file is missing or no picture.
    """
    if Path(path).is_dir():
        raise ImageError(f'{path}: is a folder; name the pictures in it, such as {path}/*.jpg')
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f'{path}: cannot be read ({error.strerror})') from error
    return decode_picture(data, str(path))


def decode_picture(content: bytes, name: str) -> Image:
    """
    Decode the content of a picture file as uint8 (H, W, 3) RGB.

    :param name: what messages call it.
    :raises ImageError: if it is no picture.
    """
    data = np.frombuffer(content, np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if decoded is None:
        raise ImageError(f'{name}: is no picture that OpenCV can read')
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def thumbnail_jpeg(image: Image, width: int, quality: int = 85) -> bytes:
    """Shrink a picture to a width in pixels (never enlarged) and compress it as JPEG."""
    if width == 0:
        return b''
    scale = min(1.0, width / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
