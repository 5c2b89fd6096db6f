# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Pixels of ``sensor_msgs/Image`` and ``CompressedImage`` to and from RGB uint8 (H, W, 3).

The messages are taken by their attributes, so those of rclpy and of rosbags both fit, and neither
is imported. cv_bridge is not used: it returns wrong pixels for padded rows and refuses big-endian.
A decoded image owns its memory, is writable and C-contiguous.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..common.text import quoted
from ..errors import ImageError
from ..records import Image
from .jpeg import JPEG_START
from .pictures import PNG_START, decode_picture, require_rgb
from .sixteen_bit import to_8_bit


class ImageMessage(Protocol):
    """What is read of ``sensor_msgs/Image``; ``data`` is anything with the buffer protocol."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedMessage(Protocol):
    """What is read of ``sensor_msgs/CompressedImage``."""

    format: str
    data: Any


class _Packed(NamedTuple):
    """Pixels one after the other; ``code`` of cv2 makes them RGB, None where they are."""

    sample_bytes: int
    channels: int
    code: int | None


# ROS names a Bayer pattern by its first two rows, OpenCV's classic names (BayerBG for RGGB) by the
# second row and column; these are OpenCV's newer names, which agree with ROS.
_BAYER = {
    'rggb': cv2.COLOR_BayerRGGB2RGB,
    'bggr': cv2.COLOR_BayerBGGR2RGB,
    'gbrg': cv2.COLOR_BayerGBRG2RGB,
    'grbg': cv2.COLOR_BayerGRBG2RGB,
}
_PACKED = {
    'rgb8': _Packed(1, 3, None),
    'bgr8': _Packed(1, 3, cv2.COLOR_BGR2RGB),
    'rgba8': _Packed(1, 4, cv2.COLOR_RGBA2RGB),
    'bgra8': _Packed(1, 4, cv2.COLOR_BGRA2RGB),
    'mono8': _Packed(1, 1, cv2.COLOR_GRAY2RGB),
    'mono16': _Packed(2, 1, cv2.COLOR_GRAY2RGB),
    'rgba16': _Packed(2, 4, cv2.COLOR_RGBA2RGB),
    'bgra16': _Packed(2, 4, cv2.COLOR_BGRA2RGB),
    'rgb16': _Packed(2, 3, None),
    'bgr16': _Packed(2, 3, cv2.COLOR_BGR2RGB),
    '8UC1': _Packed(1, 1, cv2.COLOR_GRAY2RGB),
    '8UC3': _Packed(1, 3, cv2.COLOR_BGR2RGB),
    '8UC4': _Packed(1, 4, cv2.COLOR_BGRA2RGB),
    '16UC3': _Packed(2, 3, cv2.COLOR_BGR2RGB),
    **{f'bayer_{name}8': _Packed(1, 1, code) for name, code in _BAYER.items()},
    **{f'bayer_{name}16': _Packed(2, 1, code) for name, code in _BAYER.items()},
    'yuv422': _Packed(1, 2, cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': _Packed(1, 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': _Packed(1, 2, cv2.COLOR_YUV2RGB_YUY2),
    'yuyv': _Packed(1, 2, cv2.COLOR_YUV2RGB_YUY2),
}
_HALF_CHROMA = {'nv12': cv2.COLOR_YUV2RGB_NV12, 'nv21': cv2.COLOR_YUV2RGB_NV21}
ENCODINGS = (*_PACKED, *_HALF_CHROMA, 'nv24')
"""Every ``sensor_msgs/Image`` encoding that ``decode_image`` reads."""
DEPTH = ('16UC1', '32FC1')
"""Encodings of depth images (REP 118)."""

# BT.601, limited range, as cv2 converts NV12, for Y, U, V of 4:4:4, which cv2 does not convert.
_RGB_FROM_YUV = np.array([
    [1.164, 0.0, 1.596, -1.164 * 16 - 1.596 * 128],
    [1.164, -0.391, -0.813, -1.164 * 16 + (0.391 + 0.813) * 128],
    [1.164, 2.018, 0.0, -1.164 * 16 - 2.018 * 128],
])


def decode_image(message: ImageMessage) -> Image:
    """
    Return the pixels of a ``sensor_msgs/Image`` as uint8 (H, W, 3) RGB.

    16 bits become 8 as ``to_8_bit`` says; alpha is dropped. 16UC1 is refused, because depth
    images have it: a camera that sends brightness says mono16.

    :raises ImageError: for an encoding that is not in ``ENCODINGS``, an empty image, or data that
        is shorter than its size, step and encoding say.
    """
    if message.height < 1 or message.width < 1:
        raise ImageError(f'image of {message.width}x{message.height} pixels is empty')
    if message.encoding in _PACKED:
        return _decode_packed(message, _PACKED[message.encoding])
    if message.encoding in _HALF_CHROMA:
        return _decode_half_chroma(message, _HALF_CHROMA[message.encoding])
    if message.encoding == 'nv24':
        return _decode_nv24(message)
    if message.encoding in DEPTH:
        raise ImageError(f'encoding {message.encoding} is a depth image; a camera that sends '
                         'brightness in 16 bits says mono16')
    raise ImageError(f'encoding {quoted(message.encoding)} is not supported',
                     f'supported: {", ".join(ENCODINGS)}')


def decode_compressed(message: CompressedMessage) -> Image:
    """
    Return the pixels of a ``sensor_msgs/CompressedImage`` as uint8 (H, W, 3) RGB.

    JPEG and PNG, told apart by their first bytes, as ``decode_picture`` reads them: like a
    picture file, the image is turned upright as its EXIF data says.

    :raises ImageError: for compressed depth, another format, or data that is cut off or damaged.
    """
    if 'compressedDepth' in message.format:
        raise ImageError(f'format {quoted(message.format)} is a depth image; supported: jpeg, png')
    data = bytes(message.data)
    if not data.startswith((JPEG_START, PNG_START)):
        raise ImageError(f'{len(data)} bytes of format {quoted(message.format)} are neither JPEG '
                         'nor PNG')
    rgb = decode_picture(data, f'image of format {quoted(message.format)}')
    # image_transport writes "bgr8; jpeg compressed rgb8" where it gave the encoder red for blue.
    return rgb[..., ::-1].copy() if 'compressed rgb' in message.format else rgb


@dataclass(frozen=True)
class ImageFields:
    """What ``sensor_msgs/Image`` holds beside its header; ``data`` is flat uint8."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: NDArray[np.uint8]


