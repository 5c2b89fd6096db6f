# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Trajectory files and interpolation."""

import math

import numpy as np
import pytest

from r2former_ros.errors import BagError, FileError
from r2former_ros.geometry.poses import angle_deg, pose_from_quaternion, pose_from_yaw, yaw_rad
from r2former_ros.geometry.trajectories import (
    Trajectory,
    read_image_poses,
    read_trajectory,
    write_tum,
)
from r2former_ros.records import StampedPose

SECOND = 1_000_000_000
STAMP = 1_403_636_579_763_555_584  # a float of seconds would miss it by 40 ns


def line(*poses):
    """Build a trajectory of (stamp in s, x, yaw)."""
    return Trajectory.from_poses(
        StampedPose(round(stamp * SECOND), pose_from_yaw(x, 0, yaw)) for stamp, x, yaw in poses)


def written(tmp_path, text, name='poses.txt'):
    path = tmp_path / name
    path.write_text(text, encoding='utf-8')
    return path


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


# TUM


def test_tum(tmp_path):
    path = written(tmp_path, '# comment\n\n1403636579.763555584 1 2 3 0 0 0.6 0.8\n')
    trajectory = read_trajectory(path)
    assert trajectory.stamps_ns.tolist() == [STAMP]
    np.testing.assert_allclose(
        trajectory.poses[0], pose_from_quaternion((1, 2, 3), (0, 0, 0.6, 0.8)))


@pytest.mark.parametrize(('text', 'stamp_ns'), [
    ('1.403636579763555584e+09', STAMP), ('0.000000001', 1), ('5', 5 * SECOND),
    ('1403636579.7635555844', STAMP), ('-1.5', -1_500_000_000),
])
def test_stamps_are_exact(tmp_path, text, stamp_ns):
    trajectory = read_trajectory(written(tmp_path, f'{text} 0 0 0 0 0 0 1\n'))
    assert trajectory.stamps_ns.tolist() == [stamp_ns]


def test_tum_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    turned = [pose_from_quaternion(rng.normal(0, 1000, 3), rng.normal(size=4)) for _ in range(5)]
    poses = [StampedPose(STAMP + i, pose) for i, pose in enumerate(turned)]
    write_tum(tmp_path / 'out.tum', poses)
    read = read_trajectory(tmp_path / 'out.tum')
    assert [pose.stamp_ns for pose in read] == [pose.stamp_ns for pose in poses]
    for pose, original in zip(read, poses, strict=True):
        np.testing.assert_allclose(pose.pose, original.pose, atol=1e-8)


def test_a_trajectory_can_be_written(tmp_path):
    write_tum(tmp_path / 'out.tum', line((1, 10, 0)))
    assert (tmp_path / 'out.tum').read_text().splitlines()[1] == (
        '1.000000000 10.000000000 0.000000000 0.000000000 '
        '0.000000000 0.000000000 0.000000000 1.000000000')


def test_tum_that_cannot_be_written(tmp_path):
    with pytest.raises(FileError, match='no_folder.*cannot be written'):
        write_tum(tmp_path / 'no_folder' / 'out.tum', [])


# KITTI

STRAIGHT = '1 0 0 0 0 1 0 0 0 0 1 0\n'
FORWARD_AND_RIGHT = '0 0 1 2 0 1 0 -1 -1 0 0 10\n'
"""10 m forward, 2 m to the right, 1 m up, turned by 90 degrees to the right."""


@pytest.mark.parametrize('name', ['times.txt', '00_times.txt'])
def test_kitti_turns_into_body_axes(tmp_path, name):
    path = written(tmp_path, STRAIGHT + FORWARD_AND_RIGHT, '00.txt')
    written(tmp_path, '0.000000e+00\n1.038000e-01\n', name)
    trajectory = read_trajectory(path)
    assert trajectory.stamps_ns.tolist() == [0, 103_800_000]
    np.testing.assert_allclose(trajectory.poses[0], np.eye(4))
    np.testing.assert_allclose(
        trajectory.poses[1], pose_from_yaw(10, -2, -math.pi / 2, z=1), atol=1e-12)


def test_kitti_in_body_axes_with_times_given(tmp_path):
    path = written(tmp_path, STRAIGHT + FORWARD_AND_RIGHT)
    times = written(tmp_path, '1\n2\n', 'stamps')
    trajectory = read_trajectory(path, times, optical=False)
    assert trajectory.stamps_ns.tolist() == [SECOND, 2 * SECOND]
    kitti = np.loadtxt(path).reshape(2, 3, 4)
    np.testing.assert_array_equal(trajectory.poses[:, :3], kitti)


def test_kitti_errors(tmp_path):
    path = written(tmp_path, STRAIGHT + STRAIGHT)
    with pytest.raises(BagError, match='expected poses_times.txt or times.txt beside it'):
        read_trajectory(path)
    times = written(tmp_path, '1\n', 'times.txt')
    with pytest.raises(BagError, match='times.txt: has 1 stamps, expected 2'):
        read_trajectory(path)
    times.write_text('1\nsoon\n')
    with pytest.raises(BagError, match="times.txt:2: found 'soon', expected a stamp in s"):
        read_trajectory(path)
    path.write_text(STRAIGHT + '2 ' * 12)
    times.write_text('1\n2\n')
    with pytest.raises(BagError, match='poses.txt:2: expected rows of a rotation'):
        read_trajectory(path)


