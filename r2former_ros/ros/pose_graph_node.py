# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node ``pose_graph``: odometry and loop closures in, the corrected path out."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from pathlib import Path

import rclpy
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from ..config import Config, options, with_values
from ..errors import R2FormerError
from ..pose_graph import LoopMeasurement, PoseGraph
from ..records import LoopClosure, StampedPose
from ..trajectories import write_tum
from .conversions import loops_from, path_message, stamped_pose_from
from .inputs import STEADY
from .interface import LATCHED

SECTION = 'pose_graph.'
MOST_WAITING = 1000
"""Loop closures that wait for odometry; beyond this the oldest is dropped."""


class PoseGraphNode(Node):
    """Correct odometry by the loop closures of a drive."""

    def __init__(self) -> None:
        """
        Read the parameters and subscribe.

        :raises ConfigError: if a parameter is wrong, or gtsam is not installed.
        """
        super().__init__('pose_graph')
        settings = [one for one in options() if one.name.startswith(SECTION)]
        for setting in settings:
            self.declare_parameter(setting.name, setting.default)
        self.config = with_values(Config(), {
            one.name: self.get_parameter(one.name).value for one in settings}).pose_graph
        self.graph = PoseGraph(self.config)
        self.waiting: deque[LoopClosure] = deque(maxlen=MOST_WAITING)
        self._odometry_frame = ''
        self._published = (0, 0)
        self._loops = 0
        self._path = self.create_publisher(PathMessage, '~/path', LATCHED)
        self.create_subscription(Odometry, 'odom', self._on_odometry, 100)
        self.create_subscription(PointCloud2, 'loop_closures', self._on_loops, 100)
        self.create_timer(self.config.publish_period_s, self.publish, clock=STEADY)

    def publish(self) -> None:
        """Publish the corrected path, and write it, if there is anything new."""
        now = (len(self.graph), self._loops)
        if now == self._published:
            return
        poses = self.graph.trajectory()
        stamp_ns = poses[-1].stamp_ns
        if self._loops != self._published[1]:
            self.get_logger().info(self.describe())
        self._published = now
        self._path.publish(path_message(poses, stamp_ns, self.config.frame_id))
        if self.config.tum_path:
            write_whole(Path(self.config.tum_path).expanduser(), poses)

    def describe(self) -> str:
        """Say in one line what became of the loop closures."""
        kept = len(self.graph.kept_loops())
        return (f'{len(self.graph)} poses, {self._loops} loop closures, {kept} of them hold; '
                f'{len(self.waiting)} wait for odometry')

    def _on_odometry(self, message: Odometry) -> None:
        self._odometry_frame = message.header.frame_id
        try:
            self.graph.add_odometry(stamped_pose_from(message))
        except ValueError as error:
            self.get_logger().warning(f'odometry skipped: {error}', throttle_duration_sec=10.0)
        self._add_waiting()

    def _on_loops(self, message: PointCloud2) -> None:
        if self._odometry_frame and message.header.frame_id != self._odometry_frame:
            self.get_logger().info(
                f'loop closures in frame {message.header.frame_id}, not {self._odometry_frame}: '
                'those of a saved map are not used', once=True)
            return
        self.waiting.extend(loops_from(message))
        self._add_waiting()

    def _add_waiting(self) -> None:
        """Add the loop closures that odometry has caught up with."""
        while self.waiting and self.waiting[0].stamp_ns <= self.graph.newest_ns:
            self._add(self.waiting.popleft())

    def _add(self, loop: LoopClosure) -> None:
        place_ns = loop.hypothesis.place.stamp_ns
        if not (self.graph.covers(place_ns) and self.graph.covers(loop.stamp_ns)):
            self.get_logger().warning(
                f'loop closure of {loop.stamp_ns} to {place_ns} skipped: no odometry of then')
            return
        rotation = loop.view.rotation if loop.view else None
        self.graph.add_loop(LoopMeasurement(place_ns, loop.stamp_ns, rotation))
        self._loops += 1


def write_whole(path: Path, poses: list[StampedPose]) -> None:
    """Write a TUM file so that a reader never sees a part of it."""
    unfinished = path.with_name(f'{path.name}.part')
    write_tum(unfinished, poses)
    os.replace(unfinished, path)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    rclpy.init(args=args)
    try:
        node = PoseGraphNode()
    except R2FormerError as error:
        rclpy.logging.get_logger('pose_graph').error(str(error))
        rclpy.try_shutdown()
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        # ros2 launch and a terminal both send an interrupt: the second must not cut this short.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node.config.tum_path and len(node.graph):
            write_whole(Path(node.config.tum_path).expanduser(), node.graph.trajectory())
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
