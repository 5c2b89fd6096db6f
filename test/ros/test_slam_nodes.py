# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The localizer with loop closure and the node pose_graph, as processes and in this one."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('gtsam')

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from nodes import (
    FAILURE,
    SETTINGS,
    SUCCESS,
    TOPIC,
    assert_offers,
    image_message,
    of_raw_images,
    wait_for,
    work,
)
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_srvs.srv import Trigger

from r2former_ros.config import Config, options, with_values
from r2former_ros.errors import ConfigError
from r2former_ros.geometry.pose_buffer import PoseBuffer
from r2former_ros.geometry.poses import angle_deg, distance_m, pose_from_yaw
from r2former_ros.maps.calibration import Calibration, score_settings, write_calibration
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.sqlite import translated
from r2former_ros.records import Hypothesis, LoopClosure, Place, StampedPose, View
from r2former_ros.ros import interface, loop_reporter
from r2former_ros.ros.conversions import (
    header_from,
    hypotheses_message,
    loop_message,
    loops_from,
    pose_from,
)
from r2former_ros.ros.pose_graph_node import PoseGraphNode, TumFile, last_write
from r2former_ros.ros.replay.live import LiveNode, own_domain
from r2former_ros.sources.trajectory_files import read_trajectory

pytestmark = pytest.mark.ros
SLAM_PARAMETERS = Path(__file__).parents[2] / 'config' / 'slam.yaml'
PLACES = 8
STEPS = 2 * PLACES
DRIVE = {
    'loop_closure.enabled': True, 'loop_closure.exclusion_s': PLACES - 0.5,
    'loop_closure.exclusion_m': 5.0, 'loop_closure.min_score': 0.0,
    'loop_closure.agreement_keyframes': 1, 'loop_closure.verify': False, 'rerank.candidates': 0,
}


def pose_at(i, drift=0.0):
    """Return the pose of a step of a drive in circles, odometry that turns too much."""
    angle = 2 * np.pi * i / PLACES + drift * i
    return pose_from_yaw(10 * np.cos(angle), 10 * np.sin(angle), angle + np.pi / 2)


def odometry_message(i, drift=0.0):
    """Make the odometry of a step; one a second."""
    message = Odometry(header=header_from((i + 1) * 10**9, 'odom'), child_frame_id='base_link')
    message.pose.pose = pose_from(pose_at(i, drift))
    return message


def start_pose_graph(tum_path, **streams):
    """Start the node in a process of its own."""
    command = [sys.executable, '-m', 'r2former_ros.ros.pose_graph_node', '--ros-args',
               '-r', 'loop_closures:=/localizer/loop_closures',
               '-p', f'pose_graph.tum_path:={tum_path}', '-p', 'pose_graph.publish_period_s:=0.1',
               '-p', 'pose_graph.support_m:=100.0']
    return subprocess.Popen(command, **streams)


@dataclass
class Drive:
    """What two laps through both nodes gave, and where they left their files."""

    folder: Path
    loops: list
    paths: list
    saved: Trigger.Response | None = None
    exit_code: int | None = None

    def maps(self):
        """Return the grown map, which was killed, and its copy."""
        return sorted(self.folder.glob('drive_*.r2map'))


@pytest.fixture(scope='module')
def drive(tmp_path_factory):
    """Drive twice in a circle; then interrupt the back end and kill the localizer."""
    driven = Drive(tmp_path_factory.mktemp('drive'), [], [])
    settings = with_values(
        Config(), {**SETTINGS, **DRIVE, 'loop_closure.folder': str(driven.folder)})
    with own_domain(), closing(LiveNode(settings, TOPIC)) as live, \
            start_pose_graph(driven.folder / 'path.tum') as process:
        try:
            live.__enter__()
            send_laps(live, driven)
            process.send_signal(signal.SIGINT)
            driven.exit_code = process.wait(timeout=20)
            live._process.send_signal(signal.SIGKILL)
            live._process.wait()
        finally:
            process.kill()
    return driven


def send_laps(live, driven):
    """Send odometry and images one by one, and collect what both nodes say."""
    node = live.node
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(PointCloud2, '/localizer/loop_closures', driven.loops.append, 100)
    node.create_subscription(PathMessage, '/pose_graph/path', driven.paths.append, latched)
    save = node.create_client(Trigger, '/localizer/save_map')
    images = node.create_publisher(Image, TOPIC, 10)
    odometry = node.create_publisher(Odometry, '/odom', 100)
    wait_for(lambda: images.get_subscription_count() == 1
             and odometry.get_subscription_count() == 2
             and node.count_publishers('/pose_graph/path') == 1
             and node.count_subscribers('/localizer/loop_closures') == 2
             and save.service_is_ready())
    for i in range(STEPS):
        odometry.publish(odometry_message(i, drift=0.02))
        images.publish(image_message(i % PLACES, (i + 1) * 10**9))
        wait_for(lambda n=i + 1: live.run.count('keyframes') == n)
    wait_for(lambda: len(driven.loops) == PLACES)
    future = save.call_async(Trigger.Request())
    wait_for(future.done)
    driven.saved = future.result()
    wait_for(lambda: driven.paths and len(driven.paths[-1].poses) == STEPS)


