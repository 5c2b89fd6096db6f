# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Poses over time, and the three kinds of file that hold them.

- TUM: ``stamp_s tx ty tz qx qy qz qw`` a line
- KITTI: the first three rows of the matrix, 12 numbers a line, with the stamps in a second file
- CSV: a header with ``stamp_ns`` or ``t_s``, ``x_m``, ``y_m``, ``yaw_rad``, perhaps ``z_m``, and
  ``file`` where the poses belong to the pictures of a folder

Lines that start with ``#`` are comments. The kind is told by the first line, not by the name.
"""

from __future__ import annotations

import csv
import math
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from ..common.files import read_text, replacing
from ..errors import BagError
from ..records import Pose, StampedPose
from .poses import BODY_T_OPTICAL, pose_from_quaternion, pose_from_yaw, quaternion_xyzw

_EXPECTED = (
    'expected TUM (8 numbers: stamp_s tx ty tz qx qy qz qw), KITTI (12 numbers), or CSV with a '
    'header: stamp_ns or t_s, x_m, y_m, yaw_rad'
)
_TUM_FIELDS, _KITTI_FIELDS = 8, 12
_Line = tuple[int, list[str]]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """
    Poses over time: ``stamps_ns`` (N,) strictly increasing, ``poses`` (N, 4, 4).

    Between two poses further apart than ``max_gap_ns`` nothing is interpolated. ``origin`` is
    latitude and longitude in degrees of their zero, where they are metres east and north of it.
    """

    stamps_ns: NDArray[np.int64]
    poses: NDArray[np.float64]
    max_gap_ns: int = 2_000_000_000
    origin: tuple[float, float] | None = None

    @classmethod
    def from_poses(cls, poses: Iterable[StampedPose]) -> Trajectory:
        """Sort poses by stamp; of several with the same stamp the first one stays."""
        items = list(poses)
        stamps = np.array([item.stamp_ns for item in items], np.int64)
        unique, first = np.unique(stamps, return_index=True)
        matrices = [items[index].pose for index in first]
        return cls(unique, np.array(matrices, np.float64).reshape(-1, 4, 4))

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def __iter__(self) -> Iterator[StampedPose]:
        for stamp, pose in zip(self.stamps_ns, self.poses, strict=True):
            yield StampedPose(int(stamp), pose)

    def at(self, stamp_ns: int, tolerance_ns: int = 0) -> Pose | None:
        """
        Return the pose (4, 4) at a stamp, or None where the trajectory says nothing of it.

        Between neighbours the position is interpolated linearly and the rotation along the
        shortest arc. Before the first pose, after the last, and inside a gap, the nearest pose
        counts as long as it is within the tolerance.
        """
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if 0 < after < len(self):
            gap_ns = self.stamps_ns[after] - self.stamps_ns[after - 1]
            if gap_ns <= self.max_gap_ns:
                return self._between(after, stamp_ns)
        near = [index for index in (after - 1, after) if 0 <= index < len(self)]
        distance, nearest = min(
            ((abs(int(self.stamps_ns[index]) - stamp_ns), index) for index in near),
            default=(tolerance_ns + 1, 0),
        )
        return self.poses[nearest].copy() if distance <= tolerance_ns else None

    def _between(self, after: int, stamp_ns: int) -> Pose:
        """Interpolate from the pose before ``after`` to that one."""
        start_ns, end_ns = (int(stamp) for stamp in self.stamps_ns[after - 1:after + 1])
        part = (stamp_ns - start_ns) / (end_ns - start_ns)  # of ints: exact up to here
        start, end = self.poses[after - 1], self.poses[after]
        pose = np.eye(4)
        rotations = Rotation.from_matrix([start[:3, :3], end[:3, :3]])
        pose[:3, :3] = Slerp([0.0, 1.0], rotations)(part).as_matrix()
        pose[:3, 3] = (1 - part) * start[:3, 3] + part * end[:3, 3]
        return pose


class PoseBuffer:
    """The last poses of a stream, asked from another thread for the pose at a stamp."""

    def __init__(self, count: int = 2000, tolerance_ns: int = 200_000_000) -> None:
        self._poses: deque[StampedPose] = deque(maxlen=count)
        self._tolerance_ns = tolerance_ns
        self._lock = threading.Lock()

    def add(self, pose: StampedPose) -> None:
        """Take the next pose; one that is older than the last begins a new stream."""
        with self._lock:
            if self._poses and pose.stamp_ns < self._poses[-1].stamp_ns:
                self._poses.clear()
            self._poses.append(pose)

    def may_come(self, stamp_ns: int) -> bool:
        """Say whether all poses so far are from before a stamp."""
        with self._lock:
            return not self._poses or self._poses[-1].stamp_ns < stamp_ns

    def at(self, stamp_ns: int) -> Pose | None:
        """Interpolate at a stamp; beyond the last pose, that one counts within the tolerance."""
        with self._lock:
            poses = list(self._poses)
        return Trajectory.from_poses(poses).at(stamp_ns, self._tolerance_ns)


def read_trajectory(
    path: str | Path, times: str | Path | None = None, *, optical: bool = True
) -> Trajectory:
    """
    Read a TUM, KITTI or CSV file.

    :param times: for KITTI, the file with one stamp in seconds a line; by default
        ``<stem>_times.txt`` or ``times.txt`` beside the poses.
    :param optical: a KITTI file is in optical axes (x right, y down, z forward), as the benchmark
        defines, and is turned into body axes; False takes it as it is.
    :raises BagError: naming file, line and what was expected.
    """
    path = Path(path)
    lines = _lines(path)
    number, first = lines[0]
    if _is_header(first):
        return Trajectory.from_poses(pose for _, pose in _read_csv(path, needs_stamp=True))
    if len(first) == _TUM_FIELDS:
        return Trajectory.from_poses(_tum_pose(path, line) for line in lines)
    if len(first) == _KITTI_FIELDS:
        return _read_kitti(path, lines, times, optical)
    raise BagError(f'{path}:{number}: found {len(first)} fields, {_EXPECTED}')


def read_image_poses(path: str | Path) -> dict[str, StampedPose]:
    """
    Read the poses of a folder's pictures: a CSV with ``file``, ``x_m``, ``y_m``, ``yaw_rad``.

    :returns: poses by the name in ``file``; the stamp is 0 where the file has none.
    :raises BagError: naming file, line and what was expected.
    """
    path = Path(path)
    number, first = _lines(path)[0]
    if not _is_header(first) or 'file' not in first:
        raise BagError(f'{path}:{number}: expected a CSV header with file, x_m, y_m, yaw_rad')
    poses: dict[str, StampedPose] = {}
    for name, pose in _read_csv(path, needs_stamp=False):
        if name in poses:
            raise BagError(f'{path}: {name!r} is listed twice, expected one pose a file')
        poses[name] = pose
    return poses


def write_tum(path: str | Path, poses: Iterable[StampedPose]) -> None:
    """
    Write poses as TUM lines, stamps with all nine decimals, metres to a nanometre.

    :raises FileError: if the file cannot be written.
    """
    with replacing(path) as part, part.open('w', encoding='utf-8') as file:
        file.write('# stamp_s tx ty tz qx qy qz qw\n')
        file.writelines(_tum_line(pose) for pose in poses)


def _tum_line(pose: StampedPose) -> str:
    matrix = pose.pose
    numbers = [*matrix[:3, 3], *quaternion_xyzw(matrix)]
    stamp = Decimal(pose.stamp_ns).scaleb(-9)
    return ' '.join([f'{stamp:.9f}', *(f'{number:.9f}' for number in numbers)]) + '\n'


def _tum_pose(path: Path, line: _Line) -> StampedPose:
    number, fields = line
    values = _numbers(path, line, _TUM_FIELDS)
    try:
        pose = pose_from_quaternion(values[1:4], values[4:])
    except ValueError as error:
        raise BagError(f'{path}:{number}: {error}, expected qx qy qz qw of length 1') from error
    return StampedPose(_stamp_ns(path, number, fields[0]), pose)


def _read_kitti(
    path: Path, lines: list[_Line], times: str | Path | None, optical: bool
) -> Trajectory:
    times_path = Path(times) if times else _times_beside(path)
    stamps = [
        _stamp_ns(times_path, number, fields[0]) for number, fields in _lines(times_path)
    ]
    if len(stamps) != len(lines):
        raise BagError(
            f'{times_path}: has {len(stamps)} stamps, expected {len(lines)} as {path} has poses'
        )
    poses = [_kitti_pose(path, line, optical) for line in lines]
    return Trajectory.from_poses(map(StampedPose, stamps, poses))


def _kitti_pose(path: Path, line: _Line, optical: bool) -> Pose:
    pose = np.eye(4)
    pose[:3] = np.reshape(_numbers(path, line, _KITTI_FIELDS), (3, 4))
    if not np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=0.01):
        raise BagError(f'{path}:{line[0]}: expected rows of a rotation and a translation')
    return BODY_T_OPTICAL @ pose @ BODY_T_OPTICAL.T if optical else pose


def _times_beside(path: Path) -> Path:
    choices = [path.with_name(f'{path.stem}_times.txt'), path.with_name('times.txt')]
    for choice in choices:
        if choice.is_file():
            return choice
    names = ' or '.join(choice.name for choice in choices)
    raise BagError(f'{path}: KITTI poses have no stamps; expected {names} beside it, or a file')


def _read_csv(path: Path, *, needs_stamp: bool) -> Iterator[tuple[str, StampedPose]]:
    """Yield the ``file`` column ('' where there is none) and the pose of every row."""
    lines = _lines(path)
    number, header = lines[0]
    missing = {'x_m', 'y_m', 'yaw_rad'}.difference(header)
    if needs_stamp and not {'stamp_ns', 't_s'}.intersection(header):
        missing.add('stamp_ns or t_s')
    if missing:
        raise BagError(f'{path}:{number}: no column {", ".join(sorted(missing))}; {_EXPECTED}')
    if len(lines) == 1:
        raise BagError(f'{path}:{number}: no line follows the header, expected poses')
    for number, fields in lines[1:]:
        if len(fields) != len(header):
            raise BagError(
                f'{path}:{number}: found {len(fields)} fields, expected {len(header)} as in the '
                'header'
            )
        yield _csv_pose(path, number, dict(zip(header, fields, strict=True)))


def _csv_pose(path: Path, number: int, row: dict[str, str]) -> tuple[str, StampedPose]:
    x, y, yaw, z = (
        _number(path, number, row.get(name, '0')) for name in ('x_m', 'y_m', 'yaw_rad', 'z_m')
    )
    if 'stamp_ns' in row:
        stamp_ns = _stamp_ns(path, number, row['stamp_ns'], decimals=0)
    else:
        stamp_ns = _stamp_ns(path, number, row.get('t_s', '0'))
    return row.get('file', ''), StampedPose(stamp_ns, pose_from_yaw(x, y, yaw, z))


def _lines(path: Path) -> list[_Line]:
    """
    Split a file into fields, by commas where the first line has one, else by blanks.

    :returns: line numbers from 1 and fields, without comments and empty lines; never empty.
    """
    text = read_text(path).splitlines()
    kept = [(number, line) for number, line in enumerate(text, 1)
            if line.strip() and not line.lstrip().startswith('#')]
    if not kept:
        raise BagError(f'{path}: has no line of data; {_EXPECTED}')
    if ',' not in kept[0][1]:
        return [(number, line.split()) for number, line in kept]
    return [(number, [field.strip() for field in next(csv.reader([line]))])
            for number, line in kept]


def _is_header(fields: list[str]) -> bool:
    return 'x_m' in fields or 'y_m' in fields or 'yaw_rad' in fields


def _numbers(path: Path, line: _Line, count: int) -> list[float]:
    number, fields = line
    if len(fields) != count:
        raise BagError(f'{path}:{number}: found {len(fields)} fields, expected {count} numbers')
    return [_number(path, number, field) for field in fields]


def _number(path: Path, number: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BagError(f'{path}:{number}: found {text!r}, expected a finite number')
    return value


def _stamp_ns(path: Path, number: int, text: str, decimals: int = 9) -> int:
    """Read a stamp exactly: a float of seconds since 1970 is only good to 100 ns."""
    unit = 's' if decimals else 'ns'
    try:
        stamp_ns = int(Decimal(text).scaleb(decimals).to_integral_value())
    except (InvalidOperation, OverflowError, ValueError):
        raise BagError(f'{path}:{number}: found {text!r}, expected a stamp in {unit}') from None
    if abs(stamp_ns) >= 2 ** 63:
        raise BagError(f'{path}:{number}: stamp {text} is out of range, expected {unit}')
    return stamp_ns
