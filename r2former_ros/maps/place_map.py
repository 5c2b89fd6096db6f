# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The map: keyframes in, places and their features out, each verified by its checksum.

A map is one SQLite file, ``*.r2map``, that can be copied to the robot (``sqlite_store``), or lies
in a PostgreSQL database (``postgres_store``). A keyframe is one transaction: a place that ``add``
has returned is on disk, and a process killed at any instant loses at most the keyframe in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.progress import Notify, noted, silent
from ..errors import MapError
from ..records import Keyframe, LocalFeatures, Pose, Vector
from . import codec as local_codec
from .store import BlobRow, MapHeader, NewPlace, PlaceStore, copy_places
from .table import PlaceTable

if TYPE_CHECKING:
    from .postgres import PostgresStore
    from .sqlite import SqliteStore

__all__ = ['MapHeader', 'PlaceMap', 'in_database', 'map_exists']


def in_database(path: str | Path) -> bool:
    """Say whether a map is addressed in a database, instead of by a file's path."""
    return str(path).startswith(('postgresql:', 'postgres:'))


def map_exists(path: str | Path) -> bool:
    """
    Say whether there is something where a map would be.

    :raises MapError: if a database that is addressed cannot be asked.
    """
    return _engine(path).exists(path)


def _engine(path: str | Path) -> type[SqliteStore] | type[PostgresStore]:
    if in_database(path):
        from .postgres import PostgresStore

        return PostgresStore
    from .sqlite import SqliteStore

    return SqliteStore


