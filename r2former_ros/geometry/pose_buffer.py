# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The newest poses of a stream, for images that come a little earlier or later."""

from __future__ import annotations

import threading
from collections import deque

from ..records import Pose, StampedPose
from .trajectories import POSE_TOLERANCE_NS, Trajectory


class PoseBuffer:
    """The last poses of a stream, asked from another thread for the pose at a stamp."""

    def __init__(self, count: int = 2000, tolerance_ns: int = POSE_TOLERANCE_NS) -> None:
        self._poses: deque[StampedPose] = deque(maxlen=count)
        self._tolerance_ns = tolerance_ns
        self._lock = threading.Lock()

    def add(self, pose: StampedPose) -> None:
        """Take the next pose; one that is older than the last begins a new stream."""
        with self._lock:
            if self._poses and pose.stamp_ns < self._poses[-1].stamp_ns:
                self._poses.clear()
            self._poses.append(pose)

    def may_come(self, stamp_ns: int) -> bool:
        """Say whether all poses so far are from before a stamp."""
        with self._lock:
            return not self._poses or self._poses[-1].stamp_ns < stamp_ns

    def at(self, stamp_ns: int) -> Pose | None:
        """Interpolate at a stamp; beyond the last pose, that one counts within the tolerance."""
        with self._lock:
            poses = list(self._poses)
        return Trajectory.from_poses(poses).at(stamp_ns, self._tolerance_ns)
