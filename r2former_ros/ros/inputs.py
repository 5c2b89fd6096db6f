# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the nodes subscribe to: images and odometry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from ..config import NodeConfig
from ..geometry.pose_buffer import PoseBuffer
from ..geometry.trajectories import POSE_TOLERANCE_NS
from ..records import StampedPose
from .conversions import stamped_pose_from
from .interface import COMPRESSED, IMAGE, ODOMETRY, Topic

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

ImageLike = Image | CompressedImage
STEADY = Clock(clock_type=ClockType.STEADY_TIME)
"""For timers that must keep running while simulated time stands still."""
RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
RELIABILITIES = {'reliable': RELIABLE, 'best_effort': BEST_EFFORT}
PUBLISHERS_CHECK_S = 0.5


class ReliableInput:
    """
    A reliable subscription that uses best effort while its publishers offer nothing else.

    A reliable subscription receives nothing from a best-effort publisher, and one at best effort
    loses large messages of any publisher: so best effort is used only while no publisher of the
    topic is reliable.
    """

    def __init__(
        self, node: Node, topic: Topic, take: Callable[[Any], None], qos: QoSProfile
    ) -> None:
        self._node, self._topic, self._take, self._depth = node, topic, take, qos.depth
        self._reliability = qos.reliability
        self._subscription = self._subscribe()
        # Only a reliable subscription has something to adapt.
        self._timer = None if qos.reliability is BEST_EFFORT else node.create_timer(
            PUBLISHERS_CHECK_S, self.adapt, clock=STEADY)

    @property
    def topic_name(self) -> str:
        """The topic after remapping."""
        return str(self._subscription.topic_name)

    def close(self) -> None:
        """Unsubscribe."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._subscription)

    def adapt(self) -> None:
        """Subscribe anew if the publishers call for another reliability; log that."""
        offered = [one.qos_profile.reliability
                   for one in self._node.get_publishers_info_by_topic(self.topic_name)]
        wanted = BEST_EFFORT if set(offered) == {BEST_EFFORT} else RELIABLE
        if not offered or wanted is self._reliability:
            return
        self._reliability = wanted
        self._node.destroy_subscription(self._subscription)
        self._subscription = self._subscribe()
        log, name = self._node.get_logger(), self.topic_name
        if wanted is BEST_EFFORT:
            log.warning(f'{name}: every publisher offers best effort only: messages may be lost')
        else:
            log.info(f'{name}: a reliable publisher is there: subscribed reliably')

    def _subscribe(self) -> Subscription:
        return self._node.create_subscription(
            self._topic.message,
            self._topic.name,
            self._take,
            QoSProfile(depth=self._depth, reliability=self._reliability),
            # rclpy would warn that nothing will be received; ``adapt`` sees to it.
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=lambda _: None),
        )


def image_input(
    node: Node, config: NodeConfig, on_image: Callable[[ImageLike], None]
) -> ReliableInput:
    """Subscribe to images, raw or compressed."""
    topic = COMPRESSED if config.image_transport == 'compressed' else IMAGE
    qos = QoSProfile(
        depth=config.image_depth, reliability=RELIABILITIES[config.image_reliability])
    return ReliableInput(node, topic, on_image, qos)


class OdometryBuffer(PoseBuffer):
    """Recent odometry: ``odom_T_camera`` at an image's stamp, and the frame it is in."""

    def __init__(self) -> None:
        super().__init__()
        self.frame_id = ''
        self.child_frame_id = ''
        self.skipped = 0
        self._newest_ns: int | None = None

    def add(self, pose: StampedPose) -> None:
        """
        Take the next pose; where the clock was set back, forget those before it.

        A stamp that falls by no more than ``POSE_TOLERANCE_NS`` is disorder: that pose is dropped.
        """
        back_ns = -1 if self._newest_ns is None else self._newest_ns - pose.stamp_ns
        if not 0 <= back_ns <= POSE_TOLERANCE_NS:
            self._newest_ns = pose.stamp_ns
            super().add(pose)


class OdometryInput:
    """The subscription that fills an odometry buffer."""

    def __init__(self, node: Node, buffer: OdometryBuffer) -> None:
        self._node = node
        self._buffer = buffer
        self._input = ReliableInput(node, ODOMETRY, self.take, ODOMETRY.qos)

    def close(self) -> None:
        """Unsubscribe."""
        self._input.close()

    def take(self, message: Odometry) -> None:
        """Add one message to the buffer; skip and count one that is not a pose."""
        try:
            pose = stamped_pose_from(message)
        except ValueError as error:
            self._buffer.skipped += 1
            if self._buffer.skipped == 1:
                self._node.get_logger().warning(
                    f'odometry skipped: {error}; /diagnostics counts any further ones')
            return
        self._buffer.frame_id = message.header.frame_id
        self._buffer.child_frame_id = message.child_frame_id
        self._buffer.add(pose)
