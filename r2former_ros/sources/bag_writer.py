# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write bags, sqlite3 and mcap: for the demo, and for tests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer

from ..errors import BagError
from ..geometry.poses import quaternion_xyzw
from ..records import Camera, Frame, Pose, StampedPose
from .encodings import image_fields
from .messages import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    NAV_SAT_FIX,
    ODOMETRY,
    TF,
    TYPES,
    make_message,
)
from .pictures import encode_jpeg

STORAGES = {'sqlite3': StoragePlugin.SQLITE3, 'mcap': StoragePlugin.MCAP}
NO_FIX = -1


class BagWriter:
    """
    Write a new bag inside a ``with`` block; an exception there leaves it unfinished, and closed.

    ``storage`` is sqlite3 or mcap. The time of recording of every message is its stamp.
    """

    def __init__(self, path: str | Path, storage: str = 'mcap') -> None:
        if storage not in STORAGES:
            raise BagError(f'storage {storage!r} is not one of ' + ', '.join(STORAGES))
        self.path = Path(path)
        self._connections: dict[str, Connection] = {}
        if self.path.exists():
            raise BagError(f'{self.path}: exists already', 'remove it or choose another path')
        # Version 9 writes QoS in a way that releases before Jazzy do not know.
        self._writer = Writer(self.path, version=8, storage_plugin=STORAGES[storage])

    def __enter__(self) -> BagWriter:
        with _writing(self.path):
            self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _writing(self.path):
            self._writer.__exit__(kind, error, trace)

    def image(self, topic: str, frame: Frame, encoding: str = 'rgb8') -> None:
        """
        Append a picture as sensor_msgs/Image: rgb8, bgr8 or mono8.

        :raises ImageError: for another encoding.
        """
        fields = vars(image_fields(frame.image, encoding))
        self._write(topic, IMAGE, frame.stamp_ns, frame_id=frame.frame_id, **fields)

    def compressed_image(self, topic: str, frame: Frame, quality: int = 90) -> None:
        """Append a picture as sensor_msgs/CompressedImage: JPEG, quality in [1, 100]."""
        data = np.frombuffer(encode_jpeg(frame.image, quality), np.uint8)
        self._write(
            topic, COMPRESSED_IMAGE, frame.stamp_ns, frame_id=frame.frame_id, format='jpeg',
            data=data,
        )

    def odometry(
        self,
        topic: str,
        pose: StampedPose,
        *,
        frame_id: str = 'odom',
        child_frame_id: str = 'base_link',
    ) -> None:
        """Append a pose as nav_msgs/Odometry, with twist and covariances 0 for unknown."""
        zero = make_message('geometry_msgs/msg/Vector3', x=0.0, y=0.0, z=0.0)
        twist = make_message('geometry_msgs/msg/Twist', linear=zero, angular=zero)
        with_covariance = 'geometry_msgs/msg/{}WithCovariance'.format
        unknown = {'covariance': np.zeros(36)}
        self._write(
            topic, ODOMETRY, pose.stamp_ns, frame_id=frame_id, child_frame_id=child_frame_id,
            pose=make_message(with_covariance('Pose'), pose=_pose_message(pose), **unknown),
            twist=make_message(with_covariance('Twist'), twist=twist, **unknown),
        )

    def camera_info(self, topic: str, stamp_ns: int, camera: Camera, frame_id: str) -> None:
        """Append intrinsics as sensor_msgs/CameraInfo."""
        matrix = np.asarray(camera.matrix, np.float64)
        projection = np.column_stack([matrix, np.zeros(3)])
        no_window = make_message('sensor_msgs/msg/RegionOfInterest', x_offset=0, y_offset=0,
                                 height=0, width=0, do_rectify=False)
        self._write(
            topic, CAMERA_INFO, stamp_ns, frame_id=frame_id, height=camera.height,
            width=camera.width, distortion_model=camera.model,
            d=np.asarray(camera.distortion, np.float64), k=matrix.ravel(), r=np.eye(3).ravel(),
            p=projection.ravel(), binning_x=0, binning_y=0, roi=no_window,
        )

    def static_transforms(
        self, stamp_ns: int, transforms: Sequence[tuple[str, str, Pose]], topic: str = '/tf_static'
    ) -> None:
        """Append parent, child and parent_T_child of each, as one tf2_msgs/TFMessage."""
        message = make_message(TF, transforms=[
            make_message(
                'geometry_msgs/msg/TransformStamped', header=_header(stamp_ns, parent),
                child_frame_id=child, transform=_transform_message(pose))
            for parent, child, pose in transforms
        ])
        self._write_message(topic, TF, stamp_ns, message)

    def nav_sat_fix(
        self,
        topic: str,
        stamp_ns: int,
        *,
        latitude_deg: float,
        longitude_deg: float,
        altitude_m: float = math.nan,
        has_fix: bool = True,
        frame_id: str = 'gps',
    ) -> None:
        """Append a sensor_msgs/NavSatFix of GPS with unknown covariance; no altitude is NaN."""
        status = make_message(
            'sensor_msgs/msg/NavSatStatus', status=0 if has_fix else NO_FIX, service=1
        )
        self._write(
            topic, NAV_SAT_FIX, stamp_ns, frame_id=frame_id, status=status,
            latitude=latitude_deg, longitude=longitude_deg, altitude=altitude_m,
            position_covariance=np.zeros(9), position_covariance_type=0,
        )

    def _write(
        self, topic: str, kind: str, stamp_ns: int, *, frame_id: str, **fields: Any
    ) -> None:
        with _writing(self.path):
            message = make_message(kind, header=_header(stamp_ns, frame_id), **fields)
        self._write_message(topic, kind, stamp_ns, message)

    def _write_message(self, topic: str, kind: str, stamp_ns: int, message: Any) -> None:
        with _writing(self.path):
            cdr = TYPES.serialize_cdr(message, kind)
            self._writer.write(self._connection(topic, kind), stamp_ns, cdr)

    def _connection(self, topic: str, kind: str) -> Connection:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=TYPES
            )
        found = self._connections[topic]
        if found.msgtype != kind:
            raise BagError(f'{self.path}: {topic} is a {found.msgtype}, cannot append {kind}')
        return found


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what rosbags raises into one line that names the bag."""
    try:
        yield
    except BagError:
        raise
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise BagError(f'{path}: cannot be written as a bag ({reason})') from error


def _header(stamp_ns: int, frame_id: str) -> Any:
    stamp = make_message(
        'builtin_interfaces/msg/Time', sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
    )
    return make_message('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)


def _transform_message(pose: Pose) -> Any:
    x, y, z = pose[:3, 3].tolist()
    qx, qy, qz, qw = quaternion_xyzw(pose).tolist()
    return make_message(
        'geometry_msgs/msg/Transform',
        translation=make_message('geometry_msgs/msg/Vector3', x=x, y=y, z=z),
        rotation=make_message('geometry_msgs/msg/Quaternion', x=qx, y=qy, z=qz, w=qw),
    )


def _pose_message(pose: StampedPose) -> Any:
    x, y, z = pose.pose[:3, 3].tolist()
    qx, qy, qz, qw = quaternion_xyzw(pose.pose).tolist()
    return make_message(
        'geometry_msgs/msg/Pose',
        position=make_message('geometry_msgs/msg/Point', x=x, y=y, z=z),
        orientation=make_message('geometry_msgs/msg/Quaternion', x=qx, y=qy, z=qz, w=qw),
    )
