# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Poses as (4, 4) float64 matrices, and the metric plane of satellite fixes.

Body axes are x forward, y left, z up, and yaw counts from x towards y (ROS REP 103). Quaternions
are xyzw, and appear only where poses come from or go to a message or a file.

Poses from outside are made here, and satellite fixes pass ``require_fix``, whether they come from
a message, a bag, a trajectory or a CSV file: numbers that are none stop at this door.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from ..errors import PoseError
from ..records import Pose

BODY_T_OPTICAL: Pose = np.array([
    [0.0, 0.0, 1.0, 0.0],
    [-1.0, 0.0, 0.0, 0.0],
    [0.0, -1.0, 0.0, 0.0],
    [0.0, 0.0, 0.0, 1.0],
])
"""Takes optical axes (x right, y down, z forward) to body axes (x forward, y left, z up)."""

FARTHEST_M = 1e8
"""A coordinate beyond this is not a measurement: it is more than twice around the earth."""
UNSET_DEG = 1e-7
"""A fix this close to 0, 0 (1 cm) comes from a receiver that did not set it."""

_WGS84_RADIUS_M = 6_378_137.0
_WGS84_FLATTENING = 1 / 298.257223563


def pose_from_quaternion(xyz: ArrayLike, xyzw: ArrayLike) -> Pose:
    """
    Return the pose (4, 4) at ``xyz`` (3,) with the rotation of a quaternion of any length > 0.

    :raises PoseError: if the quaternion is zero, or a number is not finite or beyond
        ``FARTHEST_M``.
    """
    quaternion = np.asarray(xyzw, np.float64)
    with np.errstate(over='ignore'):
        length = float(np.linalg.norm(quaternion))
    if not (math.isfinite(length) and length > 1e-6):
        raise PoseError(f'quaternion {quaternion.tolist()} is not a rotation')
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    pose[:3, 3] = xyz
    _require_position(pose)
    return pose


def pose_from_yaw(x: float, y: float, yaw: float, z: float = 0.0) -> Pose:
    """
    Return the upright pose (4, 4) at a position in metres, heading ``yaw`` in radians.

    :raises PoseError: if a number is not finite, or beyond ``FARTHEST_M``.
    """
    if not math.isfinite(yaw):
        raise PoseError(f'yaw {yaw} is not finite')
    pose = np.eye(4)
    pose[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    pose[:3, 3] = x, y, z
    _require_position(pose)
    return pose


def require_pose(pose: Pose) -> Pose:
    """
    Return a pose (4, 4) that can be computed with.

    :raises PoseError: if it is not finite, further away than ``FARTHEST_M``, or not a rotation
        and a translation.
    """
    _require_position(pose)
    rotation = pose[:3, :3]
    with np.errstate(all='ignore'):
        orthogonal = np.allclose(rotation @ rotation.T, np.eye(3), atol=0.01)
    if not (orthogonal and np.linalg.det(rotation) > 0):
        raise PoseError('the upper left 3x3 numbers are not a rotation')
    return pose


def require_fix(
    latitude: float, longitude: float, status: int = 0
) -> tuple[float, float]:
    """
    Return latitude and longitude in degrees of a satellite fix (``sensor_msgs/NavSatFix``).

    :param status: of the receiver: 0 and above are fixes, -1 is none, -2 is unknown, which is
        also what a driver leaves that never sets it (since Jazzy).
    :raises PoseError: if there is no fix, or the degrees are not a place on earth; 0, 0 counts as
        unset.
    """
    if status < 0:
        raise PoseError(f'status {status} means no fix')
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise PoseError(f'latitude {latitude}, longitude {longitude} is not a place on earth')
    if abs(latitude) < UNSET_DEG and abs(longitude) < UNSET_DEG:
        raise PoseError('latitude 0, longitude 0 is not set')
    return float(latitude), float(longitude)


def quaternion_xyzw(pose: Pose) -> NDArray[np.float64]:
    """Return the rotation of a pose as a unit quaternion (4,) with w >= 0."""
    quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat(canonical=True)
    return np.asarray(quaternion, np.float64)


def yaw_rad(pose: Pose) -> float:
    """Return the heading of the x axis in the horizontal plane, in [-pi, pi]."""
    return math.atan2(pose[1, 0], pose[0, 0])


def inverse(pose: Pose) -> Pose:
    """Return ``b_T_a`` for ``a_T_b``."""
    inverted = np.eye(4)
    inverted[:3, :3] = pose[:3, :3].T
    inverted[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverted


def distance_m(a: Pose, b: Pose) -> float:
    """Return the distance between the positions of two poses, height included."""
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3]))


