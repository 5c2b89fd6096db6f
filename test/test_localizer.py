# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node under real rclpy: its lifecycle, and images between two processes."""

import time
from dataclasses import replace

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from fakes import picture
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from r2former_ros.config import Config, with_values
from r2former_ros.errors import R2FormerError
from r2former_ros.geometry import pose_from_yaw
from r2former_ros.images import thumbnail_jpeg
from r2former_ros.mapping import PosedFrame, build_map
from r2former_ros.recognizer import load_configured
from r2former_ros.records import Frame
from r2former_ros.ros.conversions import header_from
from r2former_ros.ros.live import LiveNode, own_domain
from r2former_ros.ros.localizer import Localizer

pytestmark = pytest.mark.ros
TOPIC = '/camera/image_raw'
SETTINGS = {'model.weights': 'tiny', 'model.device': 'cpu', 'model.image_height': 64,
            'model.image_width': 96, 'node.diagnostics_period_s': 0.2, 'decision.min_score': 0.0,
            'decision.agreement_frames': 1, 'decision.agreement_radius_m': 100.0}
WAIT_S = 60.0
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """Settings of a node with a map of six places, seen by the untrained tiny network."""
    path = tmp_path_factory.mktemp('map') / 'site.r2map'
    config = with_values(Config(), {**SETTINGS, 'map.path': str(path), 'map.frame_id': 'site'})
    frames = [PosedFrame(Frame(i, picture(i, 96, 128)), pose_from_yaw(5.0 * i, 0, 0), f'{i}')
              for i in range(6)]
    build_map(load_configured(config), path, frames, config)
    return config


@pytest.fixture
def make_node(config):
    """Make a localizer in this process, with parameters changed by dotted name."""
    nodes, contexts = [], []

    def make(**changes):
        values = {**SETTINGS, 'map.path': config.map.path, **changes}
        arguments = ['--ros-args']
        for name, value in values.items():
            arguments += ['-p', f'{name}:={value}']
        contexts.append(own_domain(arguments))
        contexts[-1].__enter__()
        nodes.append(Localizer())
        return nodes[-1]

    yield make
    for node in nodes:
        node._stop()
        node._release()
        node.destroy_node()
    for context in contexts:
        context.__exit__(None, None, None)


def image_message(seed, stamp_ns, encoding='rgb8'):
    """Make an image message of a picture."""
    image = picture(seed, 96, 128)
    pixels = image if encoding == 'rgb8' else np.ascontiguousarray(image[..., ::-1])
    return Image(header=header_from(stamp_ns, 'left_camera'), height=96, width=128,
                 encoding=encoding, step=384, data=pixels.tobytes())


def wait_for(condition):
    """Wait until something is true; fail after half a minute."""
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, 'waited in vain'
        time.sleep(0.02)


def publish_one_by_one(live, publisher, messages):
    """Publish each message once the node has answered or counted the one before."""
    wait_for(lambda: publisher.get_subscription_count() > 0)
    wait_for(lambda: live.node.count_publishers('/localizer/hypotheses') > 0)
    for sent, message in enumerate(messages, 1):
        publisher.publish(message)
        wait_for(lambda n=sent: len(live.run.hypotheses) + live.run.count('bad') >= n)


def test_images_of_another_process_come_back_as_hypotheses(config):
    """Stamps and frame ids are carried through, bad frames are counted, nothing is lost."""
    good = {10**9 * (i + 1) + i: i for i in range(6)}
    messages = [image_message(seed, stamp, ('rgb8', 'bgr8')[seed % 2])
                for stamp, seed in good.items()]
    messages.insert(2, replace_encoding(image_message(0, 5), 'made_up8'))
    messages.insert(4, Image(header=header_from(6, 'left_camera'), encoding='rgb8'))
    with own_domain(), LiveNode(config, TOPIC) as live:
        publisher = live.node.create_publisher(Image, TOPIC, 10)
        publish_one_by_one(live, publisher, messages)
        wait_for(lambda: live.run.count('used') + live.run.count('bad') == 8)
        wait_for(lambda: 'localized' in live.run.states)
        run = live.run
    assert set(run.hypotheses) == set(good)
    for stamp, seed in good.items():
        said = run.hypotheses[stamp]
        assert (said.frame_id, len(said.hypotheses)) == ('site', 6)
        most_similar = max(said.hypotheses, key=lambda one: one.similarity)
        assert most_similar.place.place_id == seed + 1
        assert most_similar.similarity == pytest.approx(1, abs=1e-3)
        assert most_similar.place.map_T_camera[0, 3] == pytest.approx(5.0 * seed)
        scores = [one.score for one in said.hypotheses]
        assert scores == sorted(scores, reverse=True)
    assert (run.count('used'), run.count('bad'), run.count('dropped')) == (6, 2, 0)
    assert run.states[0] == 'lost'
    assert 'untrained weights' in run.diagnostics['weights']
    assert run.diagnostics['places'] == '6'
    assert live._process.returncode == 0


