# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Messages to records and back: the only place where quaternions and ROS times appear.

Quaternions are xyzw. A message of hypotheses holds one point per hypothesis, best first; see
``HYPOTHESIS``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose as PoseMessage
from geometry_msgs.msg import (
    PoseStamped,
    PoseWithCovarianceStamped,
    Transform,
    TransformStamped,
    Vector3,
)
from nav_msgs.msg import Odometry, Path
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2, PointField
from sensor_msgs.msg import Image as ImageMessage
from std_msgs.msg import Header

from ..errors import PoseError
from ..geometry.poses import pose_from_quaternion, quaternion_xyzw
from ..records import (
    NOT_VERIFIED,
    Camera,
    Frame,
    Hypothesis,
    LoopClosure,
    Place,
    Pose,
    RelativePose,
    StampedPose,
    View,
)
from ..sources.encodings import decode_compressed, decode_image

HYPOTHESIS = np.dtype([
    ('x', '<f4'), ('y', '<f4'), ('z', '<f4'),
    ('qx', '<f4'), ('qy', '<f4'), ('qz', '<f4'), ('qw', '<f4'),
    ('score', '<f4'), ('similarity', '<f4'), ('inliers', '<i4'), ('place_id', '<u4'),
    ('stamp_sec', '<i4'), ('stamp_nanosec', '<u4'),
    ('x_m', '<f8'), ('y_m', '<f8'), ('z_m', '<f8'), ('probability', '<f4'), ('metric', '<i4'),
])
"""
Position and orientation are NaN for a place whose pose is unknown; inliers -1: not verified.

x, y and z are float32, as viewers expect: 0.5 m apart at a UTM northing. x_m, y_m and z_m hold the
same position in full. probability is that of being right, NaN if nothing tells it. metric is 1 if
a pose in metres was accepted at this place, 0 if one was measured and refused, -1 if none was.
"""

LOOP = np.dtype(HYPOTHESIS.descr + [
    (f'view_{name}', '<f4') for name in ('qx', 'qy', 'qz', 'qw', 'dx', 'dy', 'dz')
] + [
    (f'metric_{name}', '<f8') for name in ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw',
                                           'sigma_m', 'sigma_deg')
])
"""
A hypothesis, then the rotation of place_T_query and the unit vector to the query; or NaN.

metric_x to metric_qw are place_T_query in metres, with the standard deviations of its position and
rotation along their worst axes; or NaN.
"""

POINT_FIELD_TYPES = {
    'f4': PointField.FLOAT32, 'f8': PointField.FLOAT64,
    'i4': PointField.INT32, 'u4': PointField.UINT32,
}
ADDED_LATER = ('x_m', 'y_m', 'z_m', 'probability', 'metric', *(
    name for name in LOOP.names or () if name.startswith('metric_')))
"""Fields that recordings of earlier versions lack."""
NS = 1_000_000_000


@dataclass(frozen=True)
class Hypotheses:
    """A decoded message: hypotheses for the query image of ``stamp_ns``, best first."""

    stamp_ns: int
    frame_id: str
    hypotheses: tuple[Hypothesis, ...]


def frame_from(message: ImageMessage | CompressedImage) -> Frame:
    """
    Decode an image message, raw or compressed.

    :raises ImageError: if its pixels cannot be decoded.
    """
    decode = decode_compressed if isinstance(message, CompressedImage) else decode_image
    header = message.header
    return Frame(stamp_ns_from(header.stamp), decode(message), header.frame_id)


def stamp_ns_from(stamp: Time) -> int:
    """Return a ROS time in nanoseconds."""
    return int(stamp.sec) * NS + int(stamp.nanosec)


