# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bag through rclpy: nothing lost, nothing changed, the clock beside it."""

import threading
import time

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from fakes import picture
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from r2former_ros.errors import BagError
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.records import Frame, StampedPose
from r2former_ros.ros.conversions import frame_from, stamp_ns_from
from r2former_ros.ros.replay.live import own_domain
from r2former_ros.ros.replay.player import Player, _Pace
from r2former_ros.sources.bag_writer import BagWriter
from r2former_ros.sources.bags import Bag
from r2former_ros.sources.storage import RawMessage

pytestmark = pytest.mark.ros
START_NS = 1_700_000_000_000_000_007


@pytest.fixture
def bag(tmp_path):
    """Ten images with odometry, ten a second."""
    with BagWriter(tmp_path / 'bag') as writer:
        for i in range(10):
            stamp_ns = START_NS + i * 10**8
            writer.image('/camera', Frame(stamp_ns, picture(i), 'left'))
            writer.odometry('/odom', StampedPose(stamp_ns, pose_from_yaw(i, 0, 0)),
                            frame_id='map', child_frame_id='left')
    return tmp_path / 'bag'


def test_everything_arrives_as_it_was_recorded(bag):
    images, poses, clock = [], [], []
    with own_domain():
        node = Node('listener')
        node.create_subscription(Image, '/camera', images.append, 20)
        node.create_subscription(Odometry, '/odom', poses.append, 20)
        node.create_subscription(Clock, '/clock', clock.append, 50)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        player = Player(node, bag)
        for topic in ('/camera', '/odom'):
            assert player.wait_for_subscriber(topic)
        until = time.monotonic() + 10
        while player.clock.get_subscription_count() == 0 and time.monotonic() < until:
            time.sleep(0.02)
        played = []
        assert player.play(rate=10.0, on_message=played.append) == 20
        while min(len(images), len(poses)) < 10 and time.monotonic() < until:
            time.sleep(0.02)
        executor.shutdown()
        thread.join()
    assert played.count('/camera') == 10
    assert [stamp_ns_from(image.header.stamp) for image in images] == \
        [START_NS + i * 10**8 for i in range(10)]
    assert np.array_equal(frame_from(images[3]).image, picture(3))
    assert [pose.pose.pose.position.x for pose in poses] == list(range(10))
    times = [stamp_ns_from(one.clock) for one in clock]
    assert times == sorted(times) and times[-1] == START_NS + 9 * 10**8


QOS = Qos(
    history=QosHistory.KEEP_LAST, depth=1, reliability=QosReliability.RELIABLE,
    durability=QosDurability.TRANSIENT_LOCAL, deadline=QosTime(0, 0), lifespan=QosTime(0, 0),
    liveliness=QosLiveliness.AUTOMATIC, liveliness_lease_duration=QosTime(0, 0),
    avoid_ros_namespace_conventions=False,
)


@pytest.fixture
def mixed_bag(tmp_path):
    """A latched topic, a recorded clock, odometry, and a type that nobody has installed."""
    types = get_typestore(Stores.ROS2_JAZZY)
    types.register(get_types_from_msg('uint8 a', 'nobody_msgs/msg/Thing'))
    time_type = types.types['builtin_interfaces/msg/Time']
    with Writer(tmp_path / 'mixed', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, kind, fields, profiles in (
            ('/latched', 'std_msgs/msg/String', {'data': 'kept'}, [QOS]),
            ('/clock', 'rosgraph_msgs/msg/Clock', {'clock': time_type(sec=3, nanosec=0)}, []),
            ('/number', 'std_msgs/msg/Int32', {'data': 7}, []),
            ('/thing', 'nobody_msgs/msg/Thing', {'a': 1}, []),
        ):
            connection = writer.add_connection(
                topic, kind, typestore=types, offered_qos_profiles=profiles)
            message = types.types[kind](**fields)
            writer.write(connection, START_NS, types.serialize_cdr(message, kind))
    return tmp_path / 'mixed'


def test_what_is_not_installed_is_left_out_and_the_recorded_clock_too(mixed_bag):
    with own_domain():
        player = Player(Node('player'), mixed_bag)
        assert list(player.publishers) == ['/latched', '/number']
        assert player.left_out == {
            '/clock': 'the player publishes the time of the bag there',
            '/thing': 'message type nobody_msgs/msg/Thing is not installed',
        }
        assert player.play() == 2
        with pytest.raises(BagError, match='/thing is not played: message type nobody_msgs'):
            player.wait_for_subscriber('/thing')


def test_topics_can_be_chosen(mixed_bag):
    with own_domain():
        assert list(Player(Node('a'), mixed_bag, ['/number']).publishers) == ['/number']
        with pytest.raises(BagError, match='has no topic /nowhere; its topics: /clock, /latched'):
            Player(Node('b'), mixed_bag, ['/nowhere'])
        with pytest.raises(BagError, match='no topic can be played'):
            Player(Node('c'), mixed_bag, ['/thing'])


def test_latched_topics_stay_latched(mixed_bag):
    with own_domain():
        player = Player(Node('player'), mixed_bag)
        durability = {topic: publisher.qos_profile.durability
                      for topic, publisher in player.publishers.items()}
    assert durability == {'/latched': DurabilityPolicy.TRANSIENT_LOCAL,
                          '/number': DurabilityPolicy.VOLATILE}


def test_a_clock_that_was_set_back_does_not_stop_the_pace(monkeypatch):
    waits = []
    monkeypatch.setattr('time.sleep', waits.append)
    pace = _Pace(rate=1.0)
    for restarts, time_s in ((0, 100), (0, 101), (1, 5), (1, 7)):
        pace.wait_for(RawMessage('/a', 'b', time_s * 10**9, b'', restarts))
    assert [round(wait) for wait in waits] == [0, 1, 0, 2]


def test_the_pace_follows_the_rate(bag):
    """The bag lasts 0.9 s: at rate 3 playing must take at least a third of that."""
    with own_domain():
        player = Player(Node('player'), bag)
        started = time.monotonic()
        player.play(rate=3.0)
        assert time.monotonic() - started >= 0.3
    with Bag(bag) as opened:
        assert player.duration_s == opened.duration_s == pytest.approx(0.9)


def test_a_topic_that_nobody_hears_is_noticed(bag):
    with own_domain():
        player = Player(Node('player'), bag)
        assert not player.wait_for_subscriber('/camera', timeout_s=0.1)
