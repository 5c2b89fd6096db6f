# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read and write ROS 2 bags, sqlite3 and mcap, with no ROS installed: the only use of rosbags.

Messages are read with the definitions of Jazzy rather than those inside the bag: the few types
used here have kept their layout from Foxy to Kilted, and a bag with a broken definition of some
other type still opens. Messages are read one by one: memory does not grow with the bag.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from ..errors import BagError, ImageError
from ..geometry.poses import (
    local_east_north,
    pose_from_quaternion,
    pose_from_yaw,
    quaternion_xyzw,
    travel_headings_rad,
)
from ..geometry.trajectories import Trajectory
from ..records import Frame, StampedPose
from .encodings import decode_compressed, decode_image, encode_jpeg, image_fields

IMAGE, COMPRESSED_IMAGE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)
ODOMETRY, NAV_SAT_FIX = 'nav_msgs/msg/Odometry', 'sensor_msgs/msg/NavSatFix'
POSE = 'geometry_msgs/msg/PoseStamped'
POSE_WITH_COVARIANCE = 'geometry_msgs/msg/PoseWithCovarianceStamped'
POSE_TYPES = (ODOMETRY, POSE, POSE_WITH_COVARIANCE, NAV_SAT_FIX)
STORAGES = {'sqlite3': StoragePlugin.SQLITE3, 'mcap': StoragePlugin.MCAP}

_NO_FIX = -1
_logger = logging.getLogger(__name__)
_typestore = get_typestore(Stores.ROS2_JAZZY)
BadFrameHandler = Callable[[ImageError], None]


class RawMessage(NamedTuple):
    """A message as it lies in the bag: serialized, with the time it was recorded at."""

    topic: str
    type: str
    bag_time_ns: int
    cdr: bytes