def test_compressed_images_and_a_best_effort_publisher(config):
    config = replace(config, node=replace(config.node, image_transport='compressed'))
    topic = f'{TOPIC}/compressed'
    jpeg = thumbnail_jpeg(picture(2, 96, 128), 128, 95)
    with own_domain(), LiveNode(config, topic) as live:
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        publisher = live.node.create_publisher(CompressedImage, topic, best_effort)
        wait_for(lambda: publisher.get_subscription_count() > 0)

        def offer():
            publisher.publish(CompressedImage(
                header=header_from(77, 'left_camera'), format='jpeg', data=jpeg))
            time.sleep(0.1)
            return 77 in live.run.hypotheses

        wait_for(offer)
        publisher.publish(CompressedImage(
            header=header_from(78, ''), format='jpeg', data=jpeg[: len(jpeg) // 2]))
        wait_for(lambda: live.run.count('bad') == 1)
        said = live.run.hypotheses[77]
    best = max(said.hypotheses, key=lambda one: one.similarity)
    assert best.place.place_id == 3


def test_a_silent_topic_is_named(make_node):
    node = make_node(**{'node.no_image_warning_s': 0.3})
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    statuses = []
    node._diagnostics.publish = lambda message: statuses.extend(message.status)
    spin_until(node, lambda: statuses and statuses[-1].level == b'\x01')
    assert statuses[-1].message == 'no image arrives on /image'
    assert statuses[0].level == b'\x00'


def test_pose_is_published_only_when_localized(make_node):
    node = make_node(**{'decision.agreement_frames': 2})
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    poses, states = [], []
    node.outputs._pose.publish = poses.append
    node.outputs._state.publish = states.append
    assert node._work(image_message(1, 5))
    assert (len(poses), [one.data for one in states]) == (0, ['candidate'])
    assert node._work(image_message(1, 6))
    assert (len(poses), [one.data for one in states]) == (1, ['candidate', 'localized'])
    assert poses[0].header.stamp.nanosec == 6
    assert poses[0].pose.covariance[0] >= 25.0


def test_the_lifecycle_repeats(make_node):
    node = make_node()
    for _ in range(3):
        assert node.trigger_configure() == SUCCESS
        for _ in range(2):
            assert node.trigger_activate() == SUCCESS
            assert node._work(image_message(1, 5))
            assert node.trigger_deactivate() == SUCCESS
            assert node.worker is None
        assert node.trigger_cleanup() == SUCCESS
        assert node.recognizer is None
    assert node.trigger_shutdown() == SUCCESS


@pytest.mark.parametrize(('changes', 'match'), [
    ({'map.path': '""'}, 'map.path is empty'),
    ({'map.path': '/nowhere/site.r2map'}, '/nowhere/site.r2map: no such map file'),
    ({'rerank.candidates': -3}, r'rerank.candidates: -3 is outside \[0, 10000\]'),
    ({'rerank.candidates': 'many'}, "rerank.candidates: 'many' is a str, not a int"),
    ({'rerank.candidate': 3}, 'unknown parameters: rerank.candidate'),
    ({'model.weights': 'none.safetensors'}, 'none.safetensors: no such weights file'),
    ({'model.image_width': 128}, 'was built with weights'),
])
def test_a_mistake_fails_the_transition_with_one_line(make_node, monkeypatch, changes, match):
    node = make_node(**changes)
    lines = []
    logger = node.get_logger()
    monkeypatch.setattr(node, 'get_logger', lambda: logger)
    monkeypatch.setattr(logger, 'error', lines.append)
    assert node.trigger_configure() == FAILURE
    assert len(lines) == 1 and '\n' not in lines[0]
    with pytest.raises(AssertionError, match=match):
        raise AssertionError(lines[0])


def test_parameters_are_checked_and_fixed_once_configured(make_node):
    node = make_node()
    refused, accepted = node.set_parameters([
        Parameter('rerank.candidates', value=-1), Parameter('decision.min_score', value=0.25)])
    assert not refused.successful and 'rerank.candidates out of range' in refused.reason
    assert accepted.successful
    assert node.trigger_configure() == SUCCESS
    assert node.config.decision.min_score == 0.25
    (late,) = node.set_parameters([Parameter('decision.min_score', value=0.5)])
    assert not late.successful and 'clean it up first' in late.reason


def test_a_node_that_cannot_be_configured_leaves_no_process_behind(config):
    broken = replace(config, map=replace(config.map, path='/nowhere/site.r2map'))
    with own_domain():
        live = LiveNode(broken, TOPIC)
        with pytest.raises(R2FormerError, match='could not be started'):
            live.__enter__()
        assert live._process.poll() == 0


def test_ranges_and_descriptions_are_there_whether_or_not_a_value_is_given(make_node):
    node = make_node(**{'rerank.candidates': 7})
    for name, top in (('rerank.candidates', 10_000), ('rerank.batch', 1000)):
        descriptor = node.describe_parameter(name)
        assert descriptor.description and descriptor.integer_range[0].to_value == top
    assert node.get_parameter('rerank.candidates').value == 7


def replace_encoding(message, encoding):
    """Change an image message to an encoding that does not exist."""
    message.encoding = encoding
    return message


def spin_until(node, condition):
    """Let the node work until something is true."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    until = time.monotonic() + WAIT_S
    while not condition():
        executor.spin_once(timeout_sec=0.1)
        assert time.monotonic() < until, 'waited in vain'
    executor.remove_node(node)
    executor.shutdown()
