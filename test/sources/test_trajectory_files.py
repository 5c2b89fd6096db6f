# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files of poses: TUM, KITTI and CSV."""

import math

import numpy as np
import pytest

from r2former_ros.errors import FileError, PoseError
from r2former_ros.geometry.poses import pose_from_quaternion, pose_from_yaw
from r2former_ros.records import StampedPose
from r2former_ros.sources.trajectory_files import read_image_poses, read_trajectory, write_tum

SECOND = 1_000_000_000
STAMP = 1_403_636_579_763_555_584  # a float of seconds would miss it by 40 ns


def written(tmp_path, text, name='poses.txt'):
    path = tmp_path / name
    path.write_text(text, encoding='utf-8')
    return path


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
    write_tum(tmp_path / 'out.tum', [StampedPose(SECOND, pose_from_yaw(10, 0, 0))])
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
    with pytest.raises(PoseError, match='expected poses_times.txt or times.txt beside it'):
        read_trajectory(path)
    times = written(tmp_path, '1\n', 'times.txt')
    with pytest.raises(PoseError, match='times.txt: has 1 stamps, expected 2'):
        read_trajectory(path)
    times.write_text('1\nsoon\n')
    with pytest.raises(PoseError, match="times.txt:2: found 'soon', expected a stamp in s"):
        read_trajectory(path)
    path.write_text(STRAIGHT + '2 ' * 12)
    times.write_text('1\n2\n')
    with pytest.raises(PoseError, match='poses.txt:2: .* are not a rotation'):
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
    with pytest.raises(PoseError, match=match):
        read_image_poses(written(tmp_path, text))


@pytest.mark.parametrize(('text', 'match'), [
    ('', 'poses.txt: has no line of data; expected TUM'),
    ('# only a comment\n', 'poses.txt: has no line of data'),
    ('hello world\n', r'poses.txt:1: found 2 fields, expected TUM \(8 numbers.*KITTI.*CSV'),
    ('#\n1 0 0 0 0 0 0 1\n2 0 0 0 0 0 1\n', 'poses.txt:3: found 7 fields, expected 8 numbers'),
    ('1 0 0 zero 0 0 0 1\n', "poses.txt:1: found 'zero', expected a finite number"),
    ('1 0 0 nan 0 0 0 1\n', "poses.txt:1: found 'nan', expected a finite number"),
    ('1 0 0 0 0 0 0 0\n', r'poses.txt:1: quaternion \[0.0, 0.0, 0.0, 0.0\] is not a rotation'),
    ('1403636579763555584 0 0 0 0 0 0 1\n', 'poses.txt:1: stamp .* out of range, expected s'),
    ('x_m,y_m,yaw_rad\n1,2,3\n', 'poses.txt:1: no column stamp_ns or t_s'),
    ('t_s,x_m,y_m\n1,2,3\n', 'poses.txt:1: no column yaw_rad'),
    ('t_s,x_m,y_m,yaw_rad\n', 'poses.txt:1: no line follows the header'),
    ('t_s,x_m,y_m,yaw_rad\n1,2,3,4\n1,2,3\n', 'poses.txt:3: found 3 fields, expected 4'),
    ('stamp_ns,x_m,y_m,yaw_rad\nx,2,3,4\n', "poses.txt:2: found 'x', expected a stamp in ns"),
])
def test_malformed_files(tmp_path, text, match):
    with pytest.raises(PoseError, match=match):
        read_trajectory(written(tmp_path, text))


def test_files_that_are_no_text(tmp_path):
    with pytest.raises(FileError, match='nowhere.txt: cannot be read'):
        read_trajectory(tmp_path / 'nowhere.txt')
    (tmp_path / 'picture').write_bytes(b'\xff\xd8\xff\xe0')
    with pytest.raises(FileError, match='picture: is not a text file'):
        read_trajectory(tmp_path / 'picture')


# A clock that was set back


@pytest.mark.parametrize('text', [
    '10 0 0 0 0 0 0 1\n11 1 0 0 0 0 0 1\n# reset\n3 9 0 0 0 0 0 1\n',
    't_s,x_m,y_m,yaw_rad\n10,0,0,0\n11,1,0,0\n3,9,0,0\n',
])
def test_time_that_falls_is_refused_with_its_line(tmp_path, text):
    with pytest.raises(PoseError, match=r'poses.txt:4: time runs backwards by 8.000 s; split'):
        read_trajectory(written(tmp_path, text))


def test_times_of_kitti_that_fall_are_refused(tmp_path):
    path = written(tmp_path, STRAIGHT * 3)
    written(tmp_path, '1\n2\n0\n', 'times.txt')
    with pytest.raises(PoseError, match=r'times.txt:3: time runs backwards by 2.000 s'):
        read_trajectory(path)


def test_lines_that_are_a_little_out_of_order_are_sorted(tmp_path):
    text = '1 0 0 0 0 0 0 1\n1.2 2 0 0 0 0 0 1\n1.1 1 0 0 0 0 0 1\n'
    assert read_trajectory(written(tmp_path, text)).poses[:, 0, 3].tolist() == [0, 1, 2]


# Numbers that are none


@pytest.mark.parametrize(('text', 'said'), [
    ('0 1e300 0 0 0 0 0 1\n', 'position'),
    ('0 0 0 0 0 0 0 0\n', 'quaternion'),
    ('0 0 0 0 1e300 0 0 1e300\n', 'quaternion'),
    ('0 0 0 -inf 0 0 0 1\n', 'finite number'),
    ('t_s,x_m,y_m,yaw_rad\n0,0,9e99,0\n', 'position'),
    ('t_s,x_m,y_m,yaw_rad\n0,0,0,nan\n', 'finite number'),
    ('t_s,x_m,x_m,y_m,yaw_rad\n0,0,0,0,0\n', 'named twice'),
    ('1e99 0 0 0 0 0 0 1\n', 'out of range'),
    ('-1 0 0 0 1 0 0 0 1 0 0 0\n', 'not a rotation'),
    ('1 0 0 1e300 0 1 0 0 0 0 1 0\n', 'position'),
    ('1 0 0 0 0 1 0 0 0 0 -1 0\n', 'not a rotation'),
])
def test_numbers_that_are_no_pose_are_refused_with_their_line(tmp_path, text, said):
    written(tmp_path, '0\n', 'times.txt')
    with pytest.raises(PoseError, match=rf'poses.txt:\d: .*{said}'):
        read_trajectory(written(tmp_path, text))