def test_loop_closures_of_a_drive_are_a_lap_apart(drive):
    assert [one.header.stamp.sec for one in drive.loops] == list(range(PLACES + 1, STEPS + 1))
    for message in drive.loops:
        (loop,) = loops_from(message)
        assert message.header.frame_id == 'odom' and loop.view is None
        assert loop.stamp_ns - loop.hypothesis.place.stamp_ns == PLACES * 10**9


def test_the_path_of_a_drive_is_mended_and_written_at_an_interrupt(drive):
    assert drive.exit_code == 0
    corrected = list(read_trajectory(drive.folder / 'path.tum'))
    assert len(corrected) == STEPS
    first, second = (corrected[i].pose for i in (3, 3 + PLACES))
    assert distance_m(first, second) < distance_m(pose_at(3, 0.02), pose_at(3 + PLACES, 0.02)) / 2


def test_no_keyframe_of_a_drive_is_lost_by_a_kill(drive):
    assert drive.saved.success and f'{STEPS} places in' in drive.saved.message
    grown, saved = drive.maps()
    assert saved.stem == f'{grown.stem}_saved'
    for path in (grown, saved):
        with PlaceMap.open(path) as place_map:
            assert list(place_map.problems()) == []
            stamps = [place.stamp_ns for place in place_map.places().values()]
        assert stamps == [(i + 1) * 10**9 for i in range(STEPS)]


def test_a_saved_map_and_the_own_past_are_told_apart(make_node, tmp_path):
    node = make_node(**{**DRIVE, 'loop_closure.exclusion_s': 3.5, 'map.frame_id': 'site',
                        'loop_closure.folder': tmp_path})
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    published = []
    node.configured.loops._publisher.publish = published.append
    for i in range(6):
        node.active.odometry.take(odometry_message(i))
        assert work(node, image_message(i % 4, (i + 1) * 10**9))
    frames = [(one.header.stamp.sec, one.header.frame_id) for one in published]
    assert [frame for _, frame in frames].count('site') == 6
    assert [stamp for stamp, frame in frames if frame == 'odom'] == [5, 6]


def test_without_odometry_nothing_is_added_and_no_file_stays(make_node, tmp_path):
    node = make_node(**{**DRIVE, 'loop_closure.folder': tmp_path, 'map.path': '""'})
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    assert work(node, image_message(1, 5))
    assert len(node.configured.loops.place_map) == 0
    assert len(list(tmp_path.glob('*.r2map'))) == 1
    assert node.trigger_deactivate() == node.trigger_cleanup() == SUCCESS
    assert list(tmp_path.iterdir()) == []
    assert node.configured is None


def test_a_drive_that_cannot_begin_leaves_no_file(make_node, tmp_path, monkeypatch):
    def exhausted(*_):
        raise MemoryError('no memory left for the index')

    monkeypatch.setattr(loop_reporter, 'PlaceSearch', exhausted)
    node = make_node(**{**DRIVE, 'loop_closure.folder': tmp_path})
    assert node.trigger_configure() == FAILURE
    assert list(tmp_path.iterdir()) == [] and node.configured is None


def test_a_frame_waits_for_late_odometry(make_node, tmp_path):
    node = make_node(**{**DRIVE, 'loop_closure.folder': tmp_path, 'map.path': '""'})
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    for i, places in enumerate((0, 1, 2, 3)):
        assert work(node, image_message(i, (i + 1) * 10**9))
        assert len(node.configured.loops.place_map) == places
        node.active.odometry.take(odometry_message(i))
    stamps = [place.stamp_ns for place in node.configured.loops.place_map.places().values()]
    assert stamps == [10**9, 2 * 10**9, 3 * 10**9]