def stamp_from(stamp_ns: int) -> Time:
    """Return nanoseconds as a ROS time."""
    return Time(sec=stamp_ns // NS, nanosec=stamp_ns % NS)


def header_from(stamp_ns: int, frame_id: str) -> Header:
    """Return a message header."""
    return Header(stamp=stamp_from(stamp_ns), frame_id=frame_id)


def hypotheses_message(
    hypotheses: Sequence[Hypothesis], stamp_ns: int, frame_id: str
) -> PointCloud2:
    """Lay hypotheses out as points; the stamp is the query image's, the frame the map's."""
    points = np.array([_point(one) for one in hypotheses], HYPOTHESIS)
    return _cloud(points, header_from(stamp_ns, frame_id))


def hypotheses_from(message: PointCloud2) -> Hypotheses:
    """
    Read what ``hypotheses_message`` wrote, now or in an earlier version.

    :raises PoseError: if the message is of another kind, or a number in it is impossible.
    """
    points = _points(message, HYPOTHESIS)
    return Hypotheses(
        stamp_ns_from(message.header.stamp),
        message.header.frame_id,
        tuple(_hypothesis(point) for point in points),
    )


def loop_message(loop: LoopClosure, frame_id: str) -> PointCloud2:
    """Lay a loop closure out as a hypothesis with more fields; the stamp is the query image's."""
    view = [np.nan] * 7
    if loop.view is not None:
        turned = np.eye(4)
        turned[:3, :3] = loop.view.rotation
        view = [*quaternion_xyzw(turned), *loop.view.direction]
    points = np.array([(*_point(loop.hypothesis), *view, *_metric(loop.relative))], LOOP)
    return _cloud(points, header_from(loop.stamp_ns, frame_id))


def loops_from(message: PointCloud2) -> list[LoopClosure]:
    """
    Read what ``loop_message`` wrote; its frame id tells whether the place is in a saved map.

    :raises PoseError: if the message is of another kind, or a number in it is impossible.
    """
    stamp_ns = stamp_ns_from(message.header.stamp)
    points = _points(message, LOOP)
    return [LoopClosure(stamp_ns, _hypothesis(point), view=_view(point),
                        relative=_relative(point)) for point in points]


def pose_message(
    pose: Pose, covariance: NDArray[np.float64], stamp_ns: int, frame_id: str
) -> PoseWithCovarianceStamped:
    """Return ``map_T_camera`` with its covariance (6, 6) over x, y, z, roll, pitch, yaw."""
    message = PoseWithCovarianceStamped(header=header_from(stamp_ns, frame_id))
    message.pose.pose = pose_from(pose)
    message.pose.covariance = covariance.ravel().tolist()
    return message


def pose_from(pose: Pose) -> PoseMessage:
    """Return a pose (4, 4) as a message."""
    message = PoseMessage()
    x, y, z = map(float, pose[:3, 3])
    message.position.x, message.position.y, message.position.z = x, y, z
    qx, qy, qz, qw = map(float, quaternion_xyzw(pose))
    rotation = message.orientation
    rotation.x, rotation.y, rotation.z, rotation.w = qx, qy, qz, qw
    return message


def _point(hypothesis: Hypothesis) -> tuple[float, ...]:
    place = hypothesis.place
    pose = place.map_T_camera
    where = [np.nan] * 7 if pose is None else [*pose[:3, 3], *quaternion_xyzw(pose)]
    stamp = stamp_from(place.stamp_ns)
    return (*where, hypothesis.score, hypothesis.similarity, hypothesis.inliers, place.place_id,
            stamp.sec, stamp.nanosec, *where[:3], hypothesis.probability,
            -1 if hypothesis.metric is None else int(hypothesis.metric.accepted))


def stamped_pose_from(message: Odometry) -> StampedPose:
    """
    Read ``odom_T_base`` of an odometry message.

    :raises PoseError: if it holds no rotation, or a number that is not finite or far too large.
    """
    position, rotation = message.pose.pose.position, message.pose.pose.orientation
    pose = pose_from_quaternion(
        [position.x, position.y, position.z], [rotation.x, rotation.y, rotation.z, rotation.w])
    return StampedPose(stamp_ns_from(message.header.stamp), pose)


def camera_from(message: CameraInfo) -> Camera | None:
    """Read intrinsics; None where the message says that there are none (K is zero)."""
    if message.k[0] == 0.0 or message.width == 0 or message.height == 0:
        return None
    return Camera(
        np.reshape(message.k, (3, 3)).astype(np.float64), message.width, message.height,
        np.array(message.d or [0.0] * 4, np.float64), message.distortion_model,
    )


def path_message(poses: Sequence[StampedPose], stamp_ns: int, frame_id: str) -> Path:
    """Return a trajectory as a path."""
    return Path(header=header_from(stamp_ns, frame_id), poses=[
        PoseStamped(header=header_from(one.stamp_ns, frame_id), pose=pose_from(one.pose))
        for one in poses
    ])


def transform_message(
    pose: Pose, stamp_ns: int, frame_id: str, child_frame_id: str
) -> TransformStamped:
    """Return ``frame_T_child`` as a transform, as TF takes it."""
    message = pose_from(pose)
    position = message.position
    return TransformStamped(
        header=header_from(stamp_ns, frame_id), child_frame_id=child_frame_id,
        transform=Transform(translation=Vector3(x=position.x, y=position.y, z=position.z),
                            rotation=message.orientation))


def _cloud(points: np.ndarray, header: Header) -> PointCloud2:
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=_point_fields(points.dtype),
        is_bigendian=False,
        point_step=points.dtype.itemsize,
        row_step=points.nbytes,
        data=points.tobytes(),
        is_dense=not np.isnan(points['x']).any(),
    )