def angle_deg(a: Pose, b: Pose) -> float:
    """Return the angle of the rotation between two poses, in [0, 180]."""
    return math.degrees(Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude())


def local_east_north(
    latitude: ArrayLike, longitude: ArrayLike, origin: tuple[float, float]
) -> NDArray[np.float64]:
    """
    Return positions (N, 2) in metres east and north of ``origin`` (latitude, longitude).

    All angles are degrees on WGS 84. The plane touches the ellipsoid at the origin: at 10 km from
    there lengths are short by at most 1.2 mm per km, at 50 km by 31 mm per km. Height above the
    ellipsoid is ignored; it would lengthen them by 16 mm per km for every 100 m.
    """
    offset = _earth_centred(latitude, longitude) - _earth_centred(*origin)
    lat, lon = np.radians(origin)
    east = [-np.sin(lon), np.cos(lon), 0.0]
    north = [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)]
    return np.asarray(offset @ np.array([east, north]).T, np.float64)


def latitude_longitude(
    xy: NDArray[np.float64], origin: tuple[float, float]
) -> NDArray[np.float64]:
    """
    Return latitude and longitude (N, 2) in degrees of positions (N, 2): undo ``local_east_north``.

    Repeated steps with the lengths of a degree at the origin; up to 50 km from there and 70
    degrees from the equator, six of them end within 0.01 mm.
    """
    degree_m = math.radians(_WGS84_RADIUS_M)
    scale = degree_m * np.array([1.0, max(math.cos(math.radians(origin[0])), 1e-9)])
    degrees = np.tile(np.asarray(origin, np.float64), (len(xy), 1))
    for _ in range(6):
        missing = xy - local_east_north(degrees[:, 0], degrees[:, 1], origin)
        degrees += missing[:, ::-1] / scale
    return degrees


def travel_headings_rad(xy: NDArray[np.float64], travel_m: float = 2.0) -> NDArray[np.float64]:
    """
    Return the direction of travel (N,) at each of the positions (N, 2), in time order.

    The track is cut where it has moved ``travel_m`` since the last cut, so that noise of a sensor
    at rest turns nothing; a position takes the direction of its piece, and the last unfinished
    piece that of the one before. A track that never moves so far gives 0 everywhere.
    """
    cuts = [0]
    for index in range(1, len(xy)):
        if np.linalg.norm(xy[index] - xy[cuts[-1]]) >= travel_m:
            cuts.append(index)
    if len(cuts) < 2:
        return np.zeros(len(xy))
    steps = np.diff(xy[cuts], axis=0)
    headings = np.arctan2(steps[:, 1], steps[:, 0])
    piece = np.searchsorted(cuts, np.arange(len(xy)), side='right') - 1
    return np.asarray(headings[np.minimum(piece, len(headings) - 1)], np.float64)


def _require_position(pose: Pose) -> None:
    position = pose[:3, 3].tolist()
    if not all(abs(value) <= FARTHEST_M for value in position):  # false for NaN, too
        raise PoseError(f'position {position} is not finite, or beyond {FARTHEST_M:.0e} m')


def _earth_centred(latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.float64]:
    """Return points (N, 3) on the ellipsoid, in metres from the centre of the earth."""
    lat = np.atleast_1d(np.radians(np.asarray(latitude, np.float64)))
    lon = np.atleast_1d(np.radians(np.asarray(longitude, np.float64)))
    squeeze = (1 - _WGS84_FLATTENING) ** 2
    normal_m = _WGS84_RADIUS_M / np.sqrt(np.cos(lat) ** 2 + squeeze * np.sin(lat) ** 2)
    x = normal_m * np.cos(lat) * np.cos(lon)
    y = normal_m * np.cos(lat) * np.sin(lon)
    return np.stack([x, y, squeeze * normal_m * np.sin(lat)], axis=1)
