# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read ROS 2 bags, sqlite3 and mcap, without a ROS installation.

Messages are read one by one: memory does not grow with the bag.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from rosbags.serde import SerdeError

from ..errors import BagError, ImageError
from ..geometry.trajectories import Trajectory
from ..records import Frame
from .bag_poses import trajectory_of_messages
from .encodings import decode_compressed, decode_image
from .messages import IMAGE, IMAGE_TYPES, POSE_TYPES, Stamps, deserialized
from .storage import RawMessage, Storage, Topic

BadFrameHandler = Callable[[ImageError], None]


class RecordedFrame(NamedTuple):
    """A frame, and when it was recorded (see ``RawMessage.recorded_ns``)."""

    frame: Frame
    recorded_ns: int


class Bag:
    """
    A ROS 2 bag, open inside its ``with`` block: a directory, or one .mcap or .db3 file.

    Entering raises ``BagError`` where there is no such path, no bag, or no message in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._storage: Storage | None = None

    def __enter__(self) -> Bag:
        self._storage = Storage(self.path)
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
        storage, self._storage = self._storage, None
        if storage is not None:
            storage.close()

    @property
    def topics(self) -> dict[str, str]:
        """The message type by topic name, in the order of the names."""
        return {topic.name: topic.type for topic in self._opened.topics}

    @property
    def offers(self) -> list[Topic]:
        """The topics with the QoS that their publishers offered, in the order of the names."""
        return self._opened.topics

    @property
    def image_topics(self) -> list[str]:
        """Topics of pictures; the name tells compressed depth, which has the same type."""
        return [topic for topic, kind in self.topics.items()
                if kind in IMAGE_TYPES and not topic.endswith('/compressedDepth')]

    @property
    def duration_s(self) -> float:
        """Time between the first and the last message, as recorded."""
        return self._opened.duration_s

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
        return sum(item.message_count for item in self._topics_of(topic, IMAGE_TYPES))

    def images(
        self, topic: str, on_bad_frame: BadFrameHandler | None = None
    ) -> Iterator[Frame]:
        """
        Return the pictures of a topic in the order in which they were recorded.

        The stamp is that of the header, or the recording time where that is 0.

        :param on_bad_frame: called with the error of a picture that cannot be decoded, which is
            then left out; without it the error is raised.
        :raises BagError: at once, if the topic is not in the bag, or has another type.
        :raises ImageError: while iterating, naming topic and stamp.
        """
        return (recorded.frame for recorded in self.recorded_images(topic, on_bad_frame))

    def recorded_images(
        self, topic: str, on_bad_frame: BadFrameHandler | None = None
    ) -> Iterator[RecordedFrame]:
        """Return the pictures as ``images`` does, with what tells runs of a clock apart."""
        self._topics_of(topic, IMAGE_TYPES)
        return self._frames(topic, on_bad_frame)

    def trajectory(self, topic: str, origin: tuple[float, float] | None = None) -> Trajectory:
        """
        Return the poses of an Odometry, PoseStamped, PoseWithCovarianceStamped or NavSatFix topic.

        They are the poses of the frame that the messages are about (``child_frame_id``): how the
        camera is mounted on it is not known here. Satellite fixes become metres east and north
        of an origin at height 0, heading in the direction of travel. Messages without a pose
        (no fix, zero quaternion, not finite) are left out and counted in a warning. So is a clock
        that was set back: from there on, poses belong to another stretch of the trajectory.

        :param origin: latitude and longitude in degrees; the first fix where none is given.
        :raises BagError: if the topic is not in the bag, has another type, or holds no pose.
        """
        kind = self._topics_of(topic, POSE_TYPES)[0].type
        return trajectory_of_messages(self._opened.messages([topic]), kind,
                                      f'{self.path}: {topic}', self._stamps_of(topic), origin)

    def raw_messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """
        Return all messages, or those of some topics, serialized, in the order of recording.

        :raises BagError: at once, if a topic is not in the bag.
        """
        if topics is None:
            return self._opened.messages(self.topics)
        for topic in topics:
            self._topics_of(topic)
        return self._opened.messages(topics)

    @property
    def _opened(self) -> Storage:
        if self._storage is None:
            raise BagError(f'{self.path}: the bag is not open', 'use it inside "with Bag(path):"')
        return self._storage

    def _topics_of(self, name: str, types: Collection[str] = ()) -> list[Topic]:
        """Return a topic, one entry per type, having checked that it is in ``types``, if any."""
        found = [topic for topic in self._opened.topics if topic.name == name]
        if not found:
            raise BagError(f'{self.path}: has no topic {name}; {self._offers(types)}')
        for topic in found:
            if types and topic.type not in types:
                raise BagError(
                    f'{self.path}: {name} is a {topic.type}, expected {" or ".join(types)}; '
                    f'{self._offers(types)}'
                )
        return found

    def _offers(self, types: Collection[str]) -> str:
        if types == IMAGE_TYPES:
            return f'its image topics: {_list(self.image_topics)}'
        names = [name for name, kind in self.topics.items() if not types or kind in types]
        return f'its {"pose topics" if types else "topics"}: {_list(names)}'

    def _stamps_of(self, topic: str) -> Stamps:
        return Stamps(islice(self._opened.messages([topic]), 2))

    def _frames(
        self, topic: str, on_bad_frame: BadFrameHandler | None
    ) -> Iterator[RecordedFrame]:
        stamps = self._stamps_of(topic)
        for raw in self._opened.messages([topic]):
            try:
                recorded = _decoded(raw, stamps)
            except ImageError as error:
                if on_bad_frame is None:
                    raise
                on_bad_frame(error)
                continue
            yield recorded


def _decoded(raw: RawMessage, stamps: Stamps) -> RecordedFrame:
    """
    Decode one picture.

    :raises ImageError: naming topic and stamp; also for a message that is cut off.
    """
    stamp_ns = raw.bag_time_ns
    try:
        message = deserialized(raw)
        stamp_ns = stamps.of(message, raw)
        decode = decode_image if raw.type == IMAGE else decode_compressed
        frame = Frame(stamp_ns, decode(message), message.header.frame_id)
    except (ImageError, SerdeError) as error:
        raise ImageError(f'{raw.topic} at {stamp_ns} ns: {error}') from error
    return RecordedFrame(frame, raw.recorded_ns)


def _list(names: Iterable[str]) -> str:
    return ', '.join(names) or 'none'