def test_a_full_disk_is_said_once_in_a_while_and_localizing_goes_on(
    make_node, tmp_path, monkeypatch, capfd
):
    node = make_node(**{**DRIVE, 'loop_closure.folder': tmp_path})
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    hypotheses, statuses = [], []
    node.outputs._hypotheses.publish = hypotheses.append
    node.diagnostics._publisher.publish = lambda message: statuses.extend(message.status)
    full = node.configured.loops.place_map._store
    with monkeypatch.context() as patch:
        patch.setattr(full, 'append', raising_full(full.location))
        for i in range(3):
            node.active.odometry.take(odometry_message(i))
            node.active.worker.offer(image_message(i, (i + 1) * 10**9))
            wait_for(lambda n=i + 1: node.active.worker.counters.bad == n)
    counters = node.active.worker.counters
    assert (counters.received, counters.used, counters.dropped) == (3, 0, 0)
    assert len(hypotheses) == 3 and len(node.configured.loops.place_map) == 0
    said = capfd.readouterr().err
    assert said.count('ERROR') == 1 and 'Traceback' not in said
    assert (f'image of stamp {10**9} failed: {full.location}: cannot be written (database or disk '
            'is full); is the disk full? Places added before are safe\n') in said
    node.diagnostics.publish()
    assert statuses[0].level == DiagnosticStatus.ERROR
    assert 'is the disk full?' in statuses[0].message
    node.active.odometry.take(odometry_message(3))
    node.active.worker.offer(image_message(3, 4 * 10**9))
    wait_for(lambda: node.active.worker.counters.used == 1)
    assert len(node.configured.loops.place_map) == 1


def raising_full(location):
    """Make what SQLite raises on a full disk, as the store passes it on."""
    def append(_):
        with translated(Path(location)):
            raise sqlite3.OperationalError('database or disk is full')

    return append


def test_a_false_accept_rate_asks_only_the_saved_map_for_a_calibration(
    make_node, config, tmp_path
):
    saved = tmp_path / 'calibrated.r2map'
    shutil.copy(config.map.path, saved)
    settings = score_settings(with_values(config, {'rerank.candidates': 0}))
    with PlaceMap.open(saved, writable=True) as place_map:
        write_calibration(place_map, Calibration(
            settings, 6, 25.0, 0.05, [0.0, 1.0], [2.0, 3.0], 'x', 1.0, 0.0))
    node = make_node(**{**DRIVE, 'loop_closure.folder': tmp_path, 'map.path': saved,
                        'decision.false_accept_rate': 0.2})
    assert node.trigger_configure() == SUCCESS
    assert node.configured.recognizer.judge.calibration is not None


def test_what_changes_at_run_time_reaches_the_own_past(make_node, tmp_path):
    node = make_node(**{**DRIVE, 'loop_closure.folder': tmp_path})
    assert node.trigger_configure() == SUCCESS
    (result,) = node.set_parameters([Parameter('rerank.candidates', value=3)])
    assert result.successful
    assert node.configured.loops.closer.past.config.rerank.candidates == 3
    assert node.configured.loops.closer.config.rerank.candidates == 3


def test_intrinsics_reach_the_loop_closer(make_node, tmp_path):
    node = make_node(**{**DRIVE, 'loop_closure.folder': tmp_path})
    assert node.trigger_configure() == SUCCESS
    camera = node.configured.camera
    message = CameraInfo(width=128, height=96, distortion_model='plumb_bob')
    camera._on_info(message)
    assert node.configured.loops._camera.usable() is None
    message.k = [100.0, 0.0, 64.0, 0.0, 110.0, 48.0, 0.0, 0.0, 1.0]
    camera._on_info(message)
    assert node.configured.loops._camera.usable().matrix[1].tolist() == [0.0, 110.0, 48.0]
    message.distortion_model = 'omni'
    camera._on_info(message)
    assert node.configured.loops._camera.usable() is None


@contextmanager
def back_end_with(*arguments):
    """Run the node pose_graph in this process."""
    with own_domain(['--ros-args', *arguments]):
        node = PoseGraphNode()
        try:
            yield node
        finally:
            node.destroy_node()


@pytest.fixture
def back_end():
    """The node pose_graph, where each loop closure counts."""
    with back_end_with('-p', 'pose_graph.min_support:=0') as node:
        yield node


def test_topics_and_services_of_loop_closure_are_those_of_the_tables(
    make_node, tmp_path
):
    node = make_node(**{**DRIVE, 'loop_closure.folder': tmp_path})
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    assert_offers(node, of_raw_images(interface.LOCALIZER), interface.LOOP_CLOSURE)


def test_topics_of_the_back_end_are_those_of_the_table(back_end):
    assert_offers(back_end, interface.POSE_GRAPH)