# CSV


def test_csv(tmp_path):
    text = f'\ufeffstamp_ns, x_m, y_m, yaw_rad, z_m, note\r\n{STAMP},1,2,0.5,3,"a, b"\r\n'
    trajectory = read_trajectory(written(tmp_path, text))
    assert trajectory.stamps_ns.tolist() == [STAMP]
    np.testing.assert_allclose(trajectory.poses[0], pose_from_yaw(1, 2, 0.5, z=3))


def test_csv_with_seconds_and_no_height(tmp_path):
    trajectory = read_trajectory(written(tmp_path, 'y_m,x_m,yaw_rad,t_s\n2,1,0.5,1.000000001\n'))
    assert trajectory.stamps_ns.tolist() == [1_000_000_001]
    np.testing.assert_allclose(trajectory.poses[0], pose_from_yaw(1, 2, 0.5))


def test_poses_of_pictures(tmp_path):
    path = written(tmp_path, 'file,x_m,y_m,yaw_rad\nb.jpg,1,2,0.5\na.jpg,3,4,0\n')
    poses = read_image_poses(path)
    assert list(poses) == ['b.jpg', 'a.jpg']
    assert poses['b.jpg'].stamp_ns == 0
    np.testing.assert_allclose(poses['b.jpg'].pose, pose_from_yaw(1, 2, 0.5))


def test_poses_of_pictures_with_stamps(tmp_path):
    path = written(tmp_path, 't_s,file,x_m,y_m,yaw_rad\n2,b.jpg,1,2,0.5\n')
    assert read_image_poses(path)['b.jpg'].stamp_ns == 2 * SECOND
    assert read_trajectory(path).stamps_ns.tolist() == [2 * SECOND]


@pytest.mark.parametrize(('text', 'match'), [
    ('t_s,x_m,y_m,yaw_rad\n1,2,3,4\n', ':1: expected a CSV header with file'),
    ('file,x_m,y_m,yaw_rad\na,2,3,4\na,2,3,4\n', "'a' is listed twice"),
])
def test_malformed_poses_of_pictures(tmp_path, text, match):
    with pytest.raises(BagError, match=match):
        read_image_poses(written(tmp_path, text))


@pytest.mark.parametrize(('text', 'match'), [
    ('', 'poses.txt: has no line of data; expected TUM'),
    ('# only a comment\n', 'poses.txt: has no line of data'),
    ('hello world\n', r'poses.txt:1: found 2 fields, expected TUM \(8 numbers.*KITTI.*CSV'),
    ('#\n1 0 0 0 0 0 0 1\n2 0 0 0 0 0 1\n', 'poses.txt:3: found 7 fields, expected 8 numbers'),
    ('1 0 0 zero 0 0 0 1\n', "poses.txt:1: found 'zero', expected a finite number"),
    ('1 0 0 nan 0 0 0 1\n', "poses.txt:1: found 'nan', expected a finite number"),
    ('1 0 0 0 0 0 0 0\n', r'poses.txt:1: quaternion \[0.0, 0.0, 0.0, 0.0\] is no rotation'),
    ('1403636579763555584 0 0 0 0 0 0 1\n', 'poses.txt:1: stamp .* out of range, expected s'),
    ('x_m,y_m,yaw_rad\n1,2,3\n', 'poses.txt:1: no column stamp_ns or t_s'),
    ('t_s,x_m,y_m\n1,2,3\n', 'poses.txt:1: no column yaw_rad'),
    ('t_s,x_m,y_m,yaw_rad\n', 'poses.txt:1: no line follows the header'),
    ('t_s,x_m,y_m,yaw_rad\n1,2,3,4\n1,2,3\n', 'poses.txt:3: found 3 fields, expected 4'),
    ('stamp_ns,x_m,y_m,yaw_rad\nx,2,3,4\n', "poses.txt:2: found 'x', expected a stamp in ns"),
])
def test_malformed_files(tmp_path, text, match):
    with pytest.raises(BagError, match=match):
        read_trajectory(written(tmp_path, text))


def test_files_that_are_no_text(tmp_path):
    with pytest.raises(FileError, match='nowhere.txt: cannot be read'):
        read_trajectory(tmp_path / 'nowhere.txt')
    (tmp_path / 'picture').write_bytes(b'\xff\xd8\xff\xe0')
    with pytest.raises(FileError, match='picture: is not a text file'):
        read_trajectory(tmp_path / 'picture')


def test_angle_between_interpolated_poses_grows_evenly():
    trajectory = Trajectory.from_poses([
        StampedPose(0, np.eye(4)),
        StampedPose(SECOND, pose_from_quaternion((0, 0, 0), (0.5, 0.5, 0.5, 0.5))),
    ])
    angles = [angle_deg(np.eye(4), trajectory.at(SECOND * i // 4)) for i in range(5)]
    np.testing.assert_allclose(angles, [0, 30, 60, 90, 120], atol=1e-6)
