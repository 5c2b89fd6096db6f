# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Files of poses.

- TUM: lines of ``stamp_s tx ty tz qx qy qz qw``
- KITTI: lines of 12 numbers, the first three rows of the matrix; the stamps are in a second file
- CSV: a header with ``stamp_ns`` or ``t_s``, ``x_m``, ``y_m``, ``yaw_rad``, optionally ``z_m``,
  and ``file`` where the poses belong to the pictures of a folder

Lines that start with ``#`` are comments. The first line tells the kind, whatever the name.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from ..common.files import read_text, replacing
from ..common.text import quoted
from ..errors import PoseError
from ..geometry.poses import (
    BODY_T_OPTICAL,
    pose_from_quaternion,
    pose_from_yaw,
    quaternion_xyzw,
    require_pose,
)
from ..geometry.trajectories import Trajectory, restarts
from ..records import Pose, StampedPose

_EXPECTED = (
    'expected TUM (8 numbers: stamp_s tx ty tz qx qy qz qw), KITTI (12 numbers), or CSV with a '
    'header: stamp_ns or t_s, x_m, y_m, yaw_rad'
)
_TUM_FIELDS, _KITTI_FIELDS = 8, 12
_Line = tuple[int, list[str]]


def read_trajectory(
    path: str | Path, times: str | Path | None = None, *, optical: bool = True
) -> Trajectory:
    """
    Read a TUM, KITTI or CSV file.

    :param times: for KITTI, the file with one stamp in seconds per line; by default
        ``<stem>_times.txt`` or ``times.txt`` next to the poses.
    :param optical: a KITTI file is in optical axes (x right, y down, z forward), as the benchmark
        defines, and is turned into body axes; False leaves it as it is.
    :raises FileError: if a file cannot be read.
    :raises PoseError: naming file, line and what was expected.
    """
    path = Path(path)
    lines = _lines(path)
    number, first = lines[0]
    if _is_header(first):
        return _in_order(path, lines[1:],
                         [pose for _, pose in _read_csv(path, needs_stamp=True)])
    if len(first) == _TUM_FIELDS:
        return _in_order(path, lines, [_tum_pose(path, line) for line in lines])
    if len(first) == _KITTI_FIELDS:
        return _read_kitti(path, lines, times, optical)
    raise PoseError(f'{path}:{number}: found {len(first)} fields, {_EXPECTED}')


def read_image_poses(path: str | Path) -> dict[str, StampedPose]:
    """
    Read the poses of a folder's pictures: a CSV with ``file``, ``x_m``, ``y_m``, ``yaw_rad``.

    :returns: poses by the name in ``file``; the stamp is 0 where the file has none.
    :raises FileError: if the file cannot be read.
    :raises PoseError: naming file, line and what was expected.
    """
    path = Path(path)
    number, first = _lines(path)[0]
    if not _is_header(first) or 'file' not in first:
        raise PoseError(f'{path}:{number}: expected a CSV header with file, x_m, y_m, yaw_rad')
    poses: dict[str, StampedPose] = {}
    for name, pose in _read_csv(path, needs_stamp=False):
        if '\0' in name:
            raise PoseError(f'{path}: {quoted(name)} is not the name of a file')
        if name in poses:
            raise PoseError(f'{path}: {quoted(name)} is listed twice, expected one pose per file')
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


def _in_order(path: Path, lines: list[_Line], poses: list[StampedPose]) -> Trajectory:
    """
    Make a trajectory of poses whose stamps rise.

    :raises PoseError: where they fall: of two runs that share stamps, nothing tells which one an
        image belongs to.
    """
    stamps = [stamped.stamp_ns for stamped in poses]
    for index in restarts(stamps):
        fall_s = (max(stamps[:index]) - stamps[index]) * 1e-9
        raise PoseError(
            f'{path}:{lines[index][0]}: time runs backwards by {fall_s:.3f} s',
            'split the file where the clock was set back, or sort its lines if it was not',
        )
    return Trajectory.from_poses(poses)


def _tum_line(pose: StampedPose) -> str:
    matrix = pose.pose
    numbers = [*matrix[:3, 3], *quaternion_xyzw(matrix)]
    stamp = Decimal(pose.stamp_ns).scaleb(-9)
    return ' '.join([f'{stamp:.9f}', *(f'{number:.9f}' for number in numbers)]) + '\n'


