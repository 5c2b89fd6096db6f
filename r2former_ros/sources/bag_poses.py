# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A trajectory out of the messages of a topic: what holds no pose, and where time falls."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Any, Generic, TypeVar

import numpy as np
from rosbags.serde import SerdeError

from ..common.text import counted
from ..errors import BagError, PoseError
from ..geometry.poses import local_east_north, pose_from_yaw, travel_headings_rad
from ..geometry.trajectories import Trajectory, restarts
from ..records import Pose, StampedPose
from .messages import NAV_SAT_FIX, Stamps, deserialized, fix_of, pose_of
from .storage import RawMessage

_logger = logging.getLogger(__name__)
Fix = tuple[float, float]
Value = TypeVar('Value')


@dataclass(frozen=True)
class _Placed(Generic[Value]):
    """A pose or a fix, its stamp, and when it was recorded."""

    stamp_ns: int
    recorded_ns: int
    value: Value


def trajectory_of_messages(
    messages: Iterable[RawMessage], kind: str, name: str, stamps: Stamps,
    origin: Fix | None = None,
) -> Trajectory:
    """
    Make a trajectory of the messages of one type, in the order of recording.

    Messages without a pose are left out and counted in a warning. Where stamps fall, a new
    stretch begins, which is a warning too.

    :param name: what messages call the topic.
    :param stamps: reads the stamps of the topic.
    :param origin: of satellite fixes, latitude and longitude; the earliest where it is None.
    :raises BagError: if no message holds a pose.
    """
    if kind == NAV_SAT_FIX:
        stretches = _stretches(_placed(messages, fix_of, name, stamps), name)
        return _trajectory_of_fixes(stretches, origin)
    poses = _stretches(_placed(messages, pose_of, name, stamps), name)
    return _joined(poses, [[StampedPose(one.stamp_ns, one.value) for one in stretch]
                           for stretch in poses])


def _placed(
    messages: Iterable[RawMessage], value_of: Callable[[Any], Value], name: str, stamps: Stamps
) -> list[_Placed[Value]]:
    """Return what holds a pose."""
    placed: list[_Placed[Value]] = []
    left_out = Counter[str]()
    for raw in messages:
        try:
            message = deserialized(raw)
            stamp_ns = stamps.of(message, raw)
            placed.append(_Placed(stamp_ns, raw.recorded_ns, value_of(message)))
        except (PoseError, SerdeError) as error:
            left_out[str(error)] += 1
    count = sum(left_out.values())
    if not placed:
        raise BagError(f'{name}: none of {counted(count, "message")} holds a pose '
                       f'({_commonest(left_out)})')
    if count:
        _logger.warning('%s: left out %d of %s that hold no pose (%s)', name, count,
                        counted(count + len(placed), 'message'), _commonest(left_out))
    return placed


def _commonest(left_out: Counter[str]) -> str:
    """Name the commonest reason, and how many messages have another one."""
    if not left_out:
        return 'the topic is empty'
    (reason, count), = left_out.most_common(1)
    others = sum(left_out.values()) - count
    return f'{count}: {reason}' + (f'; {others} for other reasons' if others else '')


def _stretches(placed: Sequence[_Placed[Value]], name: str) -> list[list[_Placed[Value]]]:
    """Cut where stamps fall, and say so."""
    cuts = restarts(one.stamp_ns for one in placed)
    if cuts:
        _logger.warning(
            '%s: time runs backwards %s, first from %.3f s to %.3f s, as by the reset of a '
            'simulator; each run has poses of its own', name, counted(len(cuts), 'time'),
            placed[cuts[0] - 1].stamp_ns * 1e-9, placed[cuts[0]].stamp_ns * 1e-9)
    edges = [0, *cuts, len(placed)]
    return [list(placed[start:end]) for start, end in zip(edges, edges[1:])]


def _joined(
    stretches: Sequence[Sequence[_Placed[Value]]], poses: Sequence[Sequence[StampedPose]]
) -> Trajectory:
    return Trajectory.from_stretches(
        poses,
        [min(one.recorded_ns for one in stretch) for stretch in stretches],
        [median_low(one.recorded_ns - one.stamp_ns for one in stretch) for stretch in stretches],
    )


def _trajectory_of_fixes(
    stretches: Sequence[Sequence[_Placed[Fix]]], origin: Fix | None
) -> Trajectory:
    """Lay fixes out as metres east and north of the origin, heading in the direction of travel."""
    ordered = [sorted(stretch, key=lambda fix: fix.stamp_ns) for stretch in stretches]
    origin = origin or ordered[0][0].value
    trajectory = _joined(ordered, [_poses_of_fixes(stretch, origin) for stretch in ordered])
    return replace(trajectory, origin=origin)


def _poses_of_fixes(fixes: Sequence[_Placed[Fix]], origin: Fix) -> list[StampedPose]:
    latitude, longitude = np.transpose([fix.value for fix in fixes])
    xy = local_east_north(latitude, longitude, origin)
    poses: list[Pose] = [pose_from_yaw(x, y, yaw)
                         for (x, y), yaw in zip(xy, travel_headings_rad(xy))]
    return [StampedPose(fix.stamp_ns, pose) for fix, pose in zip(fixes, poses)]
