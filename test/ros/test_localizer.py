# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node under real rclpy: its lifecycle, and images between two processes."""

import json
import signal
import subprocess
import time
from dataclasses import replace
from itertools import cycle

import cv2
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from fakes import picture, resident_mb
from nav_msgs.msg import Odometry
from nodes import (
    FAILURE,
    SUCCESS,
    TOPIC,
    WAIT_S,
    assert_offers,
    image_message,
    of_raw_images,
    spin_until,
    wait_for,
    work,
)
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger

from r2former_ros.common.newest import Counters
from r2former_ros.config import options
from r2former_ros.errors import R2FormerError
from r2former_ros.geometry.drawing import GAP_PX
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.maps.search import PlaceSearch
from r2former_ros.records import State
from r2former_ros.ros import interface
from r2former_ros.ros.conversions import header_from, pose_from
from r2former_ros.ros.diagnostics import status_of
from r2former_ros.ros.replay.live import LiveNode, own_domain
from r2former_ros.ros.spinning import spin_until_interrupted
from r2former_ros.ros.statistics import Snapshot, Statistics
from r2former_ros.sources.pictures import thumbnail_jpeg

pytestmark = pytest.mark.ros


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


LINGERING = """
import sys, time
from pathlib import Path
from r2former_ros.ros import localizer
from r2former_ros.ros.worker import ImageWorker

def lingering(worker, prepared, see=ImageWorker._see):
    if prepared.frame.stamp_ns % 1_000_000_000 == 99:
        Path({flag!r}).touch()
        time.sleep(1.0)
    return see(worker, prepared)

ImageWorker._see = lingering
sys.exit(localizer.main())
"""


@pytest.fixture
def at_work(monkeypatch, tmp_path):
    """Let the node linger over the image of stamp 99: the file is there while it does."""
    flag, start = tmp_path / 'at_work', subprocess.Popen

    def start_lingering(command):
        at = command.index('-m')
        return start([*command[:at], '-c', LINGERING.format(flag=str(flag)), *command[at + 2:]])

    monkeypatch.setattr(subprocess, 'Popen', start_lingering)
    return flag