class Bag:
    """
    A ROS 2 bag, open inside its ``with`` block: a directory, or one .mcap or .db3 file.

    Entering raises ``BagError`` where there is no such path, no bag, or no message in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader: Reader | None = None

    def __enter__(self) -> Bag:
        self._reader = _open_reader(self.path)
        if not self._opened.message_count:
            self.close()
            raise BagError(f'{self.path}: the bag is empty, expected messages')
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; a second time does nothing."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    @property
    def topics(self) -> dict[str, str]:
        """The message type by topic name, in the order of the names."""
        return {item.topic: item.msgtype for item in self._connections()}

    @property
    def image_topics(self) -> list[str]:
        """Topics of pictures; compressed depth shares their type but is told by its name."""
        return [topic for topic, kind in self.topics.items()
                if kind in IMAGE_TYPES and not topic.endswith('/compressedDepth')]

    @property
    def duration_s(self) -> float:
        """Time between the first and the last message, as recorded."""
        return max(0, self._opened.duration - 1) / 1e9  # rosbags ends 1 ns after the last

    def default_image_topic(self) -> str:
        """
        Return the only image topic.

        :raises BagError: listing the image topics, if there is not exactly one.
        """
        names = self.image_topics
        if len(names) == 1:
            return names[0]
        if names:
            raise BagError(f'{self.path}: has several image topics, choose one: {_list(names)}')
        raise BagError(f'{self.path}: has no image topic; its topics: {_list(self.topics)}')

    def image_count(self, topic: str) -> int:
        """
        Return the number of messages on an image topic.

        :raises BagError: if the topic is not in the bag, or has another type.
        """
        return sum(item.msgcount for item in self._connections_of(topic, IMAGE_TYPES))

    def images(
        self, topic: str, on_bad_frame: BadFrameHandler | None = None
    ) -> Iterator[Frame]:
        """
        Return the pictures of a topic in the order they were recorded.

        The stamp is that of the header, or the time of recording where that is 0.

        :param on_bad_frame: called with the error of a picture that cannot be decoded, which is
            then left out; without it the error is raised.
        :raises BagError: at once, if the topic is not in the bag, or has another type.
        :raises ImageError: while iterating, naming topic and stamp.
        """
        connections = self._connections_of(topic, IMAGE_TYPES)
        return self._frames(connections, on_bad_frame)

    def trajectory(self, topic: str, origin: tuple[float, float] | None = None) -> Trajectory:
        """
        Return the poses of an Odometry, PoseStamped, PoseWithCovarianceStamped or NavSatFix topic.

        They are the poses of the frame that the messages are about (``child_frame_id``): how the
        camera is mounted on it is not known here. Satellite fixes become metres east and north
        of an origin at height 0, heading in the direction of travel. Messages without a pose
        (no fix, zero quaternion, not finite) are left out and counted in a warning.

        :param origin: latitude and longitude in degrees; the first fix where none is given.
        :raises BagError: if the topic is not in the bag, has another type, or holds no pose.
        """
        connections = self._connections_of(topic, POSE_TYPES)
        messages = list(_placed(self._messages(connections)))
        count = sum(item.msgcount for item in connections)
        if not messages:
            raise BagError(f'{self.path}: none of {count} messages of {topic} holds a pose')
        if len(messages) < count:
            _logger.warning(
                '%s: left out %d of %d messages of %s that hold no pose',
                self.path, count - len(messages), count, topic,
            )
        if connections[0].msgtype == NAV_SAT_FIX:
            return _trajectory_of_fixes(messages, origin)
        return Trajectory.from_poses(StampedPose(stamp, pose) for stamp, pose in messages)

    def raw_messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """
        Return all messages, or those of some topics, serialized, in the order of recording.

        :raises BagError: at once, if a topic is not in the bag.
        """
        if topics is None:
            return self._raw(self._connections())
        return self._raw([item for topic in topics for item in self._connections_of(topic)])

    @property
    def _opened(self) -> Reader:
        if self._reader is None:
            raise BagError(f'{self.path}: the bag is not open; use it inside "with Bag(path):"')
        return self._reader

    def _connections(self) -> list[Connection]:
        return sorted(self._opened.connections, key=lambda item: item.topic)

    def _connections_of(self, topic: str, types: Collection[str] = ()) -> list[Connection]:
        """Return those of a topic, having checked its type against ``types`` (empty: any)."""
        found = [item for item in self._connections() if item.topic == topic]
        if not found:
            raise BagError(f'{self.path}: has no topic {topic}; {self._offers(types)}')
        for item in found:
            if types and item.msgtype not in types:
                raise BagError(
                    f'{self.path}: {topic} is a {item.msgtype}, expected {" or ".join(types)}; '
                    f'{self._offers(types)}'
                )
        return found

    def _offers(self, types: Collection[str]) -> str:
        if types == IMAGE_TYPES:
            return f'its image topics: {_list(self.image_topics)}'
        names = [name for name, kind in self.topics.items() if not types or kind in types]
        return f'its {"pose topics" if types else "topics"}: {_list(names)}'

    def _raw(self, connections: list[Connection]) -> Iterator[RawMessage]:
        if not connections:  # rosbags takes none for all
            return
        messages = self._opened.messages(connections)
        while True:
            with _bag_errors(self.path):
                item = next(messages, None)
            if item is None:
                return
            connection, bag_time_ns, cdr = item
            yield RawMessage(connection.topic, connection.msgtype, bag_time_ns, cdr)

    def _messages(self, connections: list[Connection]) -> Iterator[tuple[str, int, Any]]:
        """Yield type, stamp and deserialized message."""
        for raw in self._raw(connections):
            with _bag_errors(self.path):
                message = _deserialize(raw)
            yield raw.type, _stamp_ns(message, raw), message

    def _frames(
        self, connections: list[Connection], on_bad_frame: BadFrameHandler | None
    ) -> Iterator[Frame]:
        for raw in self._raw(connections):
            try:
                frame = _frame(raw)
            except ImageError as error:
                if on_bad_frame is None:
                    raise
                on_bad_frame(error)
                continue
            yield frame


class BagWriter:
    """
    Write a new bag inside a ``with`` block; an exception there leaves it unfinished, and closed.

    ``storage`` is sqlite3 or mcap. The time of recording of every message is its stamp.
    """

    def __init__(self, path: str | Path, storage: str = 'mcap') -> None:
        if storage not in STORAGES:
            raise BagError(f'storage {storage!r} is not one of {_list(STORAGES)}')
        self.path = Path(path)
        self._connections: dict[str, Connection] = {}
        if self.path.exists():
            raise BagError(f'{self.path}: exists already; remove it or choose another path')
        # Version 9 writes QoS in a way that releases before Jazzy do not know.
        self._writer = Writer(self.path, version=8, storage_plugin=STORAGES[storage])

    def __enter__(self) -> BagWriter:
        with _bag_errors(self.path):
            self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _bag_errors(self.path):
            self._writer.__exit__(kind, error, trace)

    def image(self, topic: str, frame: Frame, encoding: str = 'rgb8') -> None:
        """
        Append a picture as sensor_msgs/Image: rgb8, bgr8 or mono8.

        :raises ImageError: for another encoding.
        """
        fields = vars(image_fields(frame.image, encoding))
        self._write(topic, IMAGE, frame.stamp_ns, frame_id=frame.frame_id, **fields)

    def compressed_image(self, topic: str, frame: Frame, quality: int = 90) -> None:
        """Append a picture as sensor_msgs/CompressedImage: JPEG, quality in [1, 100]."""
        data = np.frombuffer(encode_jpeg(frame.image, quality), np.uint8)
        self._write(
            topic, COMPRESSED_IMAGE, frame.stamp_ns, frame_id=frame.frame_id, format='jpeg',
            data=data,
        )

    def odometry(
        self,
        topic: str,
        pose: StampedPose,
        *,
        frame_id: str = 'odom',
        child_frame_id: str = 'base_link',
    ) -> None:
        """Append a pose as nav_msgs/Odometry, with twist and covariances 0 for unknown."""
        zero = _message('geometry_msgs/msg/Vector3', x=0.0, y=0.0, z=0.0)
        twist = _message('geometry_msgs/msg/Twist', linear=zero, angular=zero)
        with_covariance = 'geometry_msgs/msg/{}WithCovariance'.format
        unknown = {'covariance': np.zeros(36)}
        self._write(
            topic, ODOMETRY, pose.stamp_ns, frame_id=frame_id, child_frame_id=child_frame_id,
            pose=_message(with_covariance('Pose'), pose=_pose_message(pose), **unknown),
            twist=_message(with_covariance('Twist'), twist=twist, **unknown),
        )

    def nav_sat_fix(
        self,
        topic: str,
        stamp_ns: int,
        *,
        latitude_deg: float,
        longitude_deg: float,
        altitude_m: float = math.nan,
        has_fix: bool = True,
        frame_id: str = 'gps',
    ) -> None:
        """Append a sensor_msgs/NavSatFix of GPS with unknown covariance; no altitude is NaN."""
        status = _message(
            'sensor_msgs/msg/NavSatStatus', status=0 if has_fix else _NO_FIX, service=1
        )
        self._write(
            topic, NAV_SAT_FIX, stamp_ns, frame_id=frame_id, status=status,
            latitude=latitude_deg, longitude=longitude_deg, altitude=altitude_m,
            position_covariance=np.zeros(9), position_covariance_type=0,
        )

    def _write(
        self, topic: str, kind: str, stamp_ns: int, *, frame_id: str, **fields: Any
    ) -> None:
        stamp = _message(
            'builtin_interfaces/msg/Time', sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
        )
        header = _message('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)
        with _bag_errors(self.path):
            cdr = _typestore.serialize_cdr(_message(kind, header=header, **fields), kind)
            self._writer.write(self._connection(topic, kind), stamp_ns, cdr)

    def _connection(self, topic: str, kind: str) -> Connection:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=_typestore
            )
        found = self._connections[topic]
        if found.msgtype != kind:
            raise BagError(f'{self.path}: {topic} is a {found.msgtype}, cannot append {kind}')
        return found


@contextmanager
def _bag_errors(path: Path) -> Generator[None, None, None]:
    """
    Turn what rosbags raises into one line that names the bag.

    On a damaged file that is nearly anything: its own errors, those of sqlite, zstd, lz4 and
    struct, a TypeError of ``ord(b'')``, an assertion.
    """
    try:
        yield
    except BagError:
        raise
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise BagError(f'{path}: cannot be read or written as a bag ({reason})') from error


def _open_reader(path: Path) -> Reader:
    if not path.exists():
        raise BagError(f'{path}: does not exist; expected a bag directory, .mcap or .db3 file')
    if path.is_dir() and not (path / 'metadata.yaml').is_file():
        files = sorted(file.name for file in path.iterdir() if file.suffix in ('.mcap', '.db3'))
        remedy = (
            f'give the file {files[0]} itself, or run ros2 bag reindex' if files
            else 'expected a bag directory'
        )
        raise BagError(f'{path}: has no metadata.yaml; {remedy}')
    if path.is_file() and path.suffix not in ('.mcap', '.db3'):
        remedy = '; rosbags-convert makes one of a ROS 1 bag' if path.suffix == '.bag' else ''
        raise BagError(f'{path}: is no ROS 2 bag (directory, .mcap or .db3){remedy}')
    with _bag_errors(path):
        reader = Reader(path)
        reader.open()
        return reader


def _frame(raw: RawMessage) -> Frame:
    """
    Decode one picture.

    :raises ImageError: naming topic and stamp; also for a message that is cut off.
    """
    stamp_ns = raw.bag_time_ns
    try:
        message = _deserialize(raw)
        stamp_ns = _stamp_ns(message, raw)
        decode = decode_image if raw.type == IMAGE else decode_compressed
        return Frame(stamp_ns, decode(message), message.header.frame_id)
    except (ImageError, SerdeError) as error:
        raise ImageError(f'{raw.topic} at {stamp_ns} ns: {error}') from error


def _deserialize(raw: RawMessage) -> Any:
    return _typestore.deserialize_cdr(raw.cdr, raw.type)


def _stamp_ns(message: Any, raw: RawMessage) -> int:
    """Return the header's stamp; drivers that know no time leave it 0."""
    stamp = message.header.stamp
    return int(stamp.sec * 10**9 + stamp.nanosec) or raw.bag_time_ns


