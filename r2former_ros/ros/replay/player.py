# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Play a bag through rclpy, with ``/clock``, where ``ros2 bag play`` is not installed."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock

from ...errors import BagError
from ...sources.bags import Bag
from ..conversions import stamp_from

RELIABLE = QoSProfile(depth=10)
MATCH_TIMEOUT_S = 10.0


class Player:
    """
    Publish the messages of a bag as they were recorded, byte by byte.

    ``/clock`` carries the bag's time, so nodes with ``use_sim_time`` live in it.
    """

    def __init__(self, node: Node, bag_path: str | Path) -> None:
        """
        Open a bag and make its publishers.

        :raises BagError: if it cannot be read, or a message type is not installed.
        """
        self.node = node
        self.bag_path = Path(bag_path)
        with Bag(self.bag_path) as bag:
            self.topics = bag.topics
            self.duration_s = bag.duration_s
        self.clock = node.create_publisher(Clock, '/clock', RELIABLE)
        self.publishers: dict[str, Publisher[Any]] = {
            topic: node.create_publisher(_message_class(kind), topic, RELIABLE)
            for topic, kind in self.topics.items()
        }

    def wait_for_subscriber(self, topic: str, timeout_s: float = MATCH_TIMEOUT_S) -> bool:
        """Wait until somebody listens to a topic of the bag; False if nobody does in time."""
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
        count, first_ns, started = 0, None, time.monotonic()
        with Bag(self.bag_path) as bag:
            for topic, _, bag_time_ns, data in bag.raw_messages():
                first_ns = bag_time_ns if first_ns is None else first_ns
                due = started + (bag_time_ns - first_ns) * 1e-9 / rate
                time.sleep(max(0.0, due - time.monotonic()))
                self._publish(self.publishers[topic], bag_time_ns, data)
                count += 1
                if on_message is not None:
                    on_message(topic)
        return count

    def _publish(self, publisher: Publisher[Any], bag_time_ns: int, data: bytes) -> None:
        self.clock.publish(Clock(clock=stamp_from(bag_time_ns)))
        publisher.publish(data)


def _message_class(kind: str) -> Any:
    """Import the class of a message type such as ``sensor_msgs/msg/Image``."""
    package, _, name = kind.split('/')
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        raise BagError(f'message type {kind} is not installed: leave its topic out') from error
