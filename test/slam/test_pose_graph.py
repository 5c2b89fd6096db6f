# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The back end on a drive whose truth is known, with loops that are right and wrong."""

import sys

import numpy as np
import pytest

from r2former_ros.config import Config, with_values
from r2former_ros.errors import ConfigError
from r2former_ros.geometry.poses import angle_deg, distance_m, inverse, pose_from_yaw
from r2former_ros.records import StampedPose
from r2former_ros.slam.pose_graph import LoopMeasurement, MapMeasurement, PoseGraph

LAP = 40
STEP_M = 5.0
TRUE_LOOPS = [(i, i + LAP) for i in range(4, LAP, 3)]


def laps(turn_error_deg=0.0):
    """Drive two laps on a circle, one pose a second, with a constant error of turn."""
    step = pose_from_yaw(STEP_M, 0, 2 * np.pi / LAP + np.radians(turn_error_deg))
    poses = [np.eye(4)]
    for _ in range(2 * LAP - 1):
        poses.append(poses[-1] @ step)
    return [StampedPose(i * 10**9, pose) for i, pose in enumerate(poses)]


def graph_of(odometry, loops=(), **settings):
    """Run the back end; loops are (place, query) in seconds."""
    pytest.importorskip('gtsam')
    graph = PoseGraph(with_values(Config(), settings).pose_graph)
    for stamped in odometry:
        graph.add_odometry(stamped)
    for place, query in loops:
        graph.add_loop(LoopMeasurement(round(place * 1e9), round(query * 1e9)))
    return graph


def worst_m(estimate, truth):
    """Return the largest error of a position; both begin at the same pose."""
    return max(distance_m(one.pose, other.pose)
               for one, other in zip(estimate, truth, strict=True))


def test_without_loops_the_odometry_stays_as_it_is():
    odometry = laps(turn_error_deg=0.5)
    assert worst_m(graph_of(odometry).trajectory(), odometry) < 1e-6


def test_loops_take_the_drift_away():
    truth, odometry = laps(), laps(turn_error_deg=0.3)
    graph = graph_of(odometry, TRUE_LOOPS)
    assert graph.kept_loops() == list(range(len(TRUE_LOOPS)))
    assert worst_m(odometry, truth) > 12.0
    # What loops say is that both laps are the same, not which of them is right.
    assert worst_m(graph.trajectory(), truth) < 0.6 * worst_m(odometry, truth)
    poses = [one.pose for one in graph.trajectory()]
    assert max(distance_m(poses[i], poses[i + LAP]) for i in range(LAP)) < 3.0


@pytest.mark.parametrize('false', [
    [(2.0, 25.0)],                          # alone: nothing supports it
    [(3.0, 22.0), (4.0, 23.0), (5.0, 24.0)],  # agree with each other, but not with the others
])
def test_false_loops_do_not_survive(false):
    odometry = laps(turn_error_deg=0.1)
    loops = sorted([*TRUE_LOOPS, *false], key=lambda loop: loop[1])
    graph = graph_of(odometry, loops)
    assert {loops[one] for one in graph.kept_loops()} == set(TRUE_LOOPS)
    alone = graph_of(odometry, TRUE_LOOPS).trajectory()
    assert worst_m(graph.trajectory(), alone) < 0.5


def test_a_loop_counts_from_when_others_support_it():
    pytest.importorskip('gtsam')
    graph = graph_of(laps())
    counts = [graph.add_loop(LoopMeasurement(place * 10**9, query * 10**9))
              for place, query in TRUE_LOOPS[:3]]
    assert counts == [False, False, True]
    assert graph.kept_loops() == [0, 1, 2]


def test_a_loop_between_poses_of_the_graph_is_moved_along_the_odometry():
    """Closures at half seconds say the same as those at whole ones."""
    odometry = laps(turn_error_deg=0.1)
    between = [(place + 0.5, query + 0.5) for place, query in TRUE_LOOPS[:-1]]
    whole = graph_of(odometry, TRUE_LOOPS[:-1]).trajectory()
    assert worst_m(graph_of(odometry, between).trajectory(), whole) < 0.5