def _placed(messages: Iterable[tuple[str, int, Any]]) -> Iterator[tuple[int, Any]]:
    """Yield stamp and pose (4, 4), of a fix (latitude, longitude), where there is one."""
    for kind, stamp_ns, message in messages:
        place = _fix(message) if kind == NAV_SAT_FIX else _pose(message)
        if place is not None and np.isfinite(place).all():
            yield stamp_ns, place


def _fix(message: Any) -> tuple[float, float] | None:
    if message.status.status == _NO_FIX:
        return None
    return message.latitude, message.longitude


def _pose(message: Any) -> Any:
    pose = message.pose if message.__msgtype__ == POSE else message.pose.pose
    p, q = pose.position, pose.orientation
    try:
        return pose_from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
    except ValueError:
        return None


def _trajectory_of_fixes(
    fixes: list[tuple[int, tuple[float, float]]], origin: tuple[float, float] | None
) -> Trajectory:
    fixes = sorted(fixes)
    origin = origin or fixes[0][1]
    latitude, longitude = zip(*(fix for _, fix in fixes), strict=True)
    xy = local_east_north(latitude, longitude, origin)
    headings = travel_headings_rad(xy)
    poses = Trajectory.from_poses(
        StampedPose(stamp_ns, pose_from_yaw(x, y, yaw))
        for (stamp_ns, _), (x, y), yaw in zip(fixes, xy, headings, strict=True)
    )
    return replace(poses, origin=origin)


def _message(kind: str, **fields: Any) -> Any:
    return _typestore.types[kind](**fields)


def _pose_message(pose: StampedPose) -> Any:
    x, y, z = pose.pose[:3, 3].tolist()
    qx, qy, qz, qw = quaternion_xyzw(pose.pose).tolist()
    return _message(
        'geometry_msgs/msg/Pose',
        position=_message('geometry_msgs/msg/Point', x=x, y=y, z=z),
        orientation=_message('geometry_msgs/msg/Quaternion', x=qx, y=qy, z=qz, w=qw),
    )


def _list(names: Iterable[str]) -> str:
    return ', '.join(names) or 'none'