def test_compressed_images_a_best_effort_publisher_and_an_interrupt_at_work(config, at_work):
    config = replace(config, node=replace(config.node, image_transport='compressed'))
    topic = f'{TOPIC}/compressed'
    # The light changes: the same picture again and again would count as a frozen camera.
    pictures = cycle([thumbnail_jpeg(picture(2, 96, 128, light), 128, 95) for light in (0, 1, 2)])
    jpeg = next(pictures)
    with own_domain(), LiveNode(config, topic) as live:
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        publisher = live.node.create_publisher(CompressedImage, topic, best_effort)
        wait_for(lambda: publisher.get_subscription_count() > 0)

        def offer(stamp_ns, taken):
            publisher.publish(CompressedImage(
                header=header_from(stamp_ns, 'left_camera'), format='jpeg', data=next(pictures)))
            time.sleep(0.1)
            return taken()

        wait_for(lambda: offer(77, lambda: 77 in live.run.hypotheses))
        publisher.publish(CompressedImage(
            header=header_from(78, ''), format='jpeg', data=jpeg[: len(jpeg) // 2]))
        wait_for(lambda: live.run.count('bad') == 1)
        said = live.run.hypotheses[77]
        wait_for(lambda: offer(99, at_work.exists))
    assert live._process.returncode == 0 and 99 not in live.run.hypotheses
    best = max(said.hypotheses, key=lambda one: one.similarity)
    assert best.place.place_id == 3


def test_a_silent_topic_is_named(make_node):
    node = make_node(**{'node.no_image_warning_s': 0.3})
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    statuses = []
    node.diagnostics._publisher.publish = lambda message: statuses.extend(message.status)
    node.diagnostics.publish()
    spin_until(node, lambda: statuses[-1].level == b'\x01')
    assert statuses[-1].message == 'no image arrives on /image'
    assert statuses[0].level == b'\x00'


def test_pose_is_published_only_when_localized(make_node):
    node = make_node(**{'decision.agreement_frames': 2})
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    poses, states = [], []
    node.outputs._pose.publish = poses.append
    node.outputs._state.publish = states.append
    assert work(node, image_message(1, 5))
    assert (len(poses), [one.data for one in states]) == (0, ['candidate'])
    assert work(node, image_message(1, 6))
    assert (len(poses), [one.data for one in states]) == (1, ['candidate', 'localized'])
    assert poses[0].header.stamp.nanosec == 6
    assert poses[0].pose.covariance[0] >= 25.0


def test_the_lifecycle_repeats_without_growing(make_node):
    """A hundred transitions in any legal order; memory is measured after the first half."""
    node = make_node(**{'map.preload_mb': 1})
    steps = {
        'unconfigured': ['configure'], 'inactive': ['activate', 'cleanup'],
        'active': ['deactivate'],
    }
    goals = {'configure': 'inactive', 'activate': 'active', 'deactivate': 'inactive',
             'cleanup': 'unconfigured'}
    chosen, state, memory_mb = np.random.default_rng(3), 'unconfigured', []
    for _ in range(100):
        step = chosen.choice(steps[state])
        assert getattr(node, f'trigger_{step}')() == SUCCESS
        state = goals[step]
        if state == 'active':
            assert work(node, image_message(1, 5))
        memory_mb.append(resident_mb())
    assert memory_mb[-1] - max(memory_mb[:50]) < 30
    if state == 'active':
        node.trigger_deactivate()
    assert node.active is None
    assert node.trigger_shutdown() == SUCCESS


def test_topics_services_and_parameters_are_those_of_the_tables(make_node):
    node = make_node()
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    assert_offers(node, of_raw_images(interface.LOCALIZER))
    declared = set(node.get_parameters_by_prefix(''))
    assert {one.name for one in options()} == \
        {one for one in declared if not one.startswith(('use_sim_time', 'start_type'))}


def test_services_reset_reload_and_answer_for_the_next_image(make_node, config):
    node = make_node()
    ask = Trigger.Request
    reset, reload = node.services_offered._on_reset, node.services_offered._on_reload_map
    assert 'not active' in reset(ask(), Trigger.Response()).message
    assert 'configure' in reload(ask(), Trigger.Response()).message
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    assert work(node, image_message(1, 5))
    assert node.active.statistics.state is State.LOCALIZED
    before = node.configured.recognizer
    assert reload(ask(), Trigger.Response()).message.startswith('6 places in ')
    assert node.configured.recognizer is not before
    assert node.configured.recognizer.search.model is before.search.model
    assert node.active.statistics.state is State.LOST
    assert work(node, image_message(1, 6)) and reset(ask(), Trigger.Response()).success
    assert node.active.statistics.state is State.LOST
    client = node.create_client(Trigger, '~/localize_once')
    assert client.wait_for_service(WAIT_S)
    future = client.call_async(ask())

    def answered():
        if node.services_offered._asked:
            node.active.worker.offer(image_message(2, 7))
        return future.done()

    spin_until(node, answered)
    answer = json.loads(future.result().message)
    assert future.result().success and answer['stamp_ns'] == 7
    assert answer['state'] == 'localized' and len(answer['position_m']) == 3


def test_localize_once_says_so_where_no_image_comes(make_node):
    node = make_node(**{'node.no_image_warning_s': 0.3})
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    client = node.create_client(Trigger, '~/localize_once')
    assert client.wait_for_service(WAIT_S)
    future = client.call_async(Trigger.Request())
    spin_until(node, future.done)
    assert not future.result().success
    assert future.result().message == 'no image was recognised on /image in 0.3 s'
    assert not node.services_offered._asked


def test_localize_once_ends_where_the_node_is_deactivated(make_node):
    node = make_node()
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    client = node.create_client(Trigger, '~/localize_once')
    assert client.wait_for_service(WAIT_S)
    future = client.call_async(Trigger.Request())

    def stopped():
        if node.services_offered._asked:
            assert node.trigger_deactivate() == SUCCESS
        return future.done()

    spin_until(node, stopped)
    assert not future.result().success
    assert 'the node is not active' in future.result().message


def test_pictures_are_made_only_while_somebody_looks(make_node, monkeypatch):
    node = make_node()
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    markers, images = [], []
    for publisher, taken in ((node.pictures._markers, markers),
                             (node.pictures._debug_image, images)):
        publisher.publish = taken.append
    assert work(node, image_message(1, 5)) and not markers and not images
    for publisher in (node.pictures._markers, node.pictures._debug_image):
        publisher.get_subscription_count = lambda: 1
    assert work(node, image_message(1, 6))
    places, hypotheses, state = markers[0].markers
    assert (len(places.points), len(hypotheses.points)) == (6, 6)
    assert state.text.startswith('localized') and places.header.frame_id == 'map'
    height, width = images[0].height, images[0].width
    beside = 320 + GAP_PX + 320
    assert (height, width, len(images[0].data)) == (240, beside, 3 * 240 * beside)
    pixels = np.frombuffer(images[0].data, np.uint8).reshape(240, beside, 3)
    shown = cv2.resize(picture(1, 96, 128), (320, 240), interpolation=cv2.INTER_AREA)
    same = np.abs(pixels[:, :320].astype(int) - shown).max(axis=2) < 10
    assert same.mean() > 0.5


def test_an_error_nobody_expected_is_traced_once_in_a_while(make_node, capfd):
    node = make_node()

    def broken(_):
        raise KeyError('a bug')

    node.consumers.append(broken)
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    assert [work(node, image_message(1, i)) for i in range(3)] == [False] * 3
    said = capfd.readouterr().err
    assert said.count('Traceback') == 1
    assert said.count("image of stamp 0 failed: KeyError: 'a bug'") == 1
    assert node.active.statistics.last_failure == "KeyError: 'a bug'"


@pytest.fixture
def interrupt_handler():
    """Restore what an interrupt does."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


class Overtaken(SingleThreadedExecutor):
    """Meet a context that is gone, as the executor does that a signal interrupts."""

    def spin(self):
        rclpy.shutdown()
        raise RuntimeError('failed to initialize wait set: the given context is not valid')


class Broken(SingleThreadedExecutor):
    """Fail while nobody has ended anything."""

    def spin(self):
        raise RuntimeError('a bug')


def test_an_interrupt_ends_what_runs_and_other_errors_are_raised(interrupt_handler):
    with own_domain():
        with pytest.raises(RuntimeError, match='a bug'):
            spin_until_interrupted(Broken())
        spin_until_interrupted(Overtaken())
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_odometry_at_the_stamp_of_an_image_reaches_the_consumers(make_node):
    node, seen = make_node(), []
    node.consumers.append(seen.append)
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    for second in (1, 2):
        message = Odometry(header=header_from(second * 10**9, 'odom'))
        message.pose.pose = pose_from(pose_from_yaw(4.0 * second, 0, 0))
        node.active.odometry.take(message)
    assert work(node, image_message(1, 1_500_000_000))
    assert work(node, image_message(1, 9_000_000_000))
    assert seen[0].odom_T_camera[0, 3] == pytest.approx(6.0)
    assert seen[1].odom_T_camera is None and node.configured.odometry.frame_id == 'odom'


@pytest.mark.parametrize(('changes', 'match'), [
    ({'map.path': '""'}, 'map.path is empty'),
    ({'map.path': '/nowhere/site.r2map'}, '/nowhere/site.r2map: no such map file'),
    ({'rerank.candidates': -3}, r'rerank.candidates: -3 is outside \[0, 10000\]'),
    ({'rerank.candidates': 'many'}, "rerank.candidates: 'many' is a str, not a int"),
    ({'rerank.candidate': 3}, 'unknown parameters: rerank.candidate'),
    ({'model.weights': 'none.safetensors'}, 'none.safetensors: no such weights file'),
    ({'model.image_width': 128}, 'was built with weights'),
    ({'decision.false_accept_rate': 0.01}, 'is not calibrated; run r2former map calibrate'),
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


def test_parameters_are_checked_and_change_at_run_time_where_they_can(make_node):
    node = make_node()
    refused, accepted = node.set_parameters([
        Parameter('rerank.candidates', value=-1), Parameter('decision.min_score', value=0.25)])
    assert not refused.successful and 'rerank.candidates out of range' in refused.reason
    assert accepted.successful
    assert node.trigger_configure() == SUCCESS
    assert node.config.decision.min_score == 0.25
    late, at_once = node.set_parameters([
        Parameter('model.device', value='cuda'), Parameter('decision.min_score', value=0.5)])
    assert not late.successful and 'model.device is read when' in late.reason
    assert at_once.successful and node.configured.recognizer.config.decision.min_score == 0.5
    assert node.configured.recognizer.filter.config.min_score == 0.5


def test_a_failure_late_in_configuring_lets_everything_go(make_node, monkeypatch):
    node = make_node()

    def exhausted(search):
        raise MemoryError('no memory left on the device')

    with monkeypatch.context() as patch:
        patch.setattr(PlaceSearch, 'warm_up', exhausted)
        assert node.trigger_configure() == FAILURE
    assert node.configured is None
    (device,) = node.set_parameters([Parameter('model.device', value='cpu')])
    assert device.successful, device.reason
    assert node.trigger_configure() == SUCCESS


def test_diagnostics_tell_two_nodes_apart():
    names = [
        status_of(name, Snapshot(Statistics(), Counters())).name
        for name in ('/front/localizer', '/rear/localizer')
    ]
    assert names == ['r2former_ros: front/localizer', 'r2former_ros: rear/localizer']


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
