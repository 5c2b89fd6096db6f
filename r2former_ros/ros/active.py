# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Everything that exists only while the node is active."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rclpy.node import Node

from ..config import NodeConfig
from ..records import State
from .camera import CameraWatch, Sight
from .configured import Configured
from .inputs import STEADY, ImageLike, OdometryInput, image_input
from .seen import Consumer
from .statistics import Snapshot, Statistics
from .status import StatusReporter
from .worker import ImageWorker

CAMERA_CHECK_S = 0.2


class Active:
    """The subscriptions, the worker they feed, its statistics, and the watch on the camera."""

    def __init__(
        self,
        node: Node,
        configured: Configured,
        consumers: Sequence[Consumer],
        status: StatusReporter,
        lose: Callable[[], object],
    ) -> None:
        """
        Subscribe and start the worker.

        :param lose: makes the state lost; called when the camera has shown nothing for too long.
        """
        self.statistics = Statistics()
        self.camera = CameraWatch()
        self._node, self._configured, self._status, self._lose = node, configured, status, lose
        self._sight = Sight.OK
        self._changed_s = self.camera.clock()
        self.odometry = OdometryInput(node, configured.odometry)
        self.images = image_input(node, self._config, self._on_image)
        self.worker = ImageWorker(configured, consumers, self.statistics, self.camera, status,
                                  node.get_logger())
        self._timer = node.create_timer(CAMERA_CHECK_S, self.check_camera, clock=STEADY)

    @property
    def _config(self) -> NodeConfig:
        return self._configured.config.node

    def snapshot(self) -> Snapshot:
        """Return the node's health now."""
        return Snapshot(
            self.statistics, self.worker.counters, self.worker.queue_age_s,
            '' if self._sight is Sight.OK else self._text(self._sight),
            {**self._configured.facts(), 'camera': self._sight.value})

    def close(self) -> None:
        """Unsubscribe and stop the worker; the image in progress is finished first."""
        self._node.destroy_timer(self._timer)
        self.images.close()
        self.odometry.close()
        self.worker.stop()

    def check_camera(self) -> None:
        """Log and publish changes of the camera; a camera that stays blind makes the node lost."""
        warning_s, lost_s = self._config.no_image_warning_s, self._config.no_image_lost_s
        sight = self.camera.sight(min(warning_s, lost_s))
        if sight is not self._sight:
            self._on_change(sight)
        blind_s = self.camera.blind_s()
        blind = sight is not Sight.OK and blind_s > lost_s
        if blind and self.statistics.state is not State.LOST:
            text = f'lost: {self._text(sight)}, for {blind_s:.0f} s'
            self._node.get_logger().warning(text)
            self._lose()
            self._status.camera(sight, text, self.statistics.state)

    def _on_change(self, sight: Sight) -> None:
        """Log one line on each trouble and one on its end."""
        now_s = self.camera.clock()
        lasted_s, self._changed_s = now_s - self._changed_s, now_s
        before, self._sight = self._sight, sight
        log, text = self._node.get_logger(), self._text(sight)
        if sight is Sight.OK:
            text = f'{text} again, after {lasted_s:.1f} s ({before.value})'
            log.info(text)
        else:
            log.warning(text if self.camera.received else f'{text}; is the topic name right?')
        self._status.camera(sight, text, self.statistics.state)

    def _text(self, sight: Sight) -> str:
        topic = self.images.topic_name
        return {
            Sight.OK: f'images arrive on {topic}',
            Sight.SILENT: f'no image arrives on {topic}',
            Sight.FROZEN: f'the picture on {topic} does not change',
            Sight.COVERED: f'the picture on {topic} shows nothing: is the lens covered?',
            Sight.UNUSABLE: f'no image on {topic} can be used',
        }[sight]

    def _on_image(self, message: ImageLike) -> None:
        self.camera.arrived()
        self.worker.offer(message)
