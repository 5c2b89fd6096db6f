# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Pixels of image messages, decoded by this package or by cv_bridge.

cv_bridge ignores padding at the end of rows and refuses big-endian samples, so it only gets
messages that are packed and in the byte order of this machine.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMessage

from ..errors import ConfigError, ImageError
from ..records import Frame, Image
from ..sources.encodings import ENCODINGS
from .conversions import frame_from, stamp_ns_from
from .inputs import ImageLike

Decoder = Callable[[ImageLike], Frame]
NUMBERS = re.compile(r'\d+[USF]C\d+')
"""Encodings such as 16UC1 and 32FC1: numbers, often depths, that no one calls a picture."""
PROBE = """
import numpy as np
from cv_bridge import CvBridge
from sensor_msgs.msg import Image
sent = Image(height=1, width=2, encoding='bgr8', step=6, data=bytes(range(6)))
assert np.array(CvBridge().imgmsg_to_cv2(sent, 'rgb8')).tolist() == [[[2, 1, 0], [5, 4, 3]]]
"""
PROBE_TIMEOUT_S = 60.0


def decoder_of(conversion: str) -> Decoder:
    """
    Return what decodes images for the setting ``node.image_conversion``.

    :raises ConfigError: if cv_bridge is asked for and not installed, or does not work.
    """
    if conversion == 'own':
        return frame_from
    hindrance = hindrance_of_cv_bridge()
    if conversion == 'auto':
        return frame_from if hindrance else partial(_decoded_by_either, new_bridge())
    if hindrance:
        raise ConfigError(f'node.image_conversion: cv_bridge {hindrance}', 'choose auto or own')
    return partial(_decoded_by_bridge, new_bridge())


def hindrance_of_cv_bridge() -> str:
    """
    Return why cv_bridge cannot be used here, or an empty text.

    Tried in another process: one built for numpy 1 ends the process at its first conversion.
    """
    if find_spec('cv_bridge') is None:
        return 'is not installed'
    try:
        done = subprocess.run([sys.executable, '-c', PROBE], capture_output=True,
                              timeout=PROBE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f'does not answer within {PROBE_TIMEOUT_S:.0f} s'
    return '' if done.returncode == 0 else 'is installed but does not convert a picture here'


def new_bridge() -> Any:
    """Make a ``cv_bridge.CvBridge``."""
    from cv_bridge import CvBridge

    return CvBridge()


def _decoded_by_either(bridge: Any, message: ImageLike) -> Frame:
    """Decode with this package, or with cv_bridge an encoding that this package does not know."""
    known = (isinstance(message, CompressedImage) or message.encoding in ENCODINGS
             or NUMBERS.fullmatch(message.encoding))
    return frame_from(message) if known else _decoded_by_bridge(bridge, message)


def _decoded_by_bridge(bridge: Any, message: ImageLike) -> Frame:
    """
    Decode with cv_bridge.

    :raises ImageError: if it cannot be decoded.
    """
    try:
        if isinstance(message, CompressedImage):
            pixels = bridge.compressed_imgmsg_to_cv2(message, 'rgb8')
        else:
            pixels = bridge.imgmsg_to_cv2(packed(bridge, message), 'rgb8')
    except ImageError:
        raise
    except Exception as error:  # CvBridgeError, and whatever OpenCV and numpy raise below it
        raise ImageError(f'cv_bridge: {" ".join(str(error).split()) or "failed"}') from error
    header = message.header
    return Frame(stamp_ns_from(header.stamp), _required_rgb(pixels), header.frame_id)


def packed(bridge: Any, message: ImageMessage) -> ImageMessage:
    """
    Return a message without padding, in the byte order of this machine.

    :raises ImageError: if it holds less data than its size, step and encoding say.
    """
    kind, channels = bridge.encoding_to_dtype_with_channels(message.encoding)
    sample = np.dtype(kind)
    row_bytes = message.width * channels * sample.itemsize
    foreign = bool(message.is_bigendian) != (sys.byteorder == 'big')
    if message.step == row_bytes and not foreign:
        return message
    data = np.frombuffer(message.data, np.uint8)
    if message.step < row_bytes or data.size < message.step * message.height:
        raise ImageError(f'data of {message.width}x{message.height} {message.encoding} has '
                         f'{data.size} bytes, step {message.step}: too few')
    rows = data[:message.step * message.height].reshape(message.height, message.step)
    pixels = np.ascontiguousarray(rows[:, :row_bytes])
    if foreign and sample.itemsize > 1:
        pixels = pixels.view(sample).byteswap().view(np.uint8)
    return ImageMessage(
        header=message.header, height=message.height, width=message.width,
        encoding=message.encoding, step=row_bytes, is_bigendian=int(sys.byteorder == 'big'),
        data=pixels.tobytes())


def _required_rgb(pixels: Any) -> Image:
    image = np.ascontiguousarray(pixels)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(f'cv_bridge returned {image.dtype} of shape {image.shape}, not a picture')
    return image
