# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The map: keyframes in, places and their features out, each verified by its checksum.

A map is one SQLite file, ``*.r2map``, that can be copied to the robot (``sqlite``), or a schema of
a PostgreSQL database (``postgres``). A keyframe is one transaction: once ``add`` has returned, the
place is on disk; a process that is killed loses at most the keyframe in progress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import MapError
from ..records import Keyframe, LocalFeatures, Pose, Vector
from . import codec as local_codec
from . import landmarks as landmark_codec
from .landmarks import PlaceLandmarks
from .store import BlobRow, LandmarkRow, MapHeader, NewPlace, PlaceStore, copy_places
from .table import PlaceTable, pose_columns

__all__ = ['MapHeader', 'Packed', 'PlaceMap', 'in_database', 'map_exists', 'store_type']

Packed = tuple[bytes, bytes]
"""The descriptor and the local features of a place, as they are stored."""


def _sqlite() -> type[PlaceStore]:
    from .sqlite import SqliteStore

    return SqliteStore


def _postgres() -> type[PlaceStore]:
    from .postgres import PostgresStore

    return PostgresStore


STORES: dict[str, Callable[[], type[PlaceStore]]] = {
    '': _sqlite,
    'postgresql': _postgres,
    'postgres': _postgres,
}
"""The kinds of store, by the scheme of a map's address: a plain path has none."""


def in_database(path: str | Path) -> bool:
    """Say whether a map's address is in a database rather than a file's path."""
    return _scheme(path) != ''


def map_exists(path: str | Path) -> bool:
    """
    Say whether something is at a map's address.

    :raises MapError: if its database cannot be reached.
    """
    return store_type(path).exists(path)


def _scheme(path: str | Path) -> str:
    scheme = str(path).partition(':')[0]
    return scheme if scheme in STORES and str(path) != scheme else ''


def store_type(path: str | Path) -> type[PlaceStore]:
    """Return the kind of store for an address."""
    return STORES[_scheme(path)]()


