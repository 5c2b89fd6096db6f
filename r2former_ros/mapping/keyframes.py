# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The rule that selects keyframes."""

from __future__ import annotations

from ..config import MapConfig
from ..geometry.poses import angle_deg, distance_m
from ..geometry.trajectories import POSE_TOLERANCE_NS
from ..records import PosedFrame


class KeyframeRule:
    """
    Choose frames by movement, rotation or time since the last keyframe, whichever is first.

    Where time runs backwards, as by the reset of a simulator, a new stretch begins: its first
    frame becomes a keyframe.
    """

    def __init__(self, config: MapConfig) -> None:
        self.config = config
        self._last: PosedFrame | None = None
        self._latest_ns = -2**63

    def takes(self, posed: PosedFrame) -> bool:
        """Say whether a frame becomes a keyframe; without any rule, all do."""
        stamp_ns = posed.frame.stamp_ns
        set_back = stamp_ns < self._latest_ns - POSE_TOLERANCE_NS
        self._latest_ns = stamp_ns if set_back else max(stamp_ns, self._latest_ns)
        chosen = set_back or self._last is None or self._far_from(self._last, posed)
        if chosen:
            self._last = posed
        return chosen

    def _far_from(self, last: PosedFrame, posed: PosedFrame) -> bool:
        config, rules = self.config, []
        if config.keyframe_interval_s > 0:
            elapsed_s = (posed.frame.stamp_ns - last.frame.stamp_ns) * 1e-9
            rules.append(elapsed_s >= config.keyframe_interval_s)
        if last.map_T_camera is not None and posed.map_T_camera is not None:
            poses = last.map_T_camera, posed.map_T_camera
            if config.keyframe_distance_m > 0:
                rules.append(distance_m(*poses) >= config.keyframe_distance_m)
            if config.keyframe_angle_deg > 0:
                rules.append(angle_deg(*poses) >= config.keyframe_angle_deg)
        return any(rules) or not rules
