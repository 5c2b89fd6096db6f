# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""map -> odom as TF, from poses in metres; off unless node.publish_tf."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode

from ..config import Config
from ..errors import ConfigError
from ..geometry.poses import inverse
from ..records import Pose, State
from .conversions import transform_message
from .inputs import OdometryBuffer
from .mounted_camera import transform_messages
from .seen import Seen


class MapTransform:
    """Publish the last accepted correction with every image used while localized."""

    def __init__(self, node: LifecycleNode, config: Config, odometry: OdometryBuffer) -> None:
        """
        Make the publisher.

        :raises ConfigError: if tf2_msgs is not installed.
        """
        self._message = transform_messages()
        if self._message is None:
            raise ConfigError('node.publish_tf needs tf2_msgs (ROS package tf2_msgs): install it, '
                              'or switch node.publish_tf off')
        self._node, self._config, self._odometry = node, config, odometry
        self._map_T_odom: Pose | None = None
        self._publisher = node.create_lifecycle_publisher(self._message, '/tf', 10)

    def take(self, seen: Seen) -> None:
        """Publish map -> odom, once a pose in metres has been accepted while localized."""
        recognition = seen.recognition
        if recognition.state is not State.LOCALIZED:
            self._map_T_odom = None
            return
        if recognition.pose is not None and seen.odom_T_camera is not None:
            self._map_T_odom = recognition.pose.map_T_base @ inverse(seen.odom_T_camera)
        if self._map_T_odom is not None and self._odometry.frame_id:
            self._publisher.publish(self._message(transforms=[transform_message(
                self._map_T_odom, recognition.stamp_ns, self._config.map.frame_id,
                self._odometry.frame_id)]))

    def close(self) -> None:
        """Remove the publisher."""
        self._node.destroy_lifecycle_publisher(self._publisher)
