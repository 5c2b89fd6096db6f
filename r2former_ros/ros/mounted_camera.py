# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The robot's camera: intrinsics from CameraInfo, mounting from a setting, /tf_static or a map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from ..errors import PoseError
from ..geometry.cameras import problem_of
from ..geometry.mounting import Transforms, mounted_at, parsed_mounting
from ..geometry.poses import BODY_T_OPTICAL, pose_from_quaternion
from ..records import Camera, MountedCamera, Pose
from .conversions import camera_from
from .inputs import ReliableInput
from .interface import CAMERA_INFO, LATCHED

TF_STATIC = '/tf_static'


class CameraInput:
    """
    The subscription to CameraInfo and, if tf2_msgs is installed, to /tf_static.

    The mounting is the setting, else the chain of static transforms from the odometry's child
    frame to the image's frame, else that of the map's camera, else none: the poses are then those
    of the camera, in body axes.
    """

    def __init__(
        self, node: Node, base_to_camera: str, base_frame: Callable[[], str]
    ) -> None:
        """
        Subscribe.

        :param base_to_camera: the setting; empty: not set.
        :param base_frame: returns the frame that odometry is about; empty: unknown.
        :raises ConfigError: if the setting is not a transform.
        """
        self.info: Camera | None = None
        self.map_camera: MountedCamera | None = None
        self._node, self._base_frame = node, base_frame
        self._given = parsed_mounting(base_to_camera, 'refine.base_to_camera') \
            if base_to_camera else None
        self._transforms = Transforms()
        self._input = ReliableInput(node, CAMERA_INFO, self._on_info, CAMERA_INFO.qos)
        message = transform_messages()
        self._static = None if message is None else node.create_subscription(
            message, TF_STATIC, self._on_transforms, LATCHED)

    def close(self) -> None:
        """Unsubscribe."""
        self._input.close()
        if self._static is not None:
            self._node.destroy_subscription(self._static)

    def mounted(self, image_frame: str) -> MountedCamera | None:
        """Return the camera of an image; None if no CameraInfo has come: the map's is used."""
        return None if self.info is None else MountedCamera(self.info, self._mounting(image_frame))

    def usable(self) -> Camera | None:
        """Return the intrinsics, None without any that can be used."""
        return None if self.info is None or problem_of(self.info) else self.info

    def _mounting(self, image_frame: str) -> Pose:
        base = self._base_frame()
        chain = self._transforms.between(base, image_frame) if base and base != image_frame \
            else None
        if self._given is not None:
            return self._given
        if chain is not None:
            return mounted_at(chain, image_frame)
        return self.map_camera.base_T_optical if self.map_camera else BODY_T_OPTICAL

    def _on_info(self, message: CameraInfo) -> None:
        self.info = camera_from(message) or Camera(np.zeros((3, 3)), 1, 1)
        problem = problem_of(self.info)
        if problem:
            self._node.get_logger().warning(
                f'{CAMERA_INFO.name}: {problem}: no pose in metres', once=True)

    def _on_transforms(self, message: Any) -> None:
        for one in message.transforms:
            p, q = one.transform.translation, one.transform.rotation
            try:
                pose = pose_from_quaternion([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])
            except PoseError as error:
                self._node.get_logger().warning(f'{TF_STATIC}: {error}', once=True)
                continue
            self._transforms.add(one.header.frame_id, one.child_frame_id, pose)


def transform_messages() -> Any | None:
    """Return the class of ``tf2_msgs/TFMessage``, None if it is not installed."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        return None
    return TFMessage