def test_a_loop_waits_for_its_odometry(back_end):
    place = Place(1, 10**9, pose_at(0), '')
    view = View(pose_from_yaw(0, 0, 0.1)[:3, :3], np.array([0.6, 0.8, 0.0]), 30)
    loop = LoopClosure((PLACES + 1) * 10**9, Hypothesis(place, 0.9, 0.95, 33), view=view)
    for i in range(PLACES):
        back_end._on_odometry(odometry_message(i))
    back_end._on_loops(loop_message(loop, 'odom'))
    assert (len(back_end.waiting), back_end._loops) == (1, 0)
    assert angle_deg(np.block([[back_end.waiting[0][0].view.rotation, np.zeros((3, 1))],
                               [0, 0, 0, 1]]), pose_from_yaw(0, 0, 0.1)) < 0.01
    assert back_end.waiting[0][0].view.direction == pytest.approx([0.6, 0.8, 0.0])
    back_end._on_odometry(odometry_message(PLACES))
    assert (len(back_end.waiting), back_end._loops) == (0, 1)
    unknown = replace(loop, hypothesis=replace(loop.hypothesis, place=replace(place, stamp_ns=5)))
    back_end._on_loops(loop_message(unknown, 'odom'))
    assert (len(back_end.waiting), back_end._loops) == (0, 1)
    assert back_end.describe() == '9 poses, 1 loop closures, 1 of them hold; 0 wait for odometry'


def test_odometry_and_loop_closures_that_are_none_are_skipped_and_counted(back_end):
    for i, (x, turn) in enumerate([(np.nan, 0.0), (np.nan, 1.0), (np.inf, 0.0), (1e300, 0.0)]):
        broken = odometry_message(i)
        broken.pose.pose.position.x, broken.pose.pose.orientation.z = x, turn
        back_end._on_odometry(broken)
    place = Place(1, 10**9, pose_at(0), '')
    hypotheses = hypotheses_message([Hypothesis(place, 0.9, 0.95, 33)], 9 * 10**9, 'odom')
    back_end._on_loops(hypotheses)
    assert (back_end.skipped, len(back_end.graph), len(back_end.waiting)) == (5, 0, 0)
    for i in range(3):
        back_end._on_odometry(odometry_message(i))
    assert len(back_end.graph) == 3
    assert back_end.describe().endswith('; 5 messages skipped')


def test_after_a_reset_of_the_clock_the_path_goes_on_and_loops_work_again(tmp_path):
    with back_end_with('-p', 'pose_graph.min_support:=0',
                       '-p', f'pose_graph.tum_path:={tmp_path}/path.tum') as node:
        paths = []
        node._path.publish = paths.append
        for i in range(5):
            node._on_odometry(odometry_message(100 + i))
        assert add_loop(node, 100, 104)
        for i in range(PLACES):
            node._on_odometry(odometry_message(i))
        assert (len(node.graph), len(node.waiting), node._loops) == (PLACES, 0, 0)
        assert add_loop(node, 0, PLACES - 1)
        node.publish()
        assert len(paths[-1].poses) == 5 + PLACES
        assert len(read_trajectory(tmp_path / 'path.tum')) == 5
        assert len(read_trajectory(tmp_path / 'path_2.tum')) == PLACES
        node._on_odometry(odometry_message(0))
        assert last_write(node) == 0 and len(read_trajectory(tmp_path / 'path_3.tum')) == 1


def add_loop(node, place, query):
    """Send a loop closure between two steps; say whether it was taken."""
    before = node._loops
    closure = LoopClosure((query + 1) * 10**9, Hypothesis(
        Place(1, (place + 1) * 10**9, pose_at(place), ''), 0.9, 0.95, 33))
    node._on_loops(loop_message(closure, 'odom'))
    return node._loops == before + 1


def test_loops_on_a_saved_map_move_the_path_to_its_frame(back_end):
    site_T_odom = pose_from_yaw(100.0, -40.0, 2.0)
    paths, corrections = [], []
    back_end._path.publish, back_end._correction.publish = paths.append, corrections.append
    for i in range(4):
        back_end._on_odometry(odometry_message(i))
        place = Place(i, 5, site_T_odom @ pose_at(i), '')
        loop = LoopClosure((i + 1) * 10**9, Hypothesis(place, 0.9, 0.95, 33))
        back_end._on_loops(loop_message(loop, 'site'))
    unposed = LoopClosure(4 * 10**9, Hypothesis(Place(9, 5, None, ''), 0.9, 0.95, 33))
    back_end._on_loops(loop_message(unposed, 'site'))
    back_end.publish()
    assert back_end.describe() == ('4 poses, 4 loop closures, 4 of them hold, 4 of these on the '
                                   'saved map; 0 wait for odometry')
    last, wanted = paths[-1].poses[-1].pose.position, site_T_odom @ pose_at(3)
    assert (last.x, last.y) == pytest.approx((wanted[0, 3], wanted[1, 3]), abs=0.1)
    (correction,) = corrections
    assert (correction.header.frame_id, correction.child_frame_id) == ('map', 'odom')
    moved = correction.transform.translation
    assert (moved.x, moved.y) == pytest.approx((100.0, -40.0), abs=0.1)
    assert correction.transform.rotation.z == pytest.approx(np.sin(1.0), abs=0.01)


