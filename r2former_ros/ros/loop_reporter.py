# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Loop closure inside the localizer: from frames and odometry to loop closures and a map."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from pathlib import Path

from rclpy.lifecycle import LifecycleNode
from std_srvs.srv import Trigger

from ..config import Config
from ..errors import MapError, R2FormerError
from ..mapping.build import create_map
from ..maps.place_map import PlaceMap
from ..maps.search import PlaceSearch
from ..model import Model
from ..records import Frame, Pose, PosedFrame
from ..slam.loop_closure import LoopCloser
from .conversions import loop_message
from .inputs import OdometryBuffer
from .interface import LOOP_CLOSURES, SAVE_MAP, create_publisher
from .mounted_camera import CameraInput
from .seen import Seen

MOST_WAITING = 10
"""Frames that wait for odometry; beyond this, the oldest is dropped."""


class LoopReporter:
    """Grow a map of this drive and publish ``~/loop_closures``."""

    def __init__(
        self, node: LifecycleNode, model: Model, config: Config, odometry: OdometryBuffer,
        camera: CameraInput,
    ) -> None:
        """
        Begin a map.

        :raises MapError: if it cannot be written.
        """
        self.config = config
        self.place_map = begin_map(model, config)
        try:
            past = PlaceSearch(model, self.place_map, config)
        except BaseException:
            end_map(self.place_map)
            raise
        self.closer = LoopCloser(past, config)
        self._node = node
        self._odometry = odometry
        self._waiting: deque[Seen] = deque(maxlen=MOST_WAITING)
        self._reported = 0
        self._publisher = create_publisher(node, LOOP_CLOSURES)
        self._service = node.create_service(SAVE_MAP.kind, SAVE_MAP.name, self._on_save)
        self._camera = camera

    def use(self, config: Config) -> None:
        """Apply settings that may change at run time."""
        self.config = self.closer.config = config
        self.closer.past.config = config

    def take(self, seen: Seen) -> None:
        """
        Offer a frame to the loop closer and publish the loop closures, in the worker thread.

        If odometry lags behind the image, the frame waits until the next one.
        """
        if len(self._waiting) == self._waiting.maxlen:
            self._warn_of(self._waiting[0].frame)
        self._waiting.append(seen)
        while self._waiting:
            stamp_ns = self._waiting[0].frame.stamp_ns
            pose = self._waiting[0].odom_T_camera
            if pose is None:
                pose = self._odometry.at(stamp_ns)
            if pose is None and self._odometry.may_come(stamp_ns):
                break
            first = self._waiting.popleft()
            if pose is None:
                self._warn_of(first.frame)
            else:
                self._offer(first, pose)

    def _offer(self, seen: Seen, pose: Pose) -> None:
        frame = seen.frame
        camera = self._camera.mounted(frame.frame_id) if self._camera.usable() else None
        posed = PosedFrame(frame, pose, f'{frame.frame_id}:{frame.stamp_ns}', camera)
        self.closer.camera = self._camera.usable()
        result = self.closer.offer(
            posed, seen.features, saved=seen.recognizer.search,
            known=seen.recognition.hypotheses, known_pose=seen.recognition.pose)
        for loop in result.loops if result else ():
            frame_id = self.config.map.frame_id if loop.in_saved_map else self._odometry.frame_id
            self._publisher.publish(loop_message(loop, frame_id))
            self._reported += 1

    def _warn_of(self, frame: Frame) -> None:
        self._node.get_logger().warning(
            f'no odometry at image stamp {frame.stamp_ns}: no keyframe and no loop closure; '
            'is the odom topic right?', throttle_duration_sec=10.0)

    def facts(self) -> dict[str, str]:
        """Return what diagnostics report about the drive."""
        return {
            'grown_map': self.place_map.location,
            'keyframes': str(len(self.closer.past.index)),
            'loop_closures': str(self._reported),
        }

    def close(self) -> None:
        """Stop reporting and close the map."""
        self._node.destroy_service(self._service)
        self._node.destroy_lifecycle_publisher(self._publisher)
        self.closer.finish()
        end_map(self.place_map)

    def _on_save(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Copy the map while the worker keeps adding to it."""
        path, grown = self.config.loop_closure.save_path, Path(self.place_map.location)
        target = Path(path).expanduser() if path else grown.with_name(
            f'{grown.stem}_saved{grown.suffix}')
        try:
            count = self.place_map.copy_to(target)
        except R2FormerError as error:
            response.success, response.message = False, str(error)
        else:
            response.success, response.message = True, f'{count} places in {target}'
        self._node.get_logger().info(f'save_map: {response.message}')
        return response


def begin_map(model: Model, config: Config) -> PlaceMap:
    """
    Make the map of a drive, named after the local time.

    :raises MapError: if it cannot be written.
    """
    folder = Path(config.loop_closure.folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MapError(f'{folder}: cannot be made ({error.strerror}); '
                       'set loop_closure.folder') from error
    name = datetime.now().strftime('drive_%Y%m%d_%H%M%S_%f')
    return create_map(model, folder / f'{name}.r2map', config)


def end_map(place_map: PlaceMap) -> None:
    """Close the map of a drive; remove it if it is empty."""
    empty = len(place_map) == 0
    place_map.close()
    if empty:
        Path(place_map.location).unlink(missing_ok=True)