def image_fields(image: Image, encoding: str = 'rgb8') -> ImageFields:
    """
    Lay out uint8 (H, W, 3) RGB as rgb8, bgr8 or mono8, rows tightly packed.

    ``data`` shares memory with the image where nothing had to be converted.

    :raises ImageError: for another encoding, or if the array is no such picture.
    """
    codes = {'rgb8': None, 'bgr8': cv2.COLOR_RGB2BGR, 'mono8': cv2.COLOR_RGB2GRAY}
    if encoding not in codes:
        raise ImageError(f'encoding {encoding!r} is not written; supported: {", ".join(codes)}')
    require_rgb(image)
    pixels = np.ascontiguousarray(_converted(image, codes[encoding]))
    height, width = image.shape[:2]
    return ImageFields(height, width, encoding, 0, pixels.size // height, pixels.reshape(-1))


def _decode_packed(message: ImageMessage, layout: _Packed) -> Image:
    if layout.channels == 2 and message.width % 2:
        raise ImageError(f'width {message.width} of {message.encoding}: must be even')
    row_bytes = message.width * layout.sample_bytes * layout.channels
    samples = _rows(message, row_bytes, message.height)[:, :row_bytes]
    if layout.sample_bytes == 2:
        samples = to_8_bit(samples.view('>u2' if message.is_bigendian else '<u2'))
    shape = (message.height, message.width, layout.channels)
    pixels = samples.reshape(shape[:2] if layout.channels == 1 else shape)
    if layout.code is None and layout.sample_bytes == 1:
        return pixels.copy()  # the message keeps its memory: often read-only, perhaps reused
    return _converted(pixels, layout.code)


def _decode_half_chroma(message: ImageMessage, code: int) -> Image:
    """Convert a plane of Y (H, W), then one of chroma pairs (H / 2, W): ``step`` is of both."""
    height, width = message.height, message.width
    if height % 2 or width % 2:
        raise ImageError(f'{width}x{height} {message.encoding}: both sides must be even')
    return _converted(_rows(message, width, height * 3 // 2)[:, :width], code)


def _decode_nv24(message: ImageMessage) -> Image:
    """Convert a plane of Y (H, W), then one of chroma pairs (H, W, 2) in rows of 2 * step."""
    height, width = message.height, message.width
    rows = _rows(message, width, height * 3)
    chroma = rows[height:].reshape(height, -1)[:, :2 * width].reshape(height, width, 2)
    yuv = np.dstack([rows[:height, :width], chroma])
    return np.asarray(cv2.transform(yuv, _RGB_FROM_YUV), np.uint8)


def _rows(message: ImageMessage, row_bytes: int, rows: int) -> NDArray[np.uint8]:
    """Return the data as (rows, step) without a copy, having checked step and length."""
    size = f'{message.width}x{message.height} {message.encoding}'
    if message.step < row_bytes:
        raise ImageError(
            f'step {message.step} is smaller than a row of {size}, which has {row_bytes} bytes'
        )
    data = np.frombuffer(message.data, np.uint8)
    needed = message.step * rows
    if data.size < needed:
        raise ImageError(
            f'data of {size} has {data.size} bytes, expected {needed} (step {message.step})'
        )
    return data[:needed].reshape(rows, message.step)


def _converted(pixels: NDArray[np.uint8], code: int | None) -> NDArray[np.uint8]:
    return pixels if code is None else np.asarray(cv2.cvtColor(pixels, code), np.uint8)
