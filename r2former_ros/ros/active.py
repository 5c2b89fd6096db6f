# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Everything that exists only while the node is active."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rclpy.node import Node

from ..config import NodeConfig
from .configured import Configured
from .inputs import ImageInput, ImageLike, OdometryInput
from .seen import Consumer
from .statistics import Snapshot, Statistics
from .worker import ImageWorker


class Active:
    """The subscriptions, the worker they feed, and its statistics."""

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        configured: Configured,
        consumers: Sequence[Consumer],
    ) -> None:
        self._node = node
        self._configured = configured
        self.statistics = Statistics(started_s=time.monotonic())
        self.odometry = OdometryInput(node, configured.odometry)
        self.images = ImageInput(node, config, self._on_image)
        self.worker = ImageWorker(configured.recognizer, configured.odometry, consumers,
                                  self.statistics, node.get_logger())

    def snapshot(self, no_image_warning_s: float) -> Snapshot:
        """Return the node's health now."""
        return Snapshot(
            self.statistics, self.worker.counters, self.worker.queue_age_s,
            self._silent_topic(no_image_warning_s), self._configured.facts())

    def close(self) -> None:
        """Unsubscribe and stop the worker; the image in progress is finished first."""
        self.images.close()
        self.odometry.close()
        self.worker.stop()

    def _on_image(self, message: ImageLike) -> None:
        self.statistics.last_image_s = time.monotonic()
        self.worker.offer(message)

    def _silent_topic(self, no_image_warning_s: float) -> str:
        """Return the image topic, and log a warning, if it is silent; otherwise ''."""
        topic = self.images.topic_name
        if self.statistics.silence_s(time.monotonic()) <= no_image_warning_s:
            return ''
        self._node.get_logger().warning(
            f'no image arrives on {topic}; is the topic name right?', throttle_duration_sec=30.0)
        return topic
