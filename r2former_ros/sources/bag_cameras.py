# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which camera took the pictures of a bag, and how it is mounted: CameraInfo and /tf_static."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rosbags.serde import SerdeError

from ..errors import ImageError, PoseError
from ..geometry.cameras import camera_from_info, problem_of
from ..geometry.mounting import Transforms, mounted_at
from ..geometry.poses import pose_from_quaternion
from ..records import Camera, Pose
from .bags import Bag
from .messages import CAMERA_INFO, ODOMETRY, TF, deserialized

TF_STATIC = '/tf_static'


def camera_of_bag(
    bag: Bag, image_topic: str, pose_topic: str | None = None
) -> tuple[Camera | None, Pose | None, str]:
    """
    Return the calibrated camera of an image topic, its mounting, and what was found, in words.

    The mounting takes the optical axes to the frame that the poses are about (``child_frame_id``
    of Odometry); it is None where /tf_static does not connect the two.
    """
    topic = info_topic_of(image_topic)
    camera = intrinsics_of_bag(bag, topic)
    if camera is None:
        return None, None, f'no CameraInfo on {topic}'
    problem = problem_of(camera)
    if problem:
        return None, None, f'{topic}: {problem}'
    base, optical = _posed_frame(bag, pose_topic), _image_frame(bag, image_topic)
    base_T_frame = static_transforms(bag).between(base, optical) if base and optical else None
    if base_T_frame is None or base == optical:
        return camera, None, f'intrinsics from {topic}; poses are taken to be those of the camera'
    return camera, mounted_at(base_T_frame, optical), \
        f'intrinsics from {topic}; {base} to {optical} from {TF_STATIC}'


def info_topic_of(image_topic: str) -> str:
    """Return the CameraInfo topic next to an image topic, as image_transport names it."""
    namespace = image_topic.removesuffix('/compressed').rpartition('/')[0]
    return f'{namespace}/camera_info'


def intrinsics_of_bag(bag: Bag, topic: str) -> Camera | None:
    """Return the camera of the first message on a CameraInfo topic; None without one."""
    message = _first(bag, topic, CAMERA_INFO)
    if message is None:
        return None
    return camera_from_info(k=message.k, d=message.d, width=message.width, height=message.height,
                            model=message.distortion_model)


def static_transforms(bag: Bag) -> Transforms:
    """Return the transforms of /tf_static; those with bad numbers are left out."""
    found = Transforms()
    if bag.topics.get(TF_STATIC) != TF:
        return found
    for raw in bag.raw_messages([TF_STATIC]):
        try:
            stamped = deserialized(raw).transforms
        except SerdeError:
            continue
        for parent, child, pose in _poses(stamped):
            found.add(parent, child, pose)
    return found


def _poses(stamped: Iterable[Any]) -> Iterable[tuple[str, str, Pose]]:
    for one in stamped:
        p, q = one.transform.translation, one.transform.rotation
        try:
            pose = pose_from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
        except PoseError:
            continue
        yield one.header.frame_id, one.child_frame_id, pose


def _posed_frame(bag: Bag, topic: str | None) -> str:
    """Return the frame that a pose topic is about; empty if its type does not say."""
    message = _first(bag, topic, ODOMETRY) if topic else None
    return '' if message is None else str(message.child_frame_id)


def _image_frame(bag: Bag, topic: str) -> str:
    """Return the frame id of the first picture that can be decoded; empty if none can."""
    try:
        first = next(bag.images(topic, on_bad_frame=lambda error: None), None)
    except ImageError:
        return ''
    return '' if first is None else first.frame_id


def _first(bag: Bag, topic: str, kind: str) -> Any | None:
    if bag.topics.get(topic) != kind:
        return None
    for raw in bag.raw_messages([topic]):
        try:
            return deserialized(raw)
        except SerdeError:
            continue
    return None
