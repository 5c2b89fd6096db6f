# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The keyframe rule where time runs backwards."""

import numpy as np
import pytest

from r2former_ros.config import MapConfig
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.keyframes import KeyframeRule
from r2former_ros.records import Frame, PosedFrame

SECOND = 1_000_000_000
IMAGE = np.zeros((8, 8, 3), np.uint8)


def taken(stamps_s, **rules):
    """Return the numbers of the frames, all at one place, that become keyframes."""
    off = {'keyframe_distance_m': 0.0, 'keyframe_angle_deg': 0.0, 'keyframe_interval_s': 0.0}
    rule = KeyframeRule(MapConfig(**{**off, **rules}))
    return [number for number, stamp in enumerate(stamps_s) if rule.takes(PosedFrame(
        Frame(round(stamp * SECOND), IMAGE), pose_from_yaw(0, 0, 0), str(number)))]


@pytest.mark.parametrize('rules', [
    {'keyframe_interval_s': 2.0}, {'keyframe_distance_m': 1.0},
    {'keyframe_interval_s': 2.0, 'keyframe_distance_m': 1.0},
])
def test_a_clock_that_was_set_back_begins_a_new_stretch(rules):
    run = [0, 1, 2, 3]
    first = taken(run, **rules)
    assert taken([*run, *run], **rules) == [*first, *(number + 4 for number in first)]


def test_frames_a_little_out_of_order_begin_none():
    assert taken([0, 2, 1.9, 2.1, 1.95, 4], keyframe_interval_s=2.0) == [0, 1, 5]
