# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Faults that cameras, odometry and clocks bring into running nodes."""

import signal
import subprocess
import sys

import pytest

rclpy = pytest.importorskip('rclpy')

from nav_msgs.msg import Odometry
from nodes import SUCCESS, image_message, spin_until, work
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.records import State
from r2former_ros.ros.conversions import header_from, pose_from
from r2former_ros.ros.inputs import OdometryBuffer, OdometryInput, ReliableInput
from r2former_ros.ros.interface import IMAGE
from r2former_ros.ros.replay.live import own_domain

pytestmark = pytest.mark.ros
S = 10**9
NO_POSES = {
    'nan': (float('nan'), 0.0, 1.0), 'inf': (float('inf'), 0.0, 1.0), 'huge': (1e300, 0.0, 1.0),
    'nan turn': (0.0, float('nan'), 1.0), 'no turn': (0.0, 0.0, 0.0),
}


def odometry(stamp_ns, x=0.0, qz=None, qw=1.0):
    """Make an odometry message at x metres."""
    message = Odometry(header=header_from(stamp_ns, 'odom'))
    message.pose.pose = pose_from(pose_from_yaw(0.0, 0.0, 0.0))
    message.pose.pose.position.x = x
    message.pose.pose.orientation.z, message.pose.pose.orientation.w = qz or 0.0, qw
    return message


@pytest.fixture
def node():
    """A node without anything of ours."""
    with own_domain():
        node = Node('host', use_global_arguments=False)
        yield node
        node.destroy_node()


@pytest.fixture
def lines(monkeypatch):
    """Collect the log lines of a node, by level."""
    def collect(node):
        said, logger = [], node.get_logger()
        monkeypatch.setattr(node, 'get_logger', lambda: logger)
        for level in ('info', 'warning', 'error'):
            monkeypatch.setattr(
                logger, level, lambda text, level=level, **_: said.append((level, text)))
        return said

    return collect


def test_odometry_that_is_no_pose_is_skipped_counted_and_said_once(node, lines):
    said, buffer = lines(node), OdometryBuffer()
    source = OdometryInput(node, buffer)
    source.take(odometry(1 * S, 1.0))
    for x, qz, qw in NO_POSES.values():
        source.take(odometry(2 * S, x, qz, qw))
    source.take(odometry(3 * S, 3.0))
    assert buffer.skipped == len(NO_POSES)
    assert [level for level, _ in said] == ['warning']
    assert said[0][1].startswith('odometry skipped: position [nan, 0.0, 0.0]')
    assert buffer.at(2 * S)[0, 3] == pytest.approx(2.0)


