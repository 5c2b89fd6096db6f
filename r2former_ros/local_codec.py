# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How local features lie in a map: float16, or int8 with a float16 scale a row; never float32.

float16 costs 2 (C + 3) bytes a feature; int8 costs C + 8.
"""

from __future__ import annotations

import numpy as np

from .errors import MapError
from .records import LocalFeatures

DTYPES = ('float16', 'int8')


def encode(features: LocalFeatures, dtype: str) -> bytes:
    """Write x, y, attention (N, 3) as float16, then the descriptors in the named type."""
    head = np.column_stack([features.xy, features.attention]).astype('<f2')
    if dtype == 'float16':
        rows = features.descriptors.astype('<f2')
        return bytes(head.tobytes() + rows.tobytes())
    peak = np.abs(features.descriptors).max(axis=1, initial=0.0)
    scale = np.maximum(peak / 127, np.finfo(np.float16).tiny).astype('<f2')
    steps = np.rint(features.descriptors / scale[:, None].astype(np.float32))
    body = steps.clip(-127, 127).astype(np.int8)
    return bytes(head.tobytes() + scale.tobytes() + body.tobytes())


def decode(blob: bytes, dtype: str, local_dim: int) -> LocalFeatures:
    """
    Read what ``encode`` wrote, as float32.

    :raises MapError: if the length does not fit.
    """
    count = feature_count(blob, dtype, local_dim)
    head = np.frombuffer(blob, '<f2', count * 3).reshape(count, 3).astype(np.float32)
    rest = memoryview(blob)[count * 6 :]
    if dtype == 'float16':
        descriptors = np.frombuffer(rest, '<f2').reshape(count, local_dim).astype(np.float32)
    else:
        scale = np.frombuffer(rest, '<f2', count).astype(np.float32)
        rows = np.frombuffer(rest[count * 2 :], np.int8).reshape(count, local_dim)
        descriptors = rows * scale[:, None]
    return LocalFeatures(head[:, :2], head[:, 2], descriptors)


def feature_count(blob: bytes, dtype: str, local_dim: int) -> int:
    """
    Return the number of features in a blob.

    :raises MapError: if its length is no whole number of features.
    """
    size = 2 * (local_dim + 3) if dtype == 'float16' else local_dim + 8
    count, rest = divmod(len(blob), size)
    if rest:
        raise MapError(f'local features of {len(blob)} bytes: no multiple of {size}')
    return count
