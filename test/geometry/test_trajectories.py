# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Poses over time: interpolation, and clocks that are set back."""

import math

import numpy as np
import pytest

from r2former_ros.geometry.poses import angle_deg, pose_from_quaternion, pose_from_yaw, yaw_rad
from r2former_ros.geometry.trajectories import POSE_TOLERANCE_NS, Trajectory, restarts
from r2former_ros.records import StampedPose

SECOND = 1_000_000_000
STAMP = 1_403_636_579_763_555_584  # a float of seconds would miss it by 40 ns


def line(*poses):
    """Build a trajectory of (stamp in s, x, yaw)."""
    return Trajectory.from_poses(
        StampedPose(round(stamp * SECOND), pose_from_yaw(x, 0, yaw)) for stamp, x, yaw in poses)


# Interpolation


def test_between_two_poses():
    pose = line((1, 10, 0.0), (2, 20, 1.0)).at(SECOND + SECOND // 4)
    np.testing.assert_allclose(pose, pose_from_yaw(12.5, 0, 0.25), atol=1e-12)


def test_rotation_takes_the_short_way():
    pose = line((1, 0, math.radians(170)), (2, 0, math.radians(-170))).at(SECOND * 3 // 2)
    assert abs(yaw_rad(pose)) == pytest.approx(math.pi)


def test_position_is_exact_at_stamps_of_today():
    poses = [StampedPose(STAMP, pose_from_yaw(0, 0, 0)),
             StampedPose(STAMP + 1000, pose_from_yaw(1000, 0, 0))]
    assert Trajectory.from_poses(poses).at(STAMP + 1)[0, 3] == pytest.approx(1.0)


@pytest.mark.parametrize(('stamp_s', 'x'), [
    (0.9, 1), (0.89, None), (1.0, 1), (2.1, 2), (2.11, None), (5.1, 5),
])
def test_ends_take_the_nearest_within_the_tolerance(stamp_s, x):
    pose = line((1, 1, 0), (2, 2, 0), (3.5, 3.5, 0), (5, 5, 0))
    pose = Trajectory(pose.stamps_ns, pose.poses, max_gap_ns=SECOND).at(
        round(stamp_s * SECOND), SECOND // 10)
    assert (None if pose is None else pose[0, 3]) == x


def test_a_gap_is_not_bridged():
    trajectory = line((0, 0, 0), (2, 2, 0), (4.1, 4.1, 0))
    assert trajectory.at(SECOND)[0, 3] == pytest.approx(1)  # exactly the gap of 2 s
    assert trajectory.at(3 * SECOND, SECOND // 2) is None
    assert trajectory.at(4 * SECOND, SECOND // 5)[0, 3] == 4.1


def test_at_a_stamp_no_tolerance_is_needed():
    trajectory = line((1, 1, 0), (9, 9, 0))
    assert [trajectory.at(second * SECOND)[0, 3] for second in (1, 9)] == [1, 9]
    assert trajectory.at(9 * SECOND + 1) is None


def test_the_pose_returned_is_a_copy():
    trajectory = line((1, 1, 0))
    trajectory.at(SECOND)[0, 3] = 99
    assert trajectory.at(SECOND)[0, 3] == 1


def test_poses_are_sorted_and_the_first_of_equal_stamps_stays():
    trajectory = line((3, 3, 0), (1, 1, 0), (3, 33, 0))
    assert trajectory.stamps_ns.tolist() == [SECOND, 3 * SECOND]
    assert trajectory.poses[:, 0, 3].tolist() == [1, 3]


def test_an_empty_trajectory_knows_nothing():
    trajectory = Trajectory.from_poses([])
    assert trajectory.poses.shape == (0, 4, 4) and len(trajectory) == 0
    assert trajectory.at(0, SECOND) is None


def test_angle_between_interpolated_poses_grows_evenly():
    trajectory = Trajectory.from_poses([
        StampedPose(0, np.eye(4)),
        StampedPose(SECOND, pose_from_quaternion((0, 0, 0), (0.5, 0.5, 0.5, 0.5))),
    ])
    angles = [angle_deg(np.eye(4), trajectory.at(SECOND * i // 4)) for i in range(5)]
    np.testing.assert_allclose(angles, [0, 30, 60, 90, 120], atol=1e-6)


# A clock that was set back


def run_of(x, stamps):
    """Build the poses of one run, all at x."""
    return [StampedPose(stamp * SECOND, pose_from_yaw(x, 0, 0)) for stamp in stamps]


def test_time_that_falls_by_more_than_the_tolerance_is_a_restart():
    assert restarts([]) == restarts([5]) == []
    assert restarts([0, SECOND, SECOND - POSE_TOLERANCE_NS, 2 * SECOND]) == []
    assert restarts([0, SECOND, SECOND - POSE_TOLERANCE_NS - 1, SECOND, 0]) == [2, 4]


@pytest.fixture
def two_runs():
    """Return nine poses at x 1, recorded 0.1 s after their stamps, then five at x 2 from 20 s."""
    return Trajectory.from_stretches(
        [run_of(1, range(9)), run_of(2, range(4, 9))], [SECOND // 10, 20 * SECOND],
        [SECOND // 10, 16 * SECOND])


@pytest.mark.parametrize('stamp', [4, 6, 8])
@pytest.mark.parametrize('late_s', [0.0, 0.05, 0.9])
def test_each_run_of_a_clock_has_its_own_poses(two_runs, stamp, late_s):
    stamp_ns, late_ns = stamp * SECOND, round(late_s * SECOND)
    assert len(two_runs) == 14 and two_runs.starts == (0, 9)
    assert two_runs.at(stamp_ns, 0, stamp_ns + late_ns)[0, 3] == 1
    assert two_runs.at(stamp_ns, 0, stamp_ns + 16 * SECOND + late_ns)[0, 3] == 2
    assert two_runs.at(stamp_ns) is None


def test_a_run_lends_no_pose_to_another(two_runs):
    assert two_runs.at(2 * SECOND)[0, 3] == two_runs.at(2 * SECOND, 0, 2 * SECOND)[0, 3] == 1
    assert two_runs.at(2 * SECOND, 0, 30 * SECOND) is None


def test_images_that_come_late_keep_their_run_where_a_clock_was_set_back_a_little():
    runs = Trajectory.from_stretches(
        [run_of(1, range(10)), run_of(2, range(9, 20))], [0, 9 * SECOND + 1],
        [0, SECOND // 2])
    late = 6 * SECOND // 10
    assert [runs.at(stamp * SECOND, 0, stamp * SECOND + late)[0, 3] for stamp in range(8)] == \
        [1] * 8
    assert [runs.at(stamp * SECOND, 0, stamp * SECOND + SECOND // 2 + late)[0, 3]
            for stamp in range(12, 20)] == [2] * 8


def test_poses_of_two_runs_are_not_mixed_at_the_seam():
    runs = Trajectory.from_stretches(
        [run_of(1, [0, 1]), run_of(9, [0, 1])], [0, 2 * SECOND], [0, 2 * SECOND])
    assert runs.at(SECOND // 2, 0, SECOND // 2)[0, 3] == 1
    assert runs.at(SECOND // 2, 0, SECOND * 5 // 2)[0, 3] == 9