def test_odometry_after_a_reset_of_the_clock_begins_again_and_disorder_does_not(node):
    buffer = OdometryBuffer()
    source = OdometryInput(node, buffer)
    for second in (101, 102, 103):
        source.take(odometry(second * S, float(second)))
    source.take(odometry(103 * S - S // 10, 50.0))
    assert buffer.at(102 * S + S // 2)[0, 3] == pytest.approx(102.5)
    for second in (1, 2):
        source.take(odometry(second * S, float(second)))
    assert buffer.at(102 * S) is None
    assert buffer.at(S + S // 2)[0, 3] == pytest.approx(1.5)


def reliability_of(listener):
    """Return how an input subscribes now."""
    return listener._subscription.qos_profile.reliability


def test_best_effort_is_used_only_while_nothing_else_is_offered(node, lines):
    said, received = lines(node), []
    listener = ReliableInput(node, IMAGE, received.append, QoSProfile(depth=5))
    best_effort, reliable = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
    camera = node.create_publisher(Image, 'image', QoSProfile(depth=1, reliability=best_effort))
    spin_until(node, lambda: reliability_of(listener) == best_effort)

    def arrives(publisher):
        publisher.publish(Image())
        return bool(received)

    spin_until(node, lambda: arrives(camera))
    driver = node.create_publisher(Image, 'image', QoSProfile(depth=1, reliability=reliable))
    spin_until(node, lambda: reliability_of(listener) == reliable)
    assert [level for level, _ in said] == ['warning', 'info']
    received.clear()
    spin_until(node, lambda: arrives(driver))
    node.destroy_publisher(camera)
    late = node.create_publisher(Image, 'image', QoSProfile(depth=1, reliability=best_effort))
    spin_until(node, lambda: node.count_publishers('/image') == 2)
    listener.adapt()
    assert reliability_of(listener) == reliable and len(said) == 2
    for publisher in (driver, late):
        node.destroy_publisher(publisher)
    spin_until(node, lambda: node.count_publishers('/image') == 0)
    listener.adapt()
    assert reliability_of(listener) == reliable
    listener.close()


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self):
        self.s = 0.0

    def __call__(self):
        return self.s


def watched(node, lines):
    """Activate a localizer whose watch on the camera has a clock that is set by hand."""
    said, states, statuses = lines(node), [], []
    node.outputs._state.publish = lambda message: states.append(message.data)
    node.status._publisher.publish = lambda message: statuses.extend(message.status)
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    clock = Clock()
    node.active.camera.__init__(clock)
    node.active._changed_s = 0.0
    del said[:], states[:]
    return clock, said, states, statuses


def show(node, seed, stamp_ns):
    """Let an image arrive and be worked on; say whether it was recognized."""
    node.active.camera.arrived()
    return work(node, image_message(seed, stamp_ns))


def values_of(status):
    """Return what a status holds."""
    return {pair.key: pair.value for pair in status.values}


def test_a_dead_camera_is_lost_with_a_reason_each_time(make_node, lines):
    node = make_node()
    clock, said, states, statuses = watched(node, lines)
    for stamp_ns in (1, 2):
        assert show(node, 1, stamp_ns) and states[-1] == 'localized'
        clock.s += 6.0
        for _ in range(3):
            node.active.check_camera()
        assert said == [('warning', 'no image arrives on /image')] and states[-1] == 'localized'
        clock.s += 5.0
        for _ in range(3):
            node.active.check_camera()
        assert said[1:] == [('warning', 'lost: no image arrives on /image, for 11 s')]
        assert states[-1] == 'lost' and node.active.statistics.state is State.LOST
        assert statuses[-1].message == said[-1][1]
        assert values_of(statuses[-1]) == {
            'reason': 'camera_silent', 'state': 'lost', 'camera': 'silent'}
        assert node.active.snapshot().trouble == 'no image arrives on /image'
        node.active.camera.arrived()
        node.active.check_camera()
        assert said[2:] == [('info', 'images arrive on /image again, after 5.0 s (silent)')]
        del said[:]


def test_a_frozen_picture_is_refused_once_it_has_made_the_state_lost(make_node, lines):
    node = make_node()
    clock, said, states, statuses = watched(node, lines)
    for stamp_ns in range(1, 5):
        clock.s += 3.0
        assert show(node, 1, stamp_ns) and states == ['localized']
        node.active.check_camera()
    assert said == [('warning', 'the picture on /image does not change')]
    clock.s += 5.0
    assert not show(node, 1, 6)
    assert statuses[-1].message == 'the camera shows nothing new: the picture is frozen'
    assert values_of(statuses[-1])['reason'] == 'bad_image'
    node.active.check_camera()
    assert states[-1] == 'lost'
    assert values_of(statuses[-1]) == {
        'reason': 'camera_frozen', 'state': 'lost', 'camera': 'frozen'}
    assert show(node, 2, 7) and states[-1] == 'localized'


def test_stamps_of_images_that_begin_again_make_localizing_begin_again(make_node, lines):
    node = make_node(**{'decision.agreement_frames': 2})
    _, said, states, _ = watched(node, lines)
    for stamp_ns in (100 * S, 101 * S, 1 * S, 2 * S):
        assert work(node, image_message(1, stamp_ns))
    assert states == ['candidate', 'localized', 'candidate', 'localized']
    assert said == [('warning', 'the clock of the images was set back by 100.0 s: '
                                'localizing begins again')]
    assert work(node, image_message(1, 2 * S - S // 10)) and len(said) == 1


def test_every_image_has_a_status_with_its_reason(make_node, lines):
    node = make_node(**{'decision.min_score': 0.999})
    *_, statuses = watched(node, lines)
    assert work(node, image_message(1, 5))
    torn = image_message(1, 6)
    torn.encoding = 'made_up8'
    assert node.active.worker.prepare(torn) is None
    recognized, bad = statuses
    assert recognized.level == b'\x01' and ' below 1.00' in recognized.message
    values = values_of(recognized)
    assert [values[name] for name in ("reason", "accepted", "state")] == \
        ["low_score", "false", "lost"]
    assert values['map_revision'].endswith('-6') and len(values['weights']) == 16
    assert bad.message == "encoding 'made_up8' is not supported" or 'made_up8' in bad.message
    assert values_of(bad)['reason'] == 'bad_image'


STUCK = """
import sys, time
from r2former_ros.ros import configured, localizer

def stuck(self, opened):
    print('configuring', flush=True)
    while True:
        try:
            time.sleep(0.05)
        except BaseException:  # as a library may do that compiles
            pass

class Eager(localizer.Localizer):
    def __init__(self):
        super().__init__()
        self.create_timer(0.0, self.trigger_configure)

configured.Configured._open = stuck
localizer.Localizer = Eager
sys.exit(localizer.main())
"""


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_node_that_configures_though_the_exception_is_swallowed(number):
    with own_domain():
        process = subprocess.Popen(
            [sys.executable, '-c', STUCK], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == 'configuring\n'
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.communicate()
