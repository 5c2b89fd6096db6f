# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write bags, sqlite3 and mcap: for the demo, and for tests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer

from ..errors import BagError
from ..geometry.poses import quaternion_xyzw
from ..records import Frame, StampedPose
from .encodings import image_fields
from .messages import COMPRESSED_IMAGE, IMAGE, NAV_SAT_FIX, ODOMETRY, TYPES, make_message
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
        stamp = make_message(
            'builtin_interfaces/msg/Time', sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
        )
        header = make_message('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)
        with _writing(self.path):
            cdr = TYPES.serialize_cdr(make_message(kind, header=header, **fields), kind)
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


def _pose_message(pose: StampedPose) -> Any:
    x, y, z = pose.pose[:3, 3].tolist()
    qx, qy, qz, qw = quaternion_xyzw(pose.pose).tolist()
    return make_message(
        'geometry_msgs/msg/Pose',
        position=make_message('geometry_msgs/msg/Point', x=x, y=y, z=z),
        orientation=make_message('geometry_msgs/msg/Quaternion', x=qx, y=qy, z=qz, w=qw),
    )
