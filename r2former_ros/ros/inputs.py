# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node subscribes to: images and odometry."""

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
from ..geometry.pose_buffer import PoseBuffer
from .conversions import stamped_pose_from
from .interface import COMPRESSED, IMAGE, ODOMETRY

ImageLike = Image | CompressedImage
STEADY = Clock(clock_type=ClockType.STEADY_TIME)
"""For timers that must keep running while simulated time stands still."""
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
        """Unsubscribe."""
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


class OdometryBuffer(PoseBuffer):
    """Recent odometry: ``odom_T_camera`` at an image's stamp, and the frame it is in."""

    def __init__(self) -> None:
        super().__init__()
        self.frame_id = ''


class OdometryInput:
    """The subscription that fills an odometry buffer."""

    def __init__(self, node: Node, buffer: OdometryBuffer) -> None:
        self._node = node
        self._buffer = buffer
        self._subscription = node.create_subscription(
            ODOMETRY.message, ODOMETRY.name, self.take, ODOMETRY.qos)

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def take(self, message: Odometry) -> None:
        """Add one message to the buffer."""
        self._buffer.frame_id = message.header.frame_id
        try:
            self._buffer.add(stamped_pose_from(message))
        except ValueError as error:
            self._node.get_logger().warning(
                f'odometry skipped: {error}', throttle_duration_sec=10.0)
