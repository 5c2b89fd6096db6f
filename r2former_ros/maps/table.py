# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The places of a map in memory: columns, not an object a place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import MapError
from ..records import Place
from .store import PlaceRow, checksum


class PlaceTable(Mapping[int, Place]):
    """
    Places by id, in the order of their ids; a ``Place`` is made, and verified, when asked for.

    About 200 bytes a place and the text of its source. Places that are added later, by the
    program that holds the table, are few and kept as they are.
    """

    def __init__(self, location: str, rows: Sequence[PlaceRow]) -> None:
        """
        Take the rows over.

        :raises MapError: if the ids do not ascend: the file is damaged.
        """
        self.location = location
        self._added: dict[int, Place] = {}
        columns = list(zip(*rows)) or [()] * len(PlaceRow._fields)
        try:
            self.ids = np.array(columns[0], np.int64)
            self.stamps_ns = np.array(columns[1], np.int64)
            self.positions = np.array(columns[2:5], np.float64).T  # (P, 3), NaN: unknown
            self._rotations = b''.join((one or b'').ljust(72, b'\0')[:72] for one in columns[5])
            self._checksums = np.array(columns[7], np.uint32)
        except (TypeError, ValueError, OverflowError) as error:
            raise MapError(f'{location}: is damaged ({error}); see r2former map check') from error
        self._sources = columns[6]
        if (np.diff(self.ids) <= 0).any():
            raise MapError(f'{location}: is damaged (place ids do not ascend); '
                           'see r2former map check')

    def __len__(self) -> int:
        return len(self.ids) + len(self._added)

    def __iter__(self) -> Iterator[int]:
        return iter([*self.ids.tolist(), *self._added])

    def __getitem__(self, place_id: int) -> Place:
        if place_id in self._added:
            return self._added[place_id]
        row = int(np.searchsorted(self.ids, place_id))
        if row == len(self.ids) or self.ids[row] != place_id:
            raise KeyError(place_id)
        return self._place(row)

    def add(self, place: Place) -> None:
        """Take up a place that the map has since then; its id is larger than the others."""
        self._added[place.place_id] = place

    def digest(self, count: int) -> str:
        """Return what stands for the first places, all their columns included."""
        columns = self.ids[:count].tobytes(), self._checksums[:count].tobytes()
        return hashlib.sha256(b''.join(columns)).hexdigest()

    def with_pose(self) -> NDArray[np.bool_]:
        """Return (P,): whether the pose is known."""
        return np.asarray(np.isfinite(self.positions).all(axis=1))

    def _place(self, row: int) -> Place:
        place_id, stamp_ns = int(self.ids[row]), int(self.stamps_ns[row])
        position = self.positions[row]
        known = bool(np.isfinite(position).all())
        rotation = self._rotations[72 * row : 72 * row + 72] if known else None
        source = self._sources[row]
        columns = (*map(float, position), rotation) if known else (None,) * 4
        if checksum(place_id, stamp_ns, *columns, source) != self._checksums[row]:
            raise MapError(f'{self.location}: place {place_id} is damaged; see r2former map check')
        if rotation is None:
            return Place(place_id, stamp_ns, None, source)
        pose = np.eye(4)
        pose[:3, :3] = np.frombuffer(rotation, '<f8').reshape(3, 3)
        pose[:3, 3] = position
        return Place(place_id, stamp_ns, pose, source)