class PlaceMap:
    """A map that is open."""

    def __init__(self, store: PlaceStore) -> None:
        self.store = store
        self.header = store.header
        self.location = store.location
        self._preloaded: dict[int, tuple[bytes, bytes]] = {}

    @classmethod
    def create(cls, path: str | Path, header: MapHeader) -> PlaceMap:
        """
        Make an empty map that can be added to.

        :param path: a file, or ``postgresql://USER@HOST:PORT/DATABASE#MAP``.
        :raises MapError: if it exists already or cannot be written.
        """
        return cls(_engine(path).create(path, header))

    @classmethod
    def open(cls, path: str | Path, *, writable: bool = False) -> PlaceMap:
        """
        Open a map.

        :param path: a file, or ``postgresql://USER@HOST:PORT/DATABASE#MAP``.
        :param writable: places can be added, by one writer at a time; else the map is not changed.
        :raises MapError: if it is missing, damaged, no map, of another format, or being written.
        """
        return cls(_engine(path).open(path, writable=writable))

    def require_weights(self, fingerprint: str, weights: str) -> None:
        """
        Refuse other weights than those the map was built with: descriptors would not compare.

        :raises MapError: naming both.
        """
        if fingerprint != self.header.fingerprint:
            raise MapError(
                f'{self.location}: was built with weights {self.header.fingerprint} '
                f'({self.header.weights}), not {fingerprint} ({weights}); give those weights and '
                'their input size, or build the map again'
            )

    def __enter__(self) -> PlaceMap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.store.count()

    def close(self) -> None:
        """Close the map; a writer lets the next one in."""
        self.store.close()

    def add(self, keyframe: Keyframe) -> int:
        """
        Add a place in one transaction and return its id; then it is safely on disk.

        :raises MapError: if the sizes do not fit the map, or it cannot be written.
        """
        return self.add_all([keyframe])[0]

    def add_all(self, keyframes: Iterable[Keyframe]) -> list[int]:
        """
        Add many places in one transaction and return their ids: all of them or, on an error, none.

        :raises MapError: as ``add``.
        """
        return self.store.append(map(self._new_place, keyframes))

    def places(self) -> PlaceTable:
        """Return all places by id, in the order of their ids; a reader sees those added since."""
        return PlaceTable(self.location, self.store.places())

    def descriptors(self, after: int = 0) -> tuple[list[int], Vector]:
        """
        Return ids and descriptors (P, D) float32 of all places with larger ids than ``after``.

        :raises MapError: if one is damaged.
        """
        ids: list[int] = []
        joined = bytearray()
        for row in self.store.descriptors(after):
            ids.append(row.place_id)
            joined += self._intact(row)
        dim = self.header.descriptor_dim
        if len(joined) != 4 * dim * len(ids):
            raise MapError(f'{self.location}: is damaged (descriptors are not of {dim} values); '
                           'see r2former map check')
        return ids, np.frombuffer(joined, '<f4').reshape(len(ids), dim)

    def preload(self, budget_mb: int, notify: Notify = silent) -> int:
        """
        Read features into memory, as stored, up to a budget; return how many places.

        :raises MapError: if one is damaged.
        """
        left = budget_mb * 2**20
        rows = self.store.features()
        for descriptor, local in noted(rows, 'preloaded places', len(self), notify):
            blobs = self._intact(descriptor), self._intact(local)
            left -= sum(map(len, blobs))
            if left < 0:
                break
            self._preloaded[descriptor.place_id] = blobs
        return len(self._preloaded)

    def release_preloaded(self) -> dict[int, tuple[bytes, bytes]]:
        """Hand over what is preloaded, descriptor and local features by id, and forget it."""
        released, self._preloaded = self._preloaded, {}
        return released

    def features(
        self, place_ids: Sequence[int], *, widen: bool = True
    ) -> tuple[list[Vector], list[LocalFeatures]]:
        """
        Return descriptors and local features of places, from memory or, by id, from the store.

        :param widen: False leaves local features in float16 where they are stored so.
        :raises MapError: if a place is missing or damaged.
        """
        blobs = [self._preloaded.get(one) or self._read_features(one) for one in place_ids]
        header = self.header
        return (
            [np.frombuffer(descriptor, '<f4') for descriptor, _ in blobs],
            [local_codec.decode(local, header.local_dtype, header.local_dim, widen=widen)
             for _, local in blobs],
        )

    def thumbnail(self, place_id: int) -> bytes:
        """
        Return the JPEG of a place, empty where none was stored.

        :raises MapError: if the place is missing or damaged.
        """
        row = self.store.thumbnail_of(place_id)
        if row is None:
            raise MapError(f'{self.location}: has no place {place_id}')
        return self._intact(row)

    def copy_to(self, path: str | Path) -> int:
        """
        Write all places to a single file, in place of what is there; return how many they are.

        Keyframes may be added meanwhile, also from another thread: what was on disk at the start
        is copied, under the same ids. The copy is a map of its own, with another ``map_id``.

        :raises MapError: if a place is damaged, or the file cannot be written.
        """
        from .sqlite import SqliteStore

        if in_database(path) or Path(path).resolve() == Path(self.location).resolve():
            raise MapError(f'{path}: is the map itself, or no file; choose another name for the '
                           'copy')
        with PlaceMap.open(self.location) as source, \
                SqliteStore.replacing(path, self.header) as target:
            return copy_places(source.store, target)

    def note(self, name: str) -> Any:
        """
        Return what ``write_note`` stored under a name, None where nothing was.

        :raises MapError: if it is damaged.
        """
        return self.store.note(name)

    def write_note(self, name: str, value: Any) -> None:
        """
        Store what JSON can hold beside the header, in place of what was there, in one transaction.

        :raises MapError: if the map cannot be written.
        """
        self.store.write_note(name, value)

    def problems(self) -> Iterator[str]:
        """Look through the whole map and yield one line for each thing that is wrong."""
        yield from self.store.damage()
        places = self.places()
        for place_id in places:
            try:
                places[place_id]
            except MapError:
                yield f'place {place_id}: does not match its checksum'
        seen = set()
        for descriptor, local in self.store.features():
            seen.add(descriptor.place_id)
            yield from self._problems_of(descriptor, local)
        for place_id in seen.symmetric_difference(places):
            yield f'place {place_id}: has features but no place, or no features'
        for row in self.store.thumbnails():
            if not row.intact:
                yield f'place {row.place_id}: thumbnail does not match its checksum'

    def _problems_of(self, descriptor: BlobRow, local: BlobRow) -> Iterator[str]:
        place_id = descriptor.place_id
        if not descriptor.intact or not local.intact:
            yield f'place {place_id}: features do not match their checksum'
            return
        vector = np.frombuffer(descriptor.blob, '<f4')
        if vector.size != self.header.descriptor_dim or not abs(np.linalg.norm(vector) - 1) < 1e-3:
            yield f'place {place_id}: descriptor has not {self.header.descriptor_dim} values ' \
                  'of unit norm'

    def _new_place(self, keyframe: Keyframe) -> NewPlace:
        return NewPlace(
            keyframe.stamp_ns,
            *self._pose_columns(keyframe.map_T_camera),
            source=keyframe.source,
            descriptor=self._checked_descriptor(keyframe.descriptor),
            local=local_codec.encode(keyframe.local_features, self.header.local_dtype),
            thumbnail=keyframe.thumbnail,
        )

    def _pose_columns(
        self, pose: Pose | None
    ) -> tuple[float | None, float | None, float | None, bytes | None]:
        if pose is None:
            return None, None, None, None
        if not np.isfinite(pose).all():
            raise MapError(f'{self.location}: a pose with values that are not finite; give None '
                           'where the pose is unknown')
        x, y, z = (pose[:3, 3] + 0.0).tolist()  # SQLite turns -0.0, which has other bits, into 0.0
        return x, y, z, np.ascontiguousarray(pose[:3, :3], '<f8').tobytes()

    def _checked_descriptor(self, descriptor: Vector) -> bytes:
        if descriptor.shape != (self.header.descriptor_dim,) or not np.isfinite(descriptor).all():
            raise MapError(f'{self.location}: descriptor of shape {descriptor.shape}, finite '
                           f'values of shape ({self.header.descriptor_dim},) expected')
        return descriptor.astype('<f4').tobytes()

    def _read_features(self, place_id: int) -> tuple[bytes, bytes]:
        rows = self.store.features_of(place_id)
        if rows is None:
            raise MapError(f'{self.location}: has no place {place_id}')
        return self._intact(rows[0]), self._intact(rows[1])

    def _intact(self, row: BlobRow) -> bytes:
        if not row.intact:
            raise MapError(f'{self.location}: place {row.place_id} is damaged; '
                           'see r2former map check')
        return row.blob
