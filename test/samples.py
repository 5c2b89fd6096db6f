# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Map headers and keyframes of random features; importable without torch."""

import numpy as np

from r2former_ros.maps.place_map import MapHeader
from r2former_ros.records import Keyframe, LocalFeatures

HEADER = MapHeader(
    fingerprint='0123456789abcdef', weights='tiny, test', trained=False, descriptor_dim=8,
    local_dim=16, config={'rerank': {'candidates': 20}},
)


def keyframe(seed, count=7, posed=True):
    """Make a keyframe of random features."""
    rng = np.random.default_rng(seed)
    descriptor = rng.standard_normal(8).astype(np.float32)
    pose = np.eye(4)
    pose[:3, 3] = seed, 2 * seed, -0.5
    pose[:2, :2] = [[0, -1], [1, 0]]
    return Keyframe(
        stamp_ns=1_700_000_000_123_456_789 + seed,
        map_T_camera=pose if posed else None,
        source=f'bag:{seed}',
        descriptor=descriptor / np.linalg.norm(descriptor),
        local_features=LocalFeatures(
            rng.random((count, 2), np.float32),
            np.sort(rng.random(count, np.float32))[::-1].copy(),
            rng.standard_normal((count, 16)).astype(np.float32) * 4,
        ),
        thumbnail=b'\xff\xd8jpeg',
    )
