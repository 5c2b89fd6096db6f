# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A small synthetic town to demonstrate and train place recognition with, drawn from one integer.

``Town(seed).lap(0, 150)`` yields the frames and poses of one drive around its loop street.
"""

from .camera import TownCamera, pose_at
from .light import DAY, DUSK, LIGHTS, NIGHT, OVERCAST, Light
from .streets import Plan
from .town import Town

__all__ = [
    'DAY', 'DUSK', 'LIGHTS', 'NIGHT', 'OVERCAST', 'TownCamera', 'Light', 'Plan', 'Town', 'pose_at',
]  # fmt: skip