def test_a_loop_may_be_from_a_long_stop():
    """No pose of the graph is near in time, but the robot did not move either."""
    drive = [StampedPose(i * 60 * 10**9, pose_from_yaw(0.4 * i, 0, 0)) for i in range(10)]
    graph = graph_of(drive, [(30.0, 500.0)], **{'pose_graph.min_support': 0})
    assert len(graph) == 4
    assert graph.kept_loops() == [0]


def test_a_known_rotation_holds_the_heading_better():
    pytest.importorskip('gtsam')
    odometry = laps(turn_error_deg=0.1)
    turns = {}
    for rotation in (None, np.eye(3)):
        graph = graph_of(odometry)
        for place, query in TRUE_LOOPS:
            graph.add_loop(LoopMeasurement(place * 10**9, query * 10**9, rotation))
        poses = [one.pose for one in graph.trajectory()]
        relative = [inverse(poses[place]) @ poses[query] for place, query in TRUE_LOOPS]
        turns[rotation is None] = max(angle_deg(np.eye(4), one) for one in relative)
    assert turns[False] < turns[True]


def test_only_movement_makes_poses():
    still = [StampedPose(i * 10**7, pose_from_yaw(0.001 * i, 0, 0)) for i in range(500)]
    assert len(graph_of(still)) == 1
    turning = [StampedPose(i, pose_from_yaw(0, 0, np.radians(i))) for i in range(95)]
    assert len(graph_of(turning, **{'pose_graph.node_angle_deg': 30.0})) == 4


def test_a_loop_outside_the_odometry_is_refused():
    with pytest.raises(ValueError, match=r'no odometry at the stamps \(1, 200000000000\)'):
        graph_of(laps()).add_loop(LoopMeasurement(1, 200 * 10**9))


def test_without_gtsam_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'gtsam', None)
    with pytest.raises(ConfigError, match=r'needs gtsam .*: pip install gtsam'):
        PoseGraph(Config().pose_graph)


MAP_T_ODOM = pose_from_yaw(100.0, -40.0, 2.0)


def on_map(graph, truth, seconds, map_T_odom=MAP_T_ODOM):
    """Add loops to places of a saved map, where the truth says the robot is."""
    for i in seconds:
        graph.add_map_loop(MapMeasurement(map_T_odom @ truth[i].pose, i * 10**9))


def test_loops_on_a_saved_map_put_the_drive_on_it_and_take_the_drift_away():
    truth, odometry = laps(), laps(turn_error_deg=0.3)
    graph = graph_of(odometry)
    on_map(graph, truth, range(2, 2 * LAP, 4))
    assert graph.on_map and len(graph.kept_map_loops()) > LAP // 3
    wanted = [StampedPose(one.stamp_ns, MAP_T_ODOM @ one.pose) for one in truth]
    assert worst_m(graph.trajectory(), wanted) < 3.0 < worst_m(odometry, truth) / 4
    last = graph.correction() @ odometry[-1].pose
    assert distance_m(last, wanted[-1].pose) < 3.0


def test_a_false_loop_on_a_saved_map_does_not_survive():
    truth = laps()
    graph = graph_of(truth)
    on_map(graph, truth, [10], MAP_T_ODOM @ pose_from_yaw(60.0, 0, 0))
    assert not graph.on_map and worst_m(graph.trajectory(), truth) < 1e-6
    on_map(graph, truth, range(11, 16))
    assert graph.kept_map_loops() == [1, 2, 3, 4, 5]
    wanted = [StampedPose(one.stamp_ns, MAP_T_ODOM @ one.pose) for one in truth]
    assert worst_m(graph.trajectory(), wanted) < 1.0


def test_loops_of_both_kinds_hold_together():
    truth, odometry = laps(), laps(turn_error_deg=0.3)
    graph = graph_of(odometry, TRUE_LOOPS)
    on_map(graph, truth, range(2, 20, 3))
    assert graph.kept_loops() == list(range(len(TRUE_LOOPS)))
    assert graph.kept_map_loops() == list(range(6))
    wanted = MAP_T_ODOM @ truth[10].pose
    assert distance_m(graph.trajectory()[10].pose, wanted) < 3.0
    with pytest.raises(ValueError, match='no odometry at the stamp'):
        graph.add_map_loop(MapMeasurement(wanted, 10**12))