def _metric(relative: RelativePose | None) -> list[float]:
    if relative is None:
        return [np.nan] * 9
    pose = relative.place_T_query
    return [*pose[:3, 3], *quaternion_xyzw(pose), relative.sigma_m, relative.sigma_deg]


def _relative(point: np.void) -> RelativePose | None:
    """Read a relative pose; its covariance is a sphere as large as its worst axis."""
    if 'metric_x' not in (point.dtype.names or ()) or np.isnan(point['metric_x']):
        return None
    xyz, xyzw = ([float(point[f'metric_{name}']) for name in names]
                 for names in (('x', 'y', 'z'), ('qx', 'qy', 'qz', 'qw')))
    sigma_m, sigma_deg = float(point['metric_sigma_m']), float(point['metric_sigma_deg'])
    variances = [sigma_m**2] * 3 + [math.radians(sigma_deg) ** 2] * 3
    return RelativePose(pose_from_quaternion(xyz, xyzw), np.diag(variances))


def _view(point: np.void) -> View | None:
    """Read a view; its own inliers are not in the message."""
    xyzw = [float(point[f'view_{name}']) for name in ('qx', 'qy', 'qz', 'qw')]
    if np.isnan(xyzw).any():
        return None
    direction = np.array([point[f'view_{name}'] for name in ('dx', 'dy', 'dz')], np.float64)
    rotation = pose_from_quaternion([0, 0, 0], xyzw)[:3, :3]
    return View(rotation, direction, NOT_VERIFIED)


def _hypothesis(point: np.void) -> Hypothesis:
    xyz = np.array([_exact(point, name) for name in 'xyz'], np.float64)
    xyzw = np.array([point[name] for name in ('qx', 'qy', 'qz', 'qw')], np.float64)
    pose = None if np.isnan(xyz).any() else pose_from_quaternion(xyz, xyzw)
    stamp_ns = int(point['stamp_sec']) * NS + int(point['stamp_nanosec'])
    place = Place(int(point['place_id']), stamp_ns, pose, source='')
    known = 'probability' in (point.dtype.names or ())
    return Hypothesis(
        place, float(point['similarity']), float(point['score']), int(point['inliers']),
        float(point['probability']) if known else math.nan)


def _exact(point: np.void, axis: str) -> float:
    """Return a coordinate in full where the message has it, else as float32."""
    return float(point[f'{axis}_m' if f'{axis}_m' in (point.dtype.names or ()) else axis])


def _points(message: PointCloud2, layout: np.dtype) -> np.ndarray:
    """
    Return the points of a cloud by the names in a layout, wherever the message puts them.

    :raises PoseError: if a field is missing or of another type, or the data is cut.
    """
    types = {code: kind for kind, code in POINT_FIELD_TYPES.items()}
    given = {one.name: (types.get(one.datatype, ''), one.offset) for one in message.fields}
    wanted = {name: field[0].str[1:] for name, field in (layout.fields or {}).items()
              if name in given or name not in ADDED_LATER}
    wrong = [name for name, kind in wanted.items() if given.get(name, ('', 0))[0] != kind]
    size, step = message.width * message.height, message.point_step
    whole = len(message.data) == size * step and message.row_step == message.width * step
    if wrong or message.is_bigendian or not whole:
        raise PoseError(f'not a message of {"loop closures" if layout is LOOP else "hypotheses"}: '
                        f'{"fields " + ", ".join(wrong) if wrong else "its data"} do not fit')
    try:
        kept = np.dtype({'names': list(wanted), 'formats': [f'<{one}' for one in wanted.values()],
                         'offsets': [given[name][1] for name in wanted], 'itemsize': step})
    except ValueError as error:
        raise PoseError(f'fields lie outside the point of {step} bytes') from error
    return np.frombuffer(bytes(message.data), kept)


def _point_fields(layout: np.dtype) -> list[PointField]:
    return [
        PointField(
            name=name, offset=field[1], datatype=POINT_FIELD_TYPES[field[0].str[1:]], count=1
        )
        for name, field in (layout.fields or {}).items()
    ]
