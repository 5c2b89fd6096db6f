# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames become keyframes."""

from __future__ import annotations

from ..config import MapConfig
from ..geometry.poses import angle_deg, distance_m
from ..records import PosedFrame


class KeyframeRule:
    """Choose frames by movement, rotation or time since the last keyframe, whichever is first."""

    def __init__(self, config: MapConfig) -> None:
        self.config = config
        self._last: PosedFrame | None = None

    def takes(self, posed: PosedFrame) -> bool:
        """Say whether a frame becomes a keyframe; without any rule, all do."""
        chosen = self._last is None or self._far_from(self._last, posed)
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