@pytest.mark.parametrize(('argument', 'match'), [
    ('pose_graph.loop_sigma_m:=-1.0', r'pose_graph.loop_sigma_m: -1.0 is outside \[0.001, inf\]'),
    ('pose_graph.min_support:=2.5', 'pose_graph.min_support: 2.5 is a float, not a int'),
    ('pose_graph.loop_sigma:=1.0', 'unknown parameters: pose_graph.loop_sigma'),
])
def test_a_wrong_setting_is_refused_with_one_line(argument, match):
    with own_domain(['--ros-args', '-p', argument]), pytest.raises(ConfigError, match=match):
        PoseGraphNode()


def test_settings_of_the_back_end_are_typed_described_and_fixed_from_the_start():
    """A file for both nodes and an integer are taken; the localizer's settings are not shown."""
    with back_end_with('--params-file', str(SLAM_PARAMETERS),
                       '-p', 'pose_graph.loop_sigma_m:=3') as node:
        assert node.config.loop_sigma_m == 3.0
        declared = set(node.get_parameters_by_prefix(''))
        assert {one.name for one in options() if one.name.startswith('pose_graph.')} == \
            {one for one in declared if not one.startswith(('use_sim_time', 'start_type'))}
        assert node.describe_parameter('pose_graph.loop_sigma_m').description.endswith('[m]')
        late, low = node.set_parameters([Parameter('pose_graph.loop_sigma_m', value=5.0),
                                         Parameter('pose_graph.loop_sigma_m', value=-5.0)])
        assert not late.successful
        assert late.reason == 'pose_graph.loop_sigma_m is read when the node starts: start it ' \
            'again with the new value'
        assert not low.successful and 'out of range' in low.reason
        assert node.get_parameter('pose_graph.loop_sigma_m').value == 3.0


def test_a_file_that_cannot_be_written_ends_the_back_end_at_the_start(tmp_path):
    path = tmp_path / 'nowhere' / 'path.tum'
    process = start_pose_graph(path, stderr=subprocess.PIPE, text=True)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert len(said.splitlines()) == 1
    assert f'{path}: cannot be written (No such file or directory)' in said


def test_a_folder_is_no_file_for_the_trajectory(tmp_path):
    with pytest.raises(ConfigError, match='is a folder; name a file in it'):
        TumFile(str(tmp_path))


def test_the_back_end_goes_on_where_its_file_cannot_be_written_any_more(tmp_path, monkeypatch):
    folder = tmp_path / 'drive'
    folder.mkdir()
    with back_end_with('-p', f'pose_graph.tum_path:={folder}/path.tum') as node:
        paths, lines, logger = [], [], node.get_logger()
        monkeypatch.setattr(node, 'get_logger', lambda: logger)
        monkeypatch.setattr(logger, 'error', lambda line, **_: lines.append(line))
        node._path.publish = paths.append
        node._on_odometry(odometry_message(0))
        node.publish()
        assert len(read_trajectory(folder / 'path.tum')) == 1 and not lines
        shutil.rmtree(folder)
        node._on_odometry(odometry_message(1))
        node.publish()
        assert len(paths) == 2 and len(paths[-1].poses) == 2
        assert last_write(node) == 2
        assert [line.split(': ')[1] for line in lines] == \
            ['cannot be written (No such file or directory); it is tried again with each new path',
             'cannot be written (No such file or directory)']
        folder.mkdir()
        assert last_write(node) == 0 and len(read_trajectory(folder / 'path.tum')) == 2


def test_poses_of_the_stream_are_found_between_messages():
    buffer = PoseBuffer(tolerance_ns=100)
    assert buffer.at(0) is None
    for stamp in (1000, 2000):
        buffer.add(StampedPose(stamp, pose_from_yaw(stamp / 1000, 0, 0)))
    assert buffer.at(1500)[0, 3] == pytest.approx(1.5)
    assert buffer.at(2100)[0, 3] == 2.0
    assert buffer.at(2101) is None
    buffer.add(StampedPose(500, np.eye(4)))
    assert buffer.at(1500) is None


