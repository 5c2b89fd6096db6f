# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Play a bag through rclpy, with ``/clock``, where ``ros2 bag play`` is not installed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import Any

from rclpy.exceptions import NameValidationException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock

from ...errors import BagError
from ...sources.bags import Bag
from ...sources.storage import RawMessage, Topic
from ..conversions import stamp_from

CLOCK = '/clock'
RELIABLE = QoSProfile(depth=10)
MOST_LATCHED = 1000
"""Messages of a latched topic that are kept for subscribers that come late."""
MATCH_TIMEOUT_S = 10.0


class Player:
    """
    Publish the messages of a bag as they were recorded, byte by byte.

    ``/clock`` carries the bag's time, so nodes with ``use_sim_time`` live in it; a recorded
    ``/clock`` is left out. So are topics whose message type is not installed; a warning names
    them.
    """

    def __init__(
        self, node: Node, bag_path: str | Path, topics: Collection[str] | None = None
    ) -> None:
        """
        Open a bag and make its publishers.

        :param topics: to play; all that can be played where it is None.
        :raises BagError: if the bag cannot be read, lacks one of the topics, or nothing in it
            can be played.
        """
        self.node = node
        self.bag_path = Path(bag_path)
        with Bag(self.bag_path) as bag:
            offered = bag.offers
            self.duration_s = bag.duration_s
        self.clock = node.create_publisher(Clock, CLOCK, RELIABLE)
        self.publishers: dict[str, Publisher[Any]] = {}
        self.left_out: dict[str, str] = {}
        self._make_publishers(_chosen(self.bag_path, offered, topics))
        for topic, reason in self.left_out.items():
            node.get_logger().warning(f'{topic} is not played: {reason}')
        if not self.publishers:
            raise BagError(f'{self.bag_path}: no topic can be played')

    def wait_for_subscriber(self, topic: str, timeout_s: float = MATCH_TIMEOUT_S) -> bool:
        """
        Wait until somebody listens to a topic of the bag; False if nobody does in time.

        :raises BagError: if the topic is not played.
        """
        if topic not in self.publishers:
            reason = self.left_out.get(topic, 'the bag does not have it')
            raise BagError(f'{self.bag_path}: {topic} is not played: {reason}')
        until = time.monotonic() + timeout_s
        publisher = self.publishers[topic]
        while publisher.get_subscription_count() == 0 and time.monotonic() < until:
            time.sleep(0.05)
        return bool(publisher.get_subscription_count())

    def play(self, rate: float = 1.0, on_message: Callable[[str], None] | None = None) -> int:
        """
        Play the bag once and return how many messages were published.

        :param rate: speed; 2 plays twice as fast as recorded.
        :param on_message: called with the topic after each message.
        """
        count, pace = 0, _Pace(rate)
        with Bag(self.bag_path) as bag:
            for raw in bag.raw_messages(self.publishers):
                pace.wait_for(raw)
                self.clock.publish(Clock(clock=stamp_from(raw.bag_time_ns)))
                self.publishers[raw.topic].publish(raw.cdr)
                count += 1
                if on_message is not None:
                    on_message(raw.topic)
        return count

    def _make_publishers(self, topics: list[Topic]) -> None:
        for topic in topics:
            kind = _message_class(topic.type)
            if topic.name == CLOCK:
                self.left_out[topic.name] = 'the player publishes the time of the bag there'
            elif kind is None:
                self.left_out[topic.name] = f'message type {topic.type} is not installed'
            else:
                try:
                    self.publishers[topic.name] = self.node.create_publisher(
                        kind, topic.name, _qos(topic))
                except NameValidationException as error:
                    self.left_out[topic.name] = str(error)


class _Pace:
    """Waits as long between messages as passed when they were recorded."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._restarts = -1
        self._first_ns = 0
        self._started = 0.0

    def wait_for(self, raw: RawMessage) -> None:
        """Wait until a message is due; a clock that was set back starts anew."""
        if raw.restarts != self._restarts:
            self._restarts, self._first_ns = raw.restarts, raw.bag_time_ns
            self._started = time.monotonic()
        due = self._started + (raw.bag_time_ns - self._first_ns) * 1e-9 / self._rate
        time.sleep(max(0.0, due - time.monotonic()))


def _chosen(
    path: Path, offered: list[Topic], names: Collection[str] | None
) -> list[Topic]:
    """Return the topics that are asked for."""
    if names is None:
        return offered
    missing = sorted(set(names) - {topic.name for topic in offered})
    if missing:
        raise BagError(f'{path}: has no topic {", ".join(missing)}; its topics: '
                       + ', '.join(topic.name for topic in offered))
    return [topic for topic in offered if topic.name in names]


def _qos(topic: Topic) -> QoSProfile:
    """Return the QoS to publish with: reliable, and latched where it was."""
    if not any(one.durability.name == 'TRANSIENT_LOCAL' for one in topic.qos):
        return RELIABLE
    depth = min(MOST_LATCHED, max(RELIABLE.depth, topic.message_count))
    return QoSProfile(depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def _message_class(kind: str) -> Any | None:
    """Import the class of a message type such as ``sensor_msgs/msg/Image``, None without it."""
    package, _, name = (*kind.split('/'), '', '')[:3]
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError, ValueError):
        return None
