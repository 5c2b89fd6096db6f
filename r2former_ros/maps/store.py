# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a map needs from its store: the same few calls for SQLite and PostgreSQL.

A store moves rows; only ``place_map`` knows what they mean. Every row ends in the CRC-32 of its
other columns, so that a reader can tell whether it is what was written.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .. import __version__
from ..errors import MapError

FORMAT_VERSION = 2
SAVE = 'restore a copy, or save what is intact with r2former map check --repair'
"""The remedy for a damaged row of meta."""
NOTE = 'note.'
"""Prefix of the keys of notes in meta; the other keys are the header."""
COPIED_AT_ONCE = 256
"""Places per transaction while a map is copied."""


@dataclass(frozen=True)
class MapHeader:
    """What all places of a map share: how they were made and how they are stored."""

    fingerprint: str
    weights: str
    trained: bool
    descriptor_dim: int
    local_dim: int
    local_dtype: str = 'float16'
    frame_id: str = 'map'
    config: dict[str, Any] = field(default_factory=dict)


class PlaceRow(NamedTuple):
    """A row of places: stamp, position in metres (None: unknown), rotation 3x3 float64, source."""

    place_id: int
    stamp_ns: int
    x: float | None
    y: float | None
    z: float | None
    rotation: bytes | None
    source: str
    checksum: int


class BlobRow(NamedTuple):
    """A row of descriptors, features or thumbnails."""

    place_id: int
    blob: bytes
    checksum: int

    @property
    def intact(self) -> bool:
        """Whether the row is what was written."""
        return isinstance(self.blob, bytes) and \
            checksum(self.place_id, self.blob) == self.checksum


class LandmarkRow(NamedTuple):
    """A row of landmarks: those of one kind of keypoint of one place."""

    place_id: int
    kind: str
    blob: bytes
    checksum: int

    @classmethod
    def of(cls, place_id: int, kind: str, blob: bytes) -> LandmarkRow:
        """Make a row with its checksum."""
        return cls(place_id, kind, blob, checksum(place_id, kind, blob))

    @property
    def intact(self) -> bool:
        """Whether the row is what was written."""
        return isinstance(self.blob, bytes) and isinstance(self.kind, str) and \
            checksum(self.place_id, self.kind, self.blob) == self.checksum


@dataclass(frozen=True)
class NewPlace:
    """The columns of a keyframe to be written. ``place_id`` 0: the next free one."""

    stamp_ns: int
    x: float | None
    y: float | None
    z: float | None
    rotation: bytes | None
    source: str
    descriptor: bytes
    local: bytes
    thumbnail: bytes
    place_id: int = 0
    landmarks: tuple[tuple[str, bytes], ...] = ()
    """Kind and blob, for each kind of keypoint."""

    def numbered(self, next_id: int) -> NewPlace:
        """Return it with an id."""
        return self if self.place_id else replace(self, place_id=next_id)

    @property
    def place_row(self) -> PlaceRow:
        """The row of places."""
        columns = (self.place_id, self.stamp_ns, self.x, self.y, self.z, self.rotation,
                   self.source)
        return PlaceRow(*columns, checksum(*columns))

    def blob_row(self, blob: bytes) -> BlobRow:
        """Return the row of one of the other tables."""
        return BlobRow(self.place_id, blob, checksum(self.place_id, blob))

    @property
    def landmark_rows(self) -> list[LandmarkRow]:
        """The rows of landmarks."""
        return [LandmarkRow.of(self.place_id, kind, blob) for kind, blob in self.landmarks]


class PlaceStore(Protocol):
    """
    A map's rows in a file or database. Each call raises MapError naming ``location``.

    A new kind of store implements this, and gets a row in ``place_map.STORES``.
    """

    location: str
    """File or address, for messages."""
    header: MapHeader
    map_id: str
    """A random id: no two maps share one."""
    index_path: Path
    """Where a search index may be cached."""

    @classmethod
    def create(cls, path: str | Path, header: MapHeader) -> PlaceStore:
        """Make an empty map, open for writing."""

    @classmethod
    def open(cls, path: str | Path, *, writable: bool) -> PlaceStore:
        """Open a map."""

    @classmethod
    def exists(cls, path: str | Path) -> bool:
        """Say whether something is at this address."""

    @classmethod
    def replacing(
        cls, path: str | Path, header: MapHeader
    ) -> AbstractContextManager[PlaceStore]:
        """Make an empty map that replaces what is at its address once the block has succeeded."""

    def close(self) -> None:
        """Close the file or connection, and release the writer's lock."""

    def remove(self) -> None:
        """Close the map, which is open for writing, and remove it with all its places."""

    def count(self) -> int:
        """Return the number of places."""

    def byte_size(self) -> int:
        """Return the size of the map on disk."""

    def append(self, places: Iterable[NewPlace]) -> list[int]:
        """Write places in one transaction; they are on disk when their ids are returned."""

    def places(self) -> Iterator[PlaceRow]:
        """Yield all rows of places, by id."""

    def descriptors(self, after: int) -> Iterator[BlobRow]:
        """Yield the descriptors of places with ids above ``after``, by id."""

    def features(self) -> Iterator[tuple[BlobRow, BlobRow]]:
        """Yield descriptor and local features of all places, by id."""

    def features_of(self, place_id: int) -> tuple[BlobRow, BlobRow] | None:
        """Return descriptor and local features of a place, None if there is no such place."""

    def thumbnail_of(self, place_id: int) -> BlobRow | None:
        """Return the JPEG of a place, None if there is no such place."""

    def thumbnails(self) -> Iterator[BlobRow]:
        """Yield all thumbnails, by id."""

    def landmarks_of(self, place_id: int) -> list[LandmarkRow]:
        """Return the landmarks of a place, by kind; empty for a map that has none."""

    def landmark_kinds(self) -> list[str]:
        """Return the kinds of keypoints that some place has landmarks of."""

    def write_landmarks(self, rows: Sequence[LandmarkRow]) -> None:
        """Store landmarks of existing places, replacing theirs, in one transaction."""

    def note(self, name: str) -> Any:
        """Return the value stored under a name; None if there is none."""

    def note_names(self) -> list[str]:
        """Return the names of all notes."""

    def write_note(self, name: str, value: Any) -> None:
        """Store a JSON value under a name, in one transaction."""

    def damage(self) -> Iterator[str]:
        """Yield a line for each problem that the storage engine itself finds."""


