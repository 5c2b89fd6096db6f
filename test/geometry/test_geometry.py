# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Poses and the metric plane, against numbers that can be checked by hand."""

import math

import numpy as np
import pytest

from r2former_ros.geometry.poses import (
    BODY_T_OPTICAL,
    angle_deg,
    distance_m,
    inverse,
    local_east_north,
    pose_from_quaternion,
    pose_from_yaw,
    quaternion_xyzw,
    travel_headings_rad,
    yaw_rad,
)

HALF = math.sqrt(0.5)
QUARTERS = {'x': (HALF, 0, 0, HALF), 'y': (0, HALF, 0, HALF), 'z': (0, 0, HALF, HALF)}


@pytest.mark.parametrize(('axis', 'moved'), [
    ('x', (1, -3, 2)), ('y', (3, 2, -1)), ('z', (-2, 1, 3)),
])
def test_quarter_turn_moves_a_point(axis, moved):
    pose = pose_from_quaternion((10, 20, 30), QUARTERS[axis])
    np.testing.assert_allclose(pose @ (1, 2, 3, 1), (*np.add(moved, (10, 20, 30)), 1), atol=1e-12)
    assert pose.shape == (4, 4) and pose.dtype == np.float64


def test_quaternion_is_normalised_and_comes_back_with_positive_w():
    pose = pose_from_quaternion((0, 0, 0), (-2 * 0.1, -2 * 0.5, 2 * 0.5, -2 * 0.7))
    np.testing.assert_allclose(quaternion_xyzw(pose), (0.1, 0.5, -0.5, 0.7))


@pytest.mark.parametrize('xyzw', [(0, 0, 0, 0), (0, 0, math.nan, 1), (math.inf, 0, 0, 1)])
def test_no_rotation(xyzw):
    with pytest.raises(ValueError, match='is not a rotation'):
        pose_from_quaternion((0, 0, 0), xyzw)


@pytest.mark.parametrize('yaw', [-3.0, -1.0, 0.0, 0.5, 3.1])
def test_yaw_round_trip(yaw):
    pose = pose_from_yaw(1.0, 2.0, yaw, z=3.0)
    assert yaw_rad(pose) == pytest.approx(yaw)
    np.testing.assert_allclose(pose[:3, 3], (1, 2, 3))
    np.testing.assert_allclose(
        quaternion_xyzw(pose), (0, 0, math.sin(yaw / 2), math.cos(yaw / 2)), atol=1e-12)


def test_yaw_turns_from_x_to_y():
    np.testing.assert_allclose(pose_from_yaw(0, 0, math.pi / 2)[:3, 0], (0, 1, 0), atol=1e-12)


def test_yaw_of_a_tilted_pose_is_where_its_x_axis_points():
    roll = pose_from_quaternion((0, 0, 0), QUARTERS['x'])
    assert yaw_rad(pose_from_yaw(0, 0, 0.7) @ roll) == pytest.approx(0.7)


def test_inverse():
    pose = pose_from_quaternion((1, -2, 3), (0.1, 0.2, 0.3, 0.9))
    np.testing.assert_allclose(inverse(pose) @ pose, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(inverse(pose_from_yaw(5, 0, math.pi / 2))[:3, 3], (0, 5, 0),
                               atol=1e-12)


def test_distance_and_angle():
    a, b = pose_from_yaw(1, 1, 0.2), pose_from_yaw(4, 5, 0.2 + math.pi / 3, z=12)
    assert distance_m(a, b) == pytest.approx(13)
    assert angle_deg(a, b) == angle_deg(b, a) == pytest.approx(60)
    assert angle_deg(a, a) == 0
    assert angle_deg(pose_from_yaw(0, 0, 3.0), pose_from_yaw(0, 0, -3.0)) == pytest.approx(
        math.degrees(2 * math.pi - 6))


def test_optical_axes():
    columns = BODY_T_OPTICAL[:3, :3].T  # right, down and forward of the camera in the body
    assert columns.tolist() == [[0, -1, 0], [0, 0, -1], [1, 0, 0]]


def test_metres_of_a_degree():
    equator = local_east_north([0, 0.001], [0.001, 0], (0, 0))
    np.testing.assert_allclose(equator, [[111.3195, 0], [0, 110.5743]], atol=1e-3)
    at_60_north = local_east_north(60, 10.001, (60, 10))
    np.testing.assert_allclose(at_60_north, [[55.8002, 0]], atol=1e-3)


@pytest.mark.parametrize(('degrees', 'tolerance_m'), [(0.09, 0.005), (0.45, 0.6)])
def test_accuracy_along_a_meridian(degrees, tolerance_m):
    latitudes = np.radians(np.linspace(50, 50 + degrees, 20_001))
    e2 = 0.00669437999014
    metres = np.trapezoid(
        6378137 * (1 - e2) / (1 - e2 * np.sin(latitudes) ** 2) ** 1.5, latitudes)
    east, north = local_east_north(50 + degrees, 8, (50, 8))[0]
    assert north == pytest.approx(metres, abs=tolerance_m)
    assert east == pytest.approx(0, abs=1e-6)


def test_the_date_line_is_no_border():
    east, north = local_east_north(0, -179.999, (0, 179.999))[0]
    assert (east, north) == pytest.approx((222.639, 0), abs=1e-2)


def test_headings_follow_the_track_and_not_the_noise():
    east = [(x, 0.0) for x in range(6)]
    rest = [(5.0 + 0.1 * (-1) ** i, 0.1 * (-1) ** i) for i in range(10)]
    north = [(5.0, y) for y in range(1, 7)]
    headings = travel_headings_rad(np.array(east + rest + north), travel_m=2.0)
    assert headings.shape == (22,)
    np.testing.assert_allclose(headings[:4], 0)
    assert (np.abs(headings[4:6]) < math.pi / 2).all()
    np.testing.assert_allclose(headings[-3:], math.pi / 2, atol=0.1)


@pytest.mark.parametrize('count', [1, 5])
def test_without_movement_the_heading_is_0(count):
    assert travel_headings_rad(np.full((count, 2), 3.0)).tolist() == [0.0] * count
