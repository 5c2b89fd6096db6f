# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node ``pose_graph``: odometry and loop closures in, the corrected path out."""

from __future__ import annotations

from collections import deque
from copy import copy
from itertools import chain
from pathlib import Path

import numpy as np
import rclpy
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from ..common.files import require_writable
from ..errors import ConfigError, FileError, PoseError, R2FormerError
from ..geometry.trajectories import POSE_TOLERANCE_NS
from ..records import LoopClosure, StampedPose
from ..slam.pose_graph import LoopMeasurement, MapMeasurement, PoseGraph
from ..sources.trajectory_files import write_tum
from .conversions import loops_from, path_message, stamped_pose_from, transform_message
from .inputs import STEADY, ReliableInput
from .interface import CORRECTION, GRAPH_LOOPS, GRAPH_ODOMETRY, PATH
from .parameters import declare_parameters, read_config, refuse_changes
from .spinning import end_process, run

SECTION = 'pose_graph.'
STARTED = 'is read when the node starts: start it again with the new value'
MOST_WAITING = 1000
"""Loop closures that wait for odometry; beyond this the oldest is dropped."""


class PoseGraphNode(Node):
    """Correct odometry by the loop closures of a drive, on itself and on a saved map."""

    def __init__(self) -> None:
        """
        Read the parameters and subscribe.

        :raises ConfigError: if a parameter is wrong, the file for the trajectory cannot be
            written, or gtsam is not installed.
        """
        super().__init__('pose_graph', automatically_declare_parameters_from_overrides=True)
        declare_parameters(self, SECTION)
        self.config = read_config(self, SECTION).pose_graph
        self.add_on_set_parameters_callback(lambda changes: refuse_changes(changes, STARTED))
        self.graph = PoseGraph(self.config)
        self.finished: list[list[StampedPose]] = []  # stretches before the clock was set back
        self.skipped = 0
        self._file = TumFile(self.config.tum_path) if self.config.tum_path else None
        self.waiting: deque[tuple[LoopClosure, str]] = deque(maxlen=MOST_WAITING)
        self._odometry_frame = ''
        self._published = (0, 0)
        self._loops = 0
        self._path, self._correction = (
            self.create_publisher(one.message, one.name, one.qos) for one in (PATH, CORRECTION))
        ReliableInput(self, GRAPH_ODOMETRY, self._on_odometry, GRAPH_ODOMETRY.qos)
        self.create_subscription(
            GRAPH_LOOPS.message, GRAPH_LOOPS.name, self._on_loops, GRAPH_LOOPS.qos)
        self.create_timer(self.config.publish_period_s, self.publish, clock=STEADY)

    def publish(self) -> None:
        """Publish the corrected path, and write it, if there is anything new."""
        now = (len(self.graph), self._loops)
        if now == self._published:
            return
        poses, correction = self.graph.trajectory(), self.graph.correction()
        stamp_ns, frame_id = poses[-1].stamp_ns, self.config.frame_id
        if self._loops != self._published[1]:
            self.get_logger().info(self.describe())
        self._published = now
        path = [*chain.from_iterable(self.finished), *poses]
        self._path.publish(path_message(path, stamp_ns, frame_id))
        self._correction.publish(
            transform_message(correction, stamp_ns, frame_id, self._odometry_frame))
        self._try_to_write(poses)

    def write(self, poses: list[StampedPose]) -> None:
        """
        Write the corrected path of this stretch to its file, if one is named.

        :raises FileError: if it cannot be written.
        """
        if self._file is not None and poses:
            self._file.write(poses)

    def describe(self) -> str:
        """Summarize in one line what became of odometry and loop closures."""
        kept, on_map = len(self.graph.kept_loops()), len(self.graph.kept_map_loops())
        saved = f', {on_map} of these on the saved map' if on_map else ''
        skipped = f'; {self.skipped} messages skipped' if self.skipped else ''
        return (f'{len(self.graph)} poses, {self._loops} loop closures, {kept + on_map} of them '
                f'hold{saved}; {len(self.waiting)} wait for odometry{skipped}')

    def _on_odometry(self, message: Odometry) -> None:
        try:
            pose = stamped_pose_from(message)
        except PoseError as error:
            self._skip(f'odometry: {error}')
            return
        if pose.stamp_ns < self.graph.newest_ns - POSE_TOLERANCE_NS:
            self._begin_stretch(self.graph.newest_ns - pose.stamp_ns)
        self._odometry_frame = message.header.frame_id
        self.graph.add_odometry(pose)
        self._add_waiting()

    def _on_loops(self, message: PointCloud2) -> None:
        try:
            loops = loops_from(message)
        except PoseError as error:
            self._skip(f'loop closure: {error}')
            return
        self.waiting.extend((loop, message.header.frame_id) for loop in loops)
        self._add_waiting()

    def _skip(self, reason: str) -> None:
        """Count a message that cannot be used; log the first."""
        self.skipped += 1
        if self.skipped == 1:
            self.get_logger().warning(f'skipped {reason}; further ones are only counted')

    def _begin_stretch(self, back_ns: int) -> None:
        """Keep the path so far as it is: later stamps cannot refer to it any more."""
        poses = self.graph.trajectory()
        self._try_to_write(poses)
        self.finished.append(poses)
        self.graph = PoseGraph(self.config)
        self.waiting.clear()
        self._loops, self._published = 0, (0, 0)
        where = ''
        if self._file is not None:
            self._file = self._file.stretch(len(self.finished) + 1)
            where = f'; it is written to {self._file.path}'
        self.get_logger().warning(
            f'the clock of odometry was set back by {back_ns * 1e-9:.1f} s: the {len(poses)} '
            f'poses so far stay as they are, and a new stretch begins{where}')

    def _try_to_write(self, poses: list[StampedPose]) -> None:
        try:
            self.write(poses)
        except FileError as error:
            self.get_logger().error(
                f'{error}; it is tried again with each new path', throttle_duration_sec=30.0)

    def _add_waiting(self) -> None:
        """Add the loop closures that odometry has caught up with."""
        while self.waiting and self.waiting[0][0].stamp_ns <= self.graph.newest_ns:
            loop, frame_id = self.waiting.popleft()
            # A place of this drive is in the odometry's frame, one of a saved map in the map's.
            added = self._add_own(loop) if frame_id == self._odometry_frame \
                else self._add_on_map(loop)
            if not added:
                self.get_logger().warning(
                    f'loop closure of {loop.stamp_ns} to {loop.hypothesis.place.stamp_ns} '
                    'skipped: no odometry of then, or no pose of the place')
            self._loops += added

    def _add_own(self, loop: LoopClosure) -> bool:
        place_ns = loop.hypothesis.place.stamp_ns
        if not (self.graph.covers(place_ns) and self.graph.covers(loop.stamp_ns)):
            return False
        self.graph.add_loop(LoopMeasurement(
            place_ns, loop.stamp_ns, _rotation(loop), loop.relative))
        return True

    def _add_on_map(self, loop: LoopClosure) -> bool:
        map_T_place = loop.hypothesis.place.map_T_camera
        if map_T_place is None or not self.graph.covers(loop.stamp_ns):
            return False
        before = self.graph.on_map
        self.graph.add_map_loop(MapMeasurement(
            map_T_place, loop.stamp_ns, _rotation(loop), loop.relative))
        if self.graph.on_map and not before:
            self.get_logger().info('found on the saved map: the path is in its frame from now on')
        return True


