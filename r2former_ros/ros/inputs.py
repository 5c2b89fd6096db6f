# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node listens to: images and odometry."""

from __future__ import annotations

from collections.abc import Callable

from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import CompressedImage, Image

from ..config import NodeConfig
from ..geometry.trajectories import PoseBuffer
from ..records import Pose
from .conversions import stamped_pose_from
from .interface import COMPRESSED, IMAGE, ODOMETRY

ImageLike = Image | CompressedImage
STEADY = Clock(clock_type=ClockType.STEADY_TIME)
"""For timers that must run on when simulated time stands still."""
RELIABILITIES = {
    'reliable': ReliabilityPolicy.RELIABLE, 'best_effort': ReliabilityPolicy.BEST_EFFORT,
}


class ImageInput:
    """The subscription to images, which falls back to best effort where nothing else is sent."""

    def __init__(
        self, node: Node, config: NodeConfig, on_image: Callable[[ImageLike], None]
    ) -> None:
        self._node = node
        self._on_image = on_image
        self._topic = COMPRESSED if config.image_transport == 'compressed' else IMAGE
        self._depth = config.image_depth
        self._falling_back: Timer | None = None
        self._subscription = self._subscribe(RELIABILITIES[config.image_reliability])

    @property
    def topic_name(self) -> str:
        """The topic after remapping."""
        return str(self._subscription.topic_name)

    def close(self) -> None:
        """Listen no more."""
        self._drop_timer()
        self._node.destroy_subscription(self._subscription)

    def _subscribe(self, reliability: ReliabilityPolicy) -> Subscription:
        return self._node.create_subscription(
            self._topic.message,
            self._topic.name,
            self._on_image,
            QoSProfile(depth=self._depth, reliability=reliability),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible),
        )

    def _on_incompatible(self, _: object) -> None:
        """Fall back from a timer: a subscription cannot end in its own event."""
        if self._falling_back is None:
            self._node.get_logger().warning(
                'the publisher offers best effort only: images may be lost')
            self._falling_back = self._node.create_timer(0.0, self._fall_back, clock=STEADY)

    def _fall_back(self) -> None:
        self._drop_timer()
        self._node.destroy_subscription(self._subscription)
        self._subscription = self._subscribe(ReliabilityPolicy.BEST_EFFORT)

    def _drop_timer(self) -> None:
        if self._falling_back is not None:
            self._node.destroy_timer(self._falling_back)
            self._falling_back = None


class OdometryInput:
    """The subscription to odometry: where the camera was at an image's stamp."""

    def __init__(self, node: Node) -> None:
        self.frame_id = ''
        self._node = node
        self._poses = PoseBuffer()
        self._subscription = node.create_subscription(
            ODOMETRY.message, ODOMETRY.name, self._on_odometry, ODOMETRY.qos
        )

    def at(self, stamp_ns: int) -> Pose | None:
        """Return ``odom_T_camera`` (4, 4) at a stamp, None where odometry says nothing of it."""
        return self._poses.at(stamp_ns)

    def may_come(self, stamp_ns: int) -> bool:
        """Say whether odometry is still on its way to a stamp."""
        return self._poses.may_come(stamp_ns)

    def close(self) -> None:
        """Listen no more."""
        self._node.destroy_subscription(self._subscription)

    def _on_odometry(self, message: Odometry) -> None:
        self.frame_id = message.header.frame_id
        try:
            self._poses.add(stamped_pose_from(message))
        except ValueError as error:
            self._node.get_logger().warning(
                f'odometry skipped: {error}', throttle_duration_sec=10.0)
