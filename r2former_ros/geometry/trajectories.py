# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Poses over time, and what happens where time runs backwards."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from ..records import Pose, StampedPose

POSE_TOLERANCE_NS = 200_000_000
"""Two stamps this close count as one moment: of an image and a pose, or in a different order."""
SEAM_NS = 1_000_000_000
"""Longest time that messages take to the recorder, and between those of different topics."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """
    Poses over time: ``stamps_ns`` (N,), ``poses`` (N, 4, 4).

    Stamps increase strictly within a stretch. A new stretch begins, at the rows ``starts``, where
    the clock was set back, as by the reset of a simulator or in a bag that was played in a loop.
    ``recorded_ns`` is the recording time at which each stretch begins, and ``lags_ns`` how much
    later than their stamps its poses were recorded: both tell stretches apart.

    Between two poses further apart than ``max_gap_ns`` nothing is interpolated. ``origin`` is
    the latitude and longitude in degrees of 0, 0, where positions are metres east and north of
    it.
    """

    stamps_ns: NDArray[np.int64]
    poses: NDArray[np.float64]
    max_gap_ns: int = 2_000_000_000
    origin: tuple[float, float] | None = None
    starts: tuple[int, ...] = (0,)
    recorded_ns: tuple[int, ...] = (0,)
    lags_ns: tuple[int, ...] = (0,)

    @classmethod
    def from_poses(cls, poses: Iterable[StampedPose]) -> Trajectory:
        """Sort poses by stamp; of several with the same stamp, keep the first."""
        return cls.from_stretches([list(poses)], [0], [0])

    @classmethod
    def from_stretches(
        cls, stretches: Sequence[Sequence[StampedPose]], recorded_ns: Sequence[int],
        lags_ns: Sequence[int],
    ) -> Trajectory:
        """Join stretches in the order of recording; each is sorted as in ``from_poses``."""
        ordered = [_ordered(poses) for poses in stretches]
        joined = [stamped for poses in ordered for stamped in poses]
        ends = np.cumsum([len(poses) for poses in ordered]).tolist()
        return cls(
            np.array([stamped.stamp_ns for stamped in joined], np.int64),
            np.array([stamped.pose for stamped in joined], np.float64).reshape(-1, 4, 4),
            starts=(0, *ends[:-1]), recorded_ns=tuple(recorded_ns), lags_ns=tuple(lags_ns),
        )

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def __iter__(self) -> Iterator[StampedPose]:
        for stamp, pose in zip(self.stamps_ns, self.poses, strict=True):
            yield StampedPose(int(stamp), pose)

    def at(
        self, stamp_ns: int, tolerance_ns: int = 0, recorded_ns: int | None = None
    ) -> Pose | None:
        """
        Return the pose (4, 4) at a stamp, or None where the trajectory does not cover it.

        Between neighbours the position is interpolated linearly and the rotation along the
        shortest arc. Before the first pose, after the last, and inside a gap, the nearest pose
        counts if it is within the tolerance.

        :param recorded_ns: when that was recorded for which the pose is wanted; chooses between
            stretches. Without it, a stamp that occurs in several of them has no pose.
        """
        stretches = range(len(self.starts))
        if recorded_ns is not None:
            stretches = self._recorded_around(recorded_ns)
        found = {stretch: pose for stretch in stretches
                 if (pose := self._pose_in(stretch, stamp_ns, tolerance_ns)) is not None}
        if len(found) > 1 and recorded_ns is not None:
            lag_ns = recorded_ns - stamp_ns
            return found[min(found, key=lambda stretch: abs(self.lags_ns[stretch] - lag_ns))]
        return next(iter(found.values())) if len(found) == 1 else None

    def _recorded_around(self, recorded_ns: int) -> range:
        """
        Return the stretch that was being recorded at a time.

        Near a seam it is two: what was stamped before it may have been recorded after it.
        """
        first = bisect_right(self.recorded_ns, recorded_ns - SEAM_NS) - 1
        last = bisect_right(self.recorded_ns, recorded_ns + SEAM_NS) - 1
        return range(max(0, first), max(0, last) + 1)

    def _pose_in(self, stretch: int, stamp_ns: int, tolerance_ns: int) -> Pose | None:
        rows = range(*[*self.starts, len(self)][stretch:stretch + 2])
        stamps = self.stamps_ns[rows.start:rows.stop]
        after = rows.start + int(np.searchsorted(stamps, stamp_ns))
        if rows.start < after < rows.stop:
            gap_ns = self.stamps_ns[after] - self.stamps_ns[after - 1]
            if gap_ns <= self.max_gap_ns:
                return self._between(after, stamp_ns)
        near = [index for index in (after - 1, after) if index in rows]
        distance, nearest = min(
            ((abs(int(self.stamps_ns[index]) - stamp_ns), index) for index in near),
            default=(tolerance_ns + 1, 0),
        )
        return self.poses[nearest].copy() if distance <= tolerance_ns else None

    def _between(self, after: int, stamp_ns: int) -> Pose:
        """Interpolate from the pose before ``after`` to that one."""
        start_ns, end_ns = (int(stamp) for stamp in self.stamps_ns[after - 1:after + 1])
        part = (stamp_ns - start_ns) / (end_ns - start_ns)  # of ints: exact up to here
        start, end = self.poses[after - 1], self.poses[after]
        pose = np.eye(4)
        rotations = Rotation.from_matrix([start[:3, :3], end[:3, :3]])
        pose[:3, :3] = Slerp([0.0, 1.0], rotations)(part).as_matrix()
        pose[:3, 3] = (1 - part) * start[:3, 3] + part * end[:3, 3]
        return pose


def restarts(stamps_ns: Iterable[int]) -> list[int]:
    """
    Return the indices at which time runs backwards, by more than ``POSE_TOLERANCE_NS``.

    Less is disorder: messages that overtook each other on their way to the recorder.
    """
    found, latest = [], None
    for index, stamp_ns in enumerate(stamps_ns):
        if latest is not None and stamp_ns < latest - POSE_TOLERANCE_NS:
            found.append(index)
            latest = None
        latest = stamp_ns if latest is None else max(latest, stamp_ns)
    return found


def _ordered(poses: Iterable[StampedPose]) -> list[StampedPose]:
    """Sort poses by stamp; of several with the same stamp, keep the first."""
    first: dict[int, StampedPose] = {}
    for stamped in poses:
        first.setdefault(stamped.stamp_ns, stamped)
    return [first[stamp_ns] for stamp_ns in sorted(first)]