def _rotation(loop: LoopClosure) -> NDArray[np.float64] | None:
    return loop.view.rotation if loop.view else None


class TumFile:
    """A TUM file that is replaced as the path changes; a reader never sees a part of it."""

    def __init__(self, path: str) -> None:
        """
        Make sure that it can be written, and leave it as it is.

        :raises ConfigError: if it cannot.
        """
        self.path = self._first = Path(path).expanduser()
        try:
            require_writable(self.path)
        except FileError as error:
            raise ConfigError(f'pose_graph.tum_path: {error}') from error

    def write(self, poses: list[StampedPose]) -> None:
        """
        Replace what is there.

        :raises FileError: if it cannot be written.
        """
        write_tum(self.path, poses)

    def stretch(self, number: int) -> TumFile:
        """Return the file for another stretch of the drive, ``path_2.tum`` beside ``path.tum``."""
        other = copy(self)
        other.path = self._first.with_name(f'{self._first.stem}_{number}{self._first.suffix}')
        return other


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; 2 for a wrong setting, or a file not written."""
    rclpy.init(args=args)
    try:
        node = PoseGraphNode()
    except R2FormerError as error:
        rclpy.logging.get_logger('pose_graph').error(str(error))
        rclpy.try_shutdown()
        return 2
    try:
        run(node)
    finally:
        exit_code = last_write(node)
        node.destroy_node()
        rclpy.try_shutdown()
    return exit_code


def last_write(node: PoseGraphNode) -> int:
    """Write the whole path; the exit code is 2 where that fails."""
    try:
        node.write(node.graph.trajectory())
    except FileError as error:
        node.get_logger().error(f'{error}: the corrected trajectory is lost')
        return 2
    return 0


if __name__ == '__main__':
    end_process(main())
