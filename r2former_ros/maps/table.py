# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The places of a map in memory: columns rather than an object per place."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import MapError
from ..records import Floats, Place, Pose
from .store import PlaceRow, checksum

ROWS_AT_ONCE = 4096
"""Rows held as Python objects while a table is read."""
Rows = NDArray[np.intp]


class _Columns(NamedTuple):
    """Columns of P places; ``texts`` holds the sources end to end, as UTF-8."""

    ids: NDArray[np.int64]
    stamps_ns: NDArray[np.int64]
    positions: Floats
    rotations: Floats
    checksums: NDArray[np.uint32]
    texts: NDArray[np.uint8]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[PlaceRow]) -> _Columns:
        """Divide rows into columns."""
        ids, stamps_ns, x, y, z, rotations, sources, checksums = \
            zip(*rows) if rows else [()] * len(PlaceRow._fields)
        packed = b''.join((one or b'').ljust(72, b'\0')[:72] for one in rotations)
        texts = [str(one).encode() for one in sources]
        return cls(
            np.array(ids, np.int64),
            np.array(stamps_ns, np.int64),
            np.array([x, y, z], np.float64).T,
            np.frombuffer(packed, '<f8').reshape(-1, 3, 3),
            np.array(checksums, np.uint32),
            np.frombuffer(b''.join(texts), np.uint8),
            np.array([len(one) for one in texts], np.int64),
        )

    @classmethod
    def read(cls, rows: Iterable[PlaceRow]) -> _Columns:
        """Divide any number of rows, with little more memory than the columns take."""
        remaining, empty = iter(rows), cls.of(())
        buffers = [bytearray() for _ in empty]
        while part := list(islice(remaining, ROWS_AT_ONCE)):
            columns: Sequence[Any] = cls.of(part)
            for buffer, column in zip(buffers, columns):
                buffer += column.tobytes()
        columns = [
            np.frombuffer(buffers.pop(0), like.dtype).reshape(-1, *like.shape[1:]).copy()
            for like in empty
        ]
        return cls(*columns)


class PlaceTable(Mapping[int, Place]):
    """
    Places by id, in the order of their ids; a ``Place`` is made, and verified, on access.

    About 130 bytes per place, and the text of its source. Places added later, by the program that
    holds the table, are few and kept as objects. ``ids`` (P,), ``stamps_ns`` (P,) and
    ``positions`` (P, 3), in metres, NaN where unknown, are those of the places read at first.
    """

    def __init__(self, location: str, rows: Iterable[PlaceRow]) -> None:
        """
        Read the rows.

        :raises MapError: if the ids do not ascend: the file is damaged.
        """
        self.location = location
        self._added: dict[int, Place] = {}
        try:
            columns = _Columns.read(rows)
        except (TypeError, ValueError, OverflowError) as error:
            raise MapError(f'{location}: is damaged ({error}); see r2former map check') from error
        self.ids, self.stamps_ns, self.positions = columns[:3]
        self._rotations, self._checksums, self._texts = columns[3:6]
        self._ends = columns.lengths.cumsum()
        if (np.diff(self.ids) <= 0).any():
            raise MapError(f'{location}: is damaged (place ids do not ascend); '
                           'see r2former map check')

    @classmethod
    def of(cls, places: Iterable[Place], location: str = 'memory') -> PlaceTable:
        """Make a table of places that are in no map."""
        return cls(location, map(_row_of, places))

    def __len__(self) -> int:
        return len(self.ids) + len(self._added)

    def __iter__(self) -> Iterator[int]:
        return iter([*self.ids.tolist(), *self._added])

    def __getitem__(self, place_id: int) -> Place:
        if place_id in self._added:
            return self._added[place_id]
        row = self.row_of(place_id)
        if row is None:
            raise KeyError(place_id)
        return self.at(row)

    def row_of(self, place_id: int) -> int | None:
        """Return the row of a place that was read at first, None for any other."""
        row = int(np.searchsorted(self.ids, place_id))
        return row if row < len(self.ids) and self.ids[row] == place_id else None

    def add(self, place: Place) -> None:
        """Append a place that was added to the map since; its id is above all others."""
        self._added[place.place_id] = place

    def digest(self, count: int) -> str:
        """Return a digest of all columns of the first places."""
        columns = self.ids[:count].tobytes(), self._checksums[:count].tobytes()
        return hashlib.sha256(b''.join(columns)).hexdigest()

    def with_pose(self) -> NDArray[np.bool_]:
        """Return (P,): whether the pose is known."""
        return np.asarray(np.isfinite(self.positions).all(axis=1))

    def poses(self, rows: Rows) -> Floats:
        """Return poses ``map_T_camera`` (R, 4, 4) of rows whose pose is known."""
        poses = np.zeros((len(rows), 4, 4))
        poses[:, :3, :3] = self._rotations[rows]
        poses[:, :3, 3] = self.positions[rows]
        poses[:, 3, 3] = 1
        return poses

    def verify(self) -> None:
        """
        Check that each place is what was written.

        :raises MapError: naming one that is not.
        """
        for row in range(len(self.ids)):
            self._require_intact(row)

    def at(self, row: int) -> Place:
        """
        Return the place of a row.

        :raises MapError: if it is not what was written.
        """
        self._require_intact(row)
        pose = self.poses(np.array([row]))[0] if self._is_posed(row) else None
        source = self._text(row).tobytes().decode()
        return Place(int(self.ids[row]), int(self.stamps_ns[row]), pose, source)

    def _is_posed(self, row: int) -> bool:
        return bool(np.isfinite(self.positions[row]).all())

    def _text(self, row: int) -> NDArray[np.uint8]:
        return self._texts[self._ends[row - 1] if row else 0 : self._ends[row]]

    def _require_intact(self, row: int) -> None:
        """Compare the checksum of a row, as ``store.checksum`` makes it, with its columns."""
        one = slice(row, row + 1)
        pose = (self.positions[one], self._rotations[one]) if self._is_posed(row) else ()
        crc = 0
        for column in (self.ids[one], self.stamps_ns[one], *pose, self._text(row)):
            crc = zlib.crc32(column, crc)
        if crc != self._checksums[row]:
            raise MapError(f'{self.location}: place {self.ids[row]} is damaged; '
                           'see r2former map check')


def pose_columns(
    pose: Pose | None
) -> tuple[float | None, float | None, float | None, bytes | None]:
    """Return a pose as it is stored: x, y, z and the rotation's bytes."""
    if pose is None:
        return None, None, None, None
    x, y, z = (pose[:3, 3] + 0.0).tolist()  # SQLite stores -0.0 as 0.0, which has other bits
    return x, y, z, np.ascontiguousarray(pose[:3, :3], '<f8').tobytes()


def _row_of(place: Place) -> PlaceRow:
    columns = (place.place_id, place.stamp_ns, *pose_columns(place.map_T_camera), place.source)
    return PlaceRow(*columns, checksum(*columns))