def _tum_pose(path: Path, line: _Line) -> StampedPose:
    number, fields = line
    values = _numbers(path, line, _TUM_FIELDS)
    with _named(path, number):
        pose = pose_from_quaternion(values[1:4], values[4:])
    return StampedPose(_stamp_ns(path, number, fields[0]), pose)


def _read_kitti(
    path: Path, lines: list[_Line], times: str | Path | None, optical: bool
) -> Trajectory:
    times_path = Path(times) if times else _times_beside(path)
    stamps = [
        _stamp_ns(times_path, number, fields[0]) for number, fields in _lines(times_path)
    ]
    if len(stamps) != len(lines):
        raise PoseError(
            f'{times_path}: has {len(stamps)} stamps, expected {len(lines)} as {path} has poses'
        )
    poses = [_kitti_pose(path, line, optical) for line in lines]
    return _in_order(times_path, lines, list(map(StampedPose, stamps, poses)))


def _kitti_pose(path: Path, line: _Line, optical: bool) -> Pose:
    pose = np.eye(4)
    pose[:3] = np.reshape(_numbers(path, line, _KITTI_FIELDS), (3, 4))
    with _named(path, line[0]):
        require_pose(pose)
    return BODY_T_OPTICAL @ pose @ BODY_T_OPTICAL.T if optical else pose


def _times_beside(path: Path) -> Path:
    choices = [path.with_name(f'{path.stem}_times.txt'), path.with_name('times.txt')]
    for choice in choices:
        if choice.is_file():
            return choice
    names = ' or '.join(choice.name for choice in choices)
    raise PoseError(f'{path}: KITTI poses have no stamps; expected {names} beside it, or a file')


def _read_csv(path: Path, *, needs_stamp: bool) -> Iterator[tuple[str, StampedPose]]:
    """Yield the ``file`` column ('' where there is none) and the pose of every row."""
    lines = _lines(path)
    number, header = lines[0]
    missing = {'x_m', 'y_m', 'yaw_rad'}.difference(header)
    if needs_stamp and not {'stamp_ns', 't_s'}.intersection(header):
        missing.add('stamp_ns or t_s')
    if missing:
        raise PoseError(f'{path}:{number}: no column {", ".join(sorted(missing))}; {_EXPECTED}')
    if len(set(header)) < len(header):
        raise PoseError(f'{path}:{number}: a column is named twice; {_EXPECTED}')
    if len(lines) == 1:
        raise PoseError(f'{path}:{number}: no line follows the header, expected poses')
    for number, fields in lines[1:]:
        if len(fields) != len(header):
            raise PoseError(
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
    with _named(path, number):
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
        raise PoseError(f'{path}: has no line of data; {_EXPECTED}')
    if ',' not in kept[0][1]:
        return [(number, line.split()) for number, line in kept]
    try:
        return [(number, [field.strip() for field in next(csv.reader([line]))])
                for number, line in kept]
    except csv.Error as error:
        raise PoseError(f'{path}: cannot be read as CSV ({error})') from error


@contextmanager
def _named(path: Path, number: int) -> Iterator[None]:
    """Say in which line of which file a pose is wrong."""
    try:
        yield
    except PoseError as error:
        raise PoseError(f'{path}:{number}: {error}') from error


def _is_header(fields: list[str]) -> bool:
    return 'x_m' in fields or 'y_m' in fields or 'yaw_rad' in fields


def _numbers(path: Path, line: _Line, count: int) -> list[float]:
    number, fields = line
    if len(fields) != count:
        raise PoseError(f'{path}:{number}: found {len(fields)} fields, expected {count} numbers')
    return [_number(path, number, field) for field in fields]


def _number(path: Path, number: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise PoseError(f'{path}:{number}: found {quoted(text)}, expected a finite number')
    return value


def _stamp_ns(path: Path, number: int, text: str, decimals: int = 9) -> int:
    """Read a stamp exactly: a float of seconds since 1970 is only good to 100 ns."""
    unit = 's' if decimals else 'ns'
    try:
        stamp = Decimal(text)
        if abs(stamp) >= Decimal(2 ** 63).scaleb(-decimals):
            raise PoseError(f'{path}:{number}: stamp {quoted(text)} is out of range, '
                            f'expected {unit}')
        return int(stamp.scaleb(decimals).to_integral_value())
    except (InvalidOperation, OverflowError, TypeError):
        raise PoseError(f'{path}:{number}: found {quoted(text)}, expected a stamp in {unit}') \
            from None