class PlaceMap:
    """An open map. It keeps nothing in memory: what it returns is read from its store."""

    def __init__(self, store: PlaceStore) -> None:
        self._store = store
        self.header = store.header
        self.location = store.location
        self.map_id = store.map_id
        self.index_path = store.index_path

    @classmethod
    def create(cls, path: str | Path, header: MapHeader) -> PlaceMap:
        """
        Make an empty map, open for writing.

        :param path: a file, or ``postgresql://USER@HOST:PORT/DATABASE#MAP``.
        :raises MapError: if it exists already or cannot be written.
        """
        return cls(store_type(path).create(path, header))

    @classmethod
    @contextmanager
    def replacing(cls, path: str | Path, header: MapHeader) -> Iterator[PlaceMap]:
        """
        Make an empty map that replaces the one at its address once the block has succeeded.

        If the block fails, what was there stays. In a database, where nothing may be there yet, a
        kill leaves what was written so far; next to a file, it leaves ``*.part``, which the next
        call overwrites.

        :raises MapError: if it cannot be written.
        """
        with store_type(path).replacing(path, header) as store:
            yield cls(store)

    @classmethod
    def open(cls, path: str | Path, *, writable: bool = False) -> PlaceMap:
        """
        Open a map.

        :param path: a file, or ``postgresql://USER@HOST:PORT/DATABASE#MAP``.
        :param writable: whether places can be added, by one writer at a time.
        :raises MapError: if it is missing, damaged, not a map, of another format, or, to be
            written, is being written already.
        """
        return cls(store_type(path).open(path, writable=writable))

    def require_weights(self, fingerprint: str, weights: str) -> None:
        """
        Check that the map was built with these weights: only then can descriptors be compared.

        :raises MapError: otherwise, naming both.
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
        return self._store.count()

    def close(self) -> None:
        """Close the map; this releases a writer's lock."""
        self._store.close()

    def remove(self) -> None:
        """Close the map, which is open for writing, and remove it with all its places."""
        self._store.remove()

    def byte_size(self) -> int:
        """Return the size of the map on disk."""
        return self._store.byte_size()

    def add(self, keyframe: Keyframe) -> int:
        """
        Add a place in one transaction and return its id; by then it is on disk.

        :raises MapError: if its features do not fit the map, or the map cannot be written.
        """
        return self.add_all([keyframe])[0]

    def add_all(self, keyframes: Iterable[Keyframe]) -> list[int]:
        """
        Add many places in one transaction, all or none, and return their ids.

        :raises MapError: as ``add``.
        """
        return self._store.append(map(self._new_place, keyframes))

    def copy_from(self, source: PlaceMap) -> int:
        """
        Copy all places, with their ids, and all notes into this map, which is empty.

        :returns: the number of places.
        :raises MapError: if anything is damaged.
        """
        return copy_places(source._store, self._store)

    def places(self) -> PlaceTable:
        """Read all places, in the order of their ids."""
        return PlaceTable(self.location, self._store.places())

    def descriptors(self, after: int = 0) -> tuple[list[int], Vector]:
        """
        Return ids and descriptors (P, D) float32 of all places with ids above ``after``.

        :raises MapError: if one is damaged.
        """
        ids: list[int] = []
        joined = bytearray()
        for row in self._store.descriptors(after):
            ids.append(row.place_id)
            joined += self._intact(row)
        dim = self.header.descriptor_dim
        if len(joined) != 4 * dim * len(ids):
            raise MapError(f'{self.location}: is damaged (descriptors are not of {dim} values); '
                           'see r2former map check')
        return ids, np.frombuffer(joined, '<f4').reshape(len(ids), dim)

    def all_packed(self) -> Iterator[tuple[int, Packed]]:
        """
        Yield id and packed features of all places.

        :raises MapError: if one is damaged.
        """
        for descriptor, local in self._store.features():
            yield descriptor.place_id, (self._intact(descriptor), self._intact(local))

    def packed(self, place_id: int) -> Packed:
        """
        Return the packed features of a place.

        :raises MapError: if it is missing or damaged.
        """
        rows = self._store.features_of(place_id)
        if rows is None:
            raise MapError(f'{self.location}: has no place {place_id}')
        return self._intact(rows[0]), self._intact(rows[1])

    def unpacked(
        self, packed: Sequence[Packed], *, widen: bool = True
    ) -> tuple[list[Vector], list[LocalFeatures]]:
        """
        Unpack descriptors and local features of places of this map.

        :param widen: False leaves local features in float16 if they are stored so.
        """
        header = self.header
        return (
            [np.frombuffer(descriptor, '<f4') for descriptor, _ in packed],
            [local_codec.decode(local, header.local_dtype, header.local_dim, widen=widen)
             for _, local in packed],
        )

    def features(
        self, place_ids: Sequence[int], *, widen: bool = True
    ) -> tuple[list[Vector], list[LocalFeatures]]:
        """
        Read descriptors and local features of places.

        :param widen: as for ``unpacked``.
        :raises MapError: if a place is missing or damaged.
        """
        return self.unpacked([self.packed(one) for one in place_ids], widen=widen)

    def thumbnail(self, place_id: int) -> bytes:
        """
        Return the JPEG of a place; empty if none was stored.

        :raises MapError: if the place is missing or damaged.
        """
        row = self._store.thumbnail_of(place_id)
        if row is None:
            raise MapError(f'{self.location}: has no place {place_id}')
        return self._intact(row)

    def landmarks(self, place_id: int, kind: str) -> PlaceLandmarks | None:
        """
        Return the landmarks of a place that one kind of keypoint sees; None if it has none.

        :raises MapError: if they are damaged.
        """
        for row in self._landmark_rows(place_id):
            if row.kind == kind:
                return landmark_codec.decode(row.blob, kind)
        return None

    def packed_landmarks(self, place_id: int) -> dict[str, bytes]:
        """
        Return the packed landmarks of a place, by kind.

        :raises MapError: if they are damaged.
        """
        return {row.kind: row.blob for row in self._landmark_rows(place_id)}

    def landmark_kinds(self) -> list[str]:
        """Return the kinds of keypoints that some place has landmarks of."""
        return self._store.landmark_kinds()

    def write_landmarks(self, place_id: int, packed: Mapping[str, bytes]) -> None:
        """
        Store landmarks of a place, by kind, replacing the previous ones, in one transaction.

        :raises MapError: if the map cannot be written.
        """
        self._store.write_landmarks(
            [LandmarkRow.of(place_id, kind, blob) for kind, blob in packed.items()])

    def copy_to(self, path: str | Path) -> int:
        """
        Write all places to a file, which is replaced, and return their number.

        Keyframes may be added meanwhile, even from another thread: the copy has those that were on
        disk at the start, under the same ids. It is a map of its own, with another ``map_id``.

        :raises MapError: if a place is damaged, or the copy would replace this map.
        :raises FileError: if the file cannot be written.
        """
        if in_database(path) or Path(path).resolve() == Path(self.location).resolve():
            raise MapError(f'{path}: is this map itself, or not a file; choose another name for '
                           'the copy')
        with PlaceMap.open(self.location) as source, \
                PlaceMap.replacing(path, self.header) as target:
            return target.copy_from(source)

    def note(self, name: str) -> Any:
        """
        Return what ``write_note`` stored under a name; None if nothing was.

        :raises MapError: if it is damaged.
        """
        return self._store.note(name)

    def note_names(self) -> list[str]:
        """Return the names of all notes."""
        return self._store.note_names()

    def write_note(self, name: str, value: Any) -> None:
        """
        Store a JSON value under a name, replacing the previous one, in one transaction.

        :raises MapError: if the map cannot be written.
        """
        self._store.write_note(name, value)

    def problems(self) -> Iterator[str]:
        """Check the whole map and yield a line for each problem."""
        yield from self._store.damage()
        places = self.places()
        for place_id in places:
            try:
                places[place_id]
            except MapError:
                yield f'place {place_id}: does not match its checksum'
        seen = set()
        for descriptor, local in self._store.features():
            seen.add(descriptor.place_id)
            yield from self._problems_of(descriptor, local)
        for place_id in seen.symmetric_difference(places):
            yield f'place {place_id}: has features but no place, or no features'
        for row in self._store.thumbnails():
            if not row.intact:
                yield f'place {row.place_id}: thumbnail does not match its checksum'
        for place_id in places:
            if not all(row.intact for row in self._store.landmarks_of(place_id)):
                yield f'place {place_id}: landmarks do not match their checksum'

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
            *pose_columns(self._checked_pose(keyframe.map_T_camera)),
            source=keyframe.source,
            descriptor=self._checked_descriptor(keyframe.descriptor),
            local=local_codec.encode(keyframe.local_features, self.header.local_dtype),
            thumbnail=keyframe.thumbnail,
            landmarks=tuple(keyframe.landmarks.items()),
        )

    def _checked_pose(self, pose: Pose | None) -> Pose | None:
        if pose is not None and not np.isfinite(pose).all():
            raise MapError(f'{self.location}: a pose has values that are not finite; use None for '
                           'an unknown pose')
        return pose

    def _checked_descriptor(self, descriptor: Vector) -> bytes:
        if descriptor.shape != (self.header.descriptor_dim,) or not np.isfinite(descriptor).all():
            raise MapError(f'{self.location}: descriptor of shape {descriptor.shape}, finite '
                           f'values of shape ({self.header.descriptor_dim},) expected')
        return descriptor.astype('<f4').tobytes()

    def _landmark_rows(self, place_id: int) -> list[LandmarkRow]:
        rows = self._store.landmarks_of(place_id)
        if not all(row.intact for row in rows):
            raise MapError(f'{self.location}: the landmarks of place {place_id} are damaged; '
                           'see r2former map check')
        return rows

    def _intact(self, row: BlobRow) -> bytes:
        if not row.intact:
            raise MapError(f'{self.location}: place {row.place_id} is damaged; '
                           'see r2former map check')
        return row.blob
