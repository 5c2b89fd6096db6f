# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How the local features of a place lie in a map: float16 or int8; never float32.

x, y and attention are float16. Descriptors are float16, or steps of one byte between the least
and the largest value of each dimension in this place: their dimensions differ much in spread, so
that this errs less than a scale a feature. A feature takes 2 (C + 3) bytes as float16 and C + 6 as
int8, which adds 8 C bytes a place for the ranges.
"""

from __future__ import annotations

import numpy as np

from ..errors import MapError
from ..records import LocalFeatures

DTYPES = ('float16', 'int8')
STEPS = 255


def encode(features: LocalFeatures, dtype: str) -> bytes:
    """Write x, y, attention (N, 3) as float16, then the descriptors in the named type."""
    head = np.column_stack([features.xy, features.attention]).astype('<f2')
    rows = features.descriptors
    if dtype == 'float16':
        return bytes(head.tobytes() + rows.astype('<f2').tobytes())
    low = rows.min(axis=0) if len(rows) else np.zeros(rows.shape[1])
    high = rows.max(axis=0) if len(rows) else low
    ranges = np.stack([low, (high - low) / STEPS]).astype('<f4')
    steps = np.rint((rows - ranges[0]) / np.where(ranges[1] > 0, ranges[1], 1))
    body = steps.clip(0, STEPS).astype(np.uint8)
    return bytes(ranges.tobytes() + head.tobytes() + body.tobytes())


def decode(blob: bytes, dtype: str, local_dim: int, *, widen: bool = True) -> LocalFeatures:
    """
    Read what ``encode`` wrote, as float32.

    :param widen: False leaves float16 as it is, without a copy: PyTorch widens it quicker.
    :raises MapError: if the length does not fit.
    """
    count = feature_count(len(blob), dtype, local_dim)
    start = ranges_bytes(dtype, local_dim)
    numbers = np.float32 if widen else np.float16
    head = np.frombuffer(blob, '<f2', count * 3, start).reshape(count, 3)
    head = head.astype(numbers, copy=False)
    rest = memoryview(blob)[start + count * 6 :]
    if dtype == 'float16':
        descriptors = np.frombuffer(rest, '<f2').reshape(count, local_dim)
        descriptors = descriptors.astype(numbers, copy=False)
    else:
        low, step = np.frombuffer(blob, '<f4', 2 * local_dim).reshape(2, local_dim)
        steps = np.frombuffer(rest, np.uint8).reshape(count, local_dim)
        descriptors = steps * step + low
    return LocalFeatures(head[:, :2], head[:, 2], descriptors)


def place_bytes(count: int, dtype: str, local_dim: int) -> int:
    """Return the bytes of a place with so many features."""
    return ranges_bytes(dtype, local_dim) + count * _feature_bytes(dtype, local_dim)


def feature_count(length: int, dtype: str, local_dim: int) -> int:
    """
    Return the number of features in a blob of so many bytes.

    :raises MapError: if that is no whole number of features.
    """
    size = _feature_bytes(dtype, local_dim)
    count, rest = divmod(length - ranges_bytes(dtype, local_dim), size)
    if rest or count < 0:
        raise MapError(f'local features of {length} bytes: no whole number of {size} each')
    return count


def _feature_bytes(dtype: str, local_dim: int) -> int:
    return 2 * (local_dim + 3) if dtype == 'float16' else local_dim + 6


def ranges_bytes(dtype: str, local_dim: int) -> int:
    """Return where x, y and attention begin: after the ranges of int8, float32."""
    return 0 if dtype == 'float16' else 8 * local_dim