def copy_places(source: PlaceStore, target: PlaceStore) -> int:
    """
    Copy all places, with their ids, and all notes into an empty map; return their number.

    Places added meanwhile are left out.

    :raises MapError: if anything is damaged.
    """
    copied, rows = 0, _new_places(source)
    while ids := target.append(islice(rows, COPIED_AT_ONCE)):
        copied += len(ids)
    for name in source.note_names():
        target.write_note(name, source.note(name))
    return copied


def _new_places(store: PlaceStore) -> Iterator[NewPlace]:
    for place in [PlaceRow._make(one) for one in store.places()]:
        features, thumbnail = store.features_of(place.place_id), store.thumbnail_of(place.place_id)
        intact = checksum(*place[:-1]) == place.checksum
        landmarks = store.landmarks_of(place.place_id)
        if not intact or not features or not thumbnail \
                or not all(row.intact for row in (*features, thumbnail)) \
                or not all(row.intact for row in landmarks):
            raise MapError(f'{store.location}: place {place.place_id} is damaged; '
                           'see r2former map check')
        descriptor, local = features
        yield NewPlace(place.stamp_ns, place.x, place.y, place.z, place.rotation, place.source,
                       descriptor.blob, local.blob, thumbnail.blob, place.place_id,
                       tuple((row.kind, row.blob) for row in landmarks))


@contextmanager
def released_on_error(release: Callable[[], None]) -> Iterator[None]:
    """Call ``release`` only if the block fails."""
    try:
        yield
    except BaseException:
        release()
        raise


def checksum(*columns: int | float | str | bytes | None) -> int:
    """Return the CRC-32 over columns in their order; None is skipped."""
    crc = 0
    for column in columns:
        if column is None:
            continue
        if isinstance(column, int):
            column = struct.pack('<q', column)
        elif isinstance(column, float):
            column = struct.pack('<d', column)
        elif isinstance(column, str):
            column = column.encode()
        crc = zlib.crc32(column, crc)
    return crc


def meta_rows(header: MapHeader, map_id: str) -> list[tuple[str, str, int]]:
    """Return the rows (key, JSON, checksum) that describe a map."""
    values = {**header.__dict__, 'package_version': __version__, 'map_id': map_id}
    rows = [(key, json.dumps(value)) for key, value in values.items()]
    return [(key, text, checksum(key, text)) for key, text in rows]


def note_row(name: str, value: Any) -> tuple[str, str, int]:
    """Return the row (key, JSON, checksum) of a note."""
    key, text = NOTE + name, json.dumps(value)
    return key, text, checksum(key, text)


def read_note(location: str, row: tuple[str, str, int] | None) -> Any:
    """
    Return the value in a row made by ``note_row``; None without a row.

    :raises MapError: if it is damaged.
    """
    if row is None:
        return None
    key, text, stored = row
    if checksum(key, text) != stored:
        raise MapError(f'{location}: {key!r} does not match its checksum; {SAVE}')
    return json.loads(text)


def read_meta(location: str, rows: Iterable[tuple[str, str, int]]) -> tuple[MapHeader, str]:
    """
    Return header and map id.

    :raises MapError: if a row is damaged or missing.
    """
    values = {}
    for key, text, stored in rows:
        if checksum(key, text) != stored:
            raise MapError(f'{location}: its header is damaged ({key!r} does not match its '
                           f'checksum); {SAVE}')
        values[key] = json.loads(text)
    names = MapHeader.__dataclass_fields__
    missing = {*names, 'map_id'} - values.keys()
    if missing:
        raise MapError(f'{location}: its header is damaged (no {", ".join(sorted(missing))}); '
                       f'{SAVE}')
    return MapHeader(**{name: values[name] for name in names}), values['map_id']
