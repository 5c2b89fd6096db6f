# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The message types that are read from bags, and what stands in them.

Messages are read with the definitions of Jazzy rather than those inside the bag: the few types
used here have kept their layout from Foxy to Kilted, and a bag with a broken definition of some
other type still opens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from ..geometry.poses import pose_from_quaternion, require_fix
from ..records import Pose
from .storage import RawMessage

IMAGE, COMPRESSED_IMAGE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)
ODOMETRY, NAV_SAT_FIX = 'nav_msgs/msg/Odometry', 'sensor_msgs/msg/NavSatFix'
POSE = 'geometry_msgs/msg/PoseStamped'
POSE_WITH_COVARIANCE = 'geometry_msgs/msg/PoseWithCovarianceStamped'
CAMERA_INFO, TF = 'sensor_msgs/msg/CameraInfo', 'tf2_msgs/msg/TFMessage'
POSE_TYPES = (ODOMETRY, POSE, POSE_WITH_COVARIANCE, NAV_SAT_FIX)

SIMULATED_BEFORE_NS = 10**17
"""Clocks of computers are past this, three years after 1970; those of simulators begin at 0."""

TYPES = get_typestore(Stores.ROS2_JAZZY)


def make_message(kind: str, **fields: Any) -> Any:
    """Return a message of a type such as ``std_msgs/msg/Header``."""
    return TYPES.types[kind](**fields)


def deserialized(raw: RawMessage) -> Any:
    """
    Return the message with its fields as attributes.

    :raises SerdeError: if it is cut off or damaged.
    """
    try:
        return TYPES.deserialize_cdr(raw.cdr, raw.type)
    except Exception as error:  # its own, those of struct, and of text that is not UTF-8
        raise SerdeError(f'the message cannot be decoded ({" ".join(str(error).split())})') \
            from error


class Stamps:
    """
    Stamps of the messages of one topic, in nanoseconds.

    A driver that knows no time leaves 0, in place of which the recording time counts. Where the
    other stamps are those of a simulator, 0 is its first moment.
    """

    def __init__(self, first: Iterable[RawMessage]) -> None:
        """
        Find out what a 0 means.

        :param first: the first messages of the topic.
        """
        stamps = [stamp for raw in first if (stamp := _header_stamp_ns(raw)) is not None]
        self._simulated = any(0 < stamp < SIMULATED_BEFORE_NS for stamp in stamps)

    def of(self, message: Any, raw: RawMessage) -> int:
        """Return the stamp of the next message."""
        stamp_ns = _nanoseconds(message.header.stamp)
        if stamp_ns:
            self._simulated = stamp_ns < SIMULATED_BEFORE_NS
        return stamp_ns if stamp_ns or self._simulated else raw.bag_time_ns


def _header_stamp_ns(raw: RawMessage) -> int | None:
    try:
        return _nanoseconds(deserialized(raw).header.stamp)
    except SerdeError:
        return None


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec * 10**9 + stamp.nanosec)


def pose_of(message: Any) -> Pose:
    """
    Return the pose (4, 4) of a message of ``POSE_TYPES`` other than a satellite fix.

    :raises PoseError: if its numbers are not a pose.
    """
    pose = message.pose if message.__msgtype__ == POSE else message.pose.pose
    p, q = pose.position, pose.orientation
    return pose_from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))


def fix_of(message: Any) -> tuple[float, float]:
    """
    Return latitude and longitude in degrees of a ``NavSatFix``.

    :raises PoseError: if it is not a fix.
    """
    return require_fix(message.latitude, message.longitude, message.status.status)
