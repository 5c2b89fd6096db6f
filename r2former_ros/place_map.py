# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The map file: one SQLite database, ``*.r2map``.

One file to copy to the robot, readable with the ``sqlite3`` shell. A keyframe is one transaction
in write-ahead logging with ``synchronous = FULL``: a place that ``add`` has returned is on disk,
and a process killed at any instant loses at most the keyframe in flight.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from . import __version__, local_codec
from .errors import MapError
from .records import Keyframe, LocalFeatures, Place, Pose, Vector

APPLICATION_ID = int.from_bytes(b'R2FM', 'big')
FORMAT_VERSION = 1
SUFFIX = '.r2map'
NOTE = 'note.'
"""Keys of ``meta`` that start so belong to ``note``, the others to the header."""

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE places (
    id INTEGER PRIMARY KEY,
    stamp_ns INTEGER NOT NULL,
    x REAL, y REAL, z REAL,         -- metres in the map frame; NULL: pose unknown
    rotation BLOB,                  -- 3x3 float64, row by row
    source TEXT NOT NULL,
    thumbnail BLOB NOT NULL         -- JPEG, or empty
);
CREATE TABLE features (
    place_id INTEGER PRIMARY KEY REFERENCES places (id),
    descriptor BLOB NOT NULL,       -- float32, unit norm
    local BLOB NOT NULL,            -- see local_codec.py
    checksum INTEGER NOT NULL       -- CRC-32 of descriptor and local
);
"""


@dataclass(frozen=True)
class MapHeader:
    """What all places of a map have in common: how they were made and how they are stored."""

    fingerprint: str
    weights: str
    trained: bool
    descriptor_dim: int
    local_dim: int
    local_dtype: str = 'float16'
    frame_id: str = 'map'
    config: dict[str, Any] = field(default_factory=dict)


class PlaceMap:
    """A map that is open: the only place that knows its tables."""

    def __init__(self, path: Path, connection: sqlite3.Connection, header: MapHeader) -> None:
        self.path = path
        self.header = header
        self._connection = connection
        self._preloaded: dict[int, tuple[bytes, bytes]] = {}

    @classmethod
    def create(cls, path: str | Path, header: MapHeader) -> PlaceMap:
        """
        Make an empty map that can be added to.

        :raises MapError: if the file exists already or cannot be written.
        """
        path = Path(path)
        if path.exists():
            raise MapError(f'{path}: exists already; choose another name or remove it')
        if not path.parent.is_dir():
            raise MapError(f'{path}: there is no folder {path.parent}')
        with _translated(path):
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            connection.execute('PRAGMA page_size = 65536')
            _prepare_writing(connection)
            connection.executescript(f'BEGIN; {SCHEMA}')
            connection.executemany('INSERT INTO meta VALUES (?, ?)', _meta_rows(header))
            connection.execute(f'PRAGMA user_version = {FORMAT_VERSION}')
            connection.execute(f'PRAGMA application_id = {APPLICATION_ID}')
            connection.execute('COMMIT')
        return cls(path, connection, header)

    @classmethod
    def open(cls, path: str | Path, *, writable: bool = False) -> PlaceMap:
        """
        Open a map.

        :param writable: places can be added; else the file is not changed.
        :raises MapError: if the file is missing, damaged, no map, or of a newer format.
        """
        path = Path(path)
        if not path.is_file():
            raise MapError(f'{path}: no such map file; r2former map build makes one')
        with _translated(path):
            connection = _connect(path, writable)
            try:
                header = _read_header(path, connection)
                if writable:
                    _prepare_writing(connection)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection, header)

    def require_weights(self, fingerprint: str, weights: str) -> None:
        """
        Refuse other weights than those the map was built with: descriptors would not compare.

        :raises MapError: naming both.
        """
        if fingerprint != self.header.fingerprint:
            raise MapError(
                f'{self.path}: was built with weights {self.header.fingerprint} '
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
        with _translated(self.path):
            return int(self._connection.execute('SELECT count(*) FROM places').fetchone()[0])

    def close(self) -> None:
        """Close the file; afterwards it is a single file again."""
        self._connection.close()

    def add(self, keyframe: Keyframe) -> int:
        """
        Add a place in one transaction and return its id; then it is safely on disk.

        :raises MapError: if the sizes do not fit the map, or the file cannot be written.
        """
        descriptor = self._checked_descriptor(keyframe.descriptor)
        local = local_codec.encode(keyframe.local_features, self.header.local_dtype)
        with _translated(self.path):
            self._connection.execute('BEGIN IMMEDIATE')
            try:
                place_id = self._insert(keyframe, descriptor, local)
                self._connection.execute('COMMIT')
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute('ROLLBACK')
                raise
        return place_id

    def places(self) -> dict[int, Place]:
        """Return all places by id, in the order of their ids."""
        query = 'SELECT id, stamp_ns, x, y, z, rotation, source FROM places ORDER BY id'
        with _translated(self.path):
            return {row[0]: _place(row) for row in self._connection.execute(query)}

    def descriptors(self) -> tuple[list[int], Vector]:
        """
        Return the ids of all places and their descriptors (P, D) float32.

        :raises MapError: if one has not the map's size.
        """
        query = 'SELECT place_id, descriptor FROM features ORDER BY place_id'
        with _translated(self.path):
            rows = self._connection.execute(query).fetchall()
        size = 4 * self.header.descriptor_dim
        for place_id, blob in rows:
            if len(blob) != size:
                raise MapError(f'{self.path}: place {place_id} is damaged: descriptor of '
                               f'{len(blob)} bytes, not {size}; see r2former map check')
        joined = np.frombuffer(b''.join(blob for _, blob in rows), '<f4')
        return [row[0] for row in rows], joined.reshape(len(rows), self.header.descriptor_dim)

    def preload(self, budget_mb: int) -> int:
        """Read features into memory, as stored, up to a budget; return how many places."""
        left = budget_mb * 2**20
        query = 'SELECT place_id, descriptor, local, checksum FROM features ORDER BY place_id'
        with _translated(self.path):
            for place_id, descriptor, local, checksum in self._connection.execute(query):
                left -= len(descriptor) + len(local)
                if left < 0:
                    break
                self._preloaded[place_id] = self._verified(place_id, descriptor, local, checksum)
        return len(self._preloaded)

    def features(self, place_ids: Sequence[int]) -> tuple[list[Vector], list[LocalFeatures]]:
        """
        Return descriptors and local features of places, from memory or from the file.

        :raises MapError: if a place is missing or damaged.
        """
        blobs = [self._preloaded.get(one) or self._read_features(one) for one in place_ids]
        header = self.header
        return (
            [np.frombuffer(descriptor, '<f4') for descriptor, _ in blobs],
            [local_codec.decode(local, header.local_dtype, header.local_dim)
             for _, local in blobs],
        )

    def thumbnail(self, place_id: int) -> bytes:
        """Return the JPEG of a place, empty where none was stored."""
        query = 'SELECT thumbnail FROM places WHERE id = ?'
        with _translated(self.path):
            row = self._connection.execute(query, (place_id,)).fetchone()
        return bytes(row[0]) if row else b''

    def note(self, name: str) -> Any:
        """Return what ``write_note`` stored under a name, None where nothing was."""
        query = 'SELECT value FROM meta WHERE key = ?'
        with _translated(self.path):
            row = self._connection.execute(query, (NOTE + name,)).fetchone()
        return json.loads(row[0]) if row else None

    def write_note(self, name: str, value: Any) -> None:
        """
        Store what JSON can hold beside the header, in one transaction, in place of what was there.

        :raises MapError: if the file cannot be written.
        """
        with _translated(self.path):
            self._connection.execute(
                'INSERT OR REPLACE INTO meta VALUES (?, ?)', (NOTE + name, json.dumps(value))
            )

    def problems(self) -> Iterator[str]:
        """Look through the whole file and yield one line for each thing that is wrong."""
        with _translated(self.path):
            for (line,) in self._connection.execute('PRAGMA integrity_check'):
                if line != 'ok':
                    yield f'file structure: {line}'
            query = """SELECT places.id, descriptor, local, checksum FROM places
                       LEFT JOIN features ON features.place_id = places.id"""
            for row in self._connection.execute(query):
                yield from self._problems_of(*row)

    def _problems_of(
        self, place_id: int, descriptor: bytes | None, local: bytes, checksum: int
    ) -> Iterator[str]:
        if descriptor is None:
            yield f'place {place_id}: has no features'
            return
        if zlib.crc32(local, zlib.crc32(descriptor)) != checksum:
            yield f'place {place_id}: features do not match their checksum'
        vector = np.frombuffer(descriptor, '<f4')
        if vector.size != self.header.descriptor_dim or not abs(np.linalg.norm(vector) - 1) < 1e-3:
            yield f'place {place_id}: descriptor has not {self.header.descriptor_dim} values ' \
                  'of unit norm'

    def _checked_descriptor(self, descriptor: Vector) -> bytes:
        if descriptor.shape != (self.header.descriptor_dim,) or not np.isfinite(descriptor).all():
            raise MapError(f'{self.path}: descriptor of shape {descriptor.shape}, finite values '
                           f'of shape ({self.header.descriptor_dim},) expected')
        return descriptor.astype('<f4').tobytes()

    def _insert(self, keyframe: Keyframe, descriptor: bytes, local: bytes) -> int:
        cursor = self._connection.execute(
            'INSERT INTO places VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)',
            (keyframe.stamp_ns, *_pose_columns(keyframe.map_T_camera), keyframe.source,
             keyframe.thumbnail),
        )
        checksum = zlib.crc32(local, zlib.crc32(descriptor))
        self._connection.execute(
            'INSERT INTO features VALUES (?, ?, ?, ?)',
            (cursor.lastrowid, descriptor, local, checksum),
        )
        return int(cursor.lastrowid or 0)

    def _read_features(self, place_id: int) -> tuple[bytes, bytes]:
        query = 'SELECT descriptor, local, checksum FROM features WHERE place_id = ?'
        with _translated(self.path):
            row = self._connection.execute(query, (place_id,)).fetchone()
        if row is None:
            raise MapError(f'{self.path}: has no place {place_id}')
        return self._verified(place_id, *row)

    def _verified(
        self, place_id: int, descriptor: bytes, local: bytes, checksum: int
    ) -> tuple[bytes, bytes]:
        if zlib.crc32(local, zlib.crc32(descriptor)) != checksum:
            raise MapError(f'{self.path}: place {place_id} is damaged; see r2former map check')
        return descriptor, local


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, naming the file and a remedy."""
    try:
        yield
    except sqlite3.Error as error:
        raise MapError(f'{path}: {_explained(error)}') from error


def _explained(error: sqlite3.Error) -> str:
    text = str(error)
    if 'locked' in text:
        return 'another process is writing to it; try again'
    if 'full' in text or 'disk I/O' in text:
        return f'cannot be written ({text}); is the disk full? Places added before are safe'
    if isinstance(error, sqlite3.OperationalError):
        return f'cannot be read or written ({text})'
    return f'is damaged, or no map file ({text}); restore a copy or build the map again'


def _connect(path: Path, writable: bool) -> sqlite3.Connection:
    if writable:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    address = path.resolve().as_uri()
    try:
        connection = sqlite3.connect(f'{address}?mode=ro', uri=True, check_same_thread=False)
        connection.execute('PRAGMA schema_version').fetchone()
        return connection
    except sqlite3.OperationalError:
        if Path(f'{path}-wal').exists():
            raise
        # A read-only folder cannot hold the shared-memory file that WAL needs. Nobody can be
        # writing there either, so the file may be taken as it is.
        return sqlite3.connect(f'{address}?immutable=1', uri=True, check_same_thread=False)


def _prepare_writing(connection: sqlite3.Connection) -> None:
    connection.execute('PRAGMA journal_mode = WAL')
    # FULL syncs at each commit, so that an acknowledged place survives a power cut as well.
    connection.execute('PRAGMA synchronous = FULL')
    connection.execute('PRAGMA foreign_keys = ON')


def _read_header(path: Path, connection: sqlite3.Connection) -> MapHeader:
    application_id = connection.execute('PRAGMA application_id').fetchone()[0]
    version = connection.execute('PRAGMA user_version').fetchone()[0]
    if application_id != APPLICATION_ID:
        raise MapError(f'{path}: is no r2former map; r2former map build makes one')
    if version > FORMAT_VERSION:
        raise MapError(f'{path}: map format {version} is newer than {FORMAT_VERSION}, which this '
                       'version reads; update r2former_ros')
    values = {key: json.loads(text) for key, text in connection.execute('SELECT * FROM meta')
              if not key.startswith(NOTE)}
    values.pop('package_version', None)
    try:
        return MapHeader(**values)
    except TypeError as error:
        raise MapError(f'{path}: its header is damaged ({error})') from error


def _meta_rows(header: MapHeader) -> list[tuple[str, str]]:
    values = {**header.__dict__, 'package_version': __version__}
    return [(key, json.dumps(value)) for key, value in values.items()]


def _pose_columns(pose: Pose | None) -> tuple[float | bytes | None, ...]:
    if pose is None:
        return None, None, None, None
    rotation = np.ascontiguousarray(pose[:3, :3], '<f8').tobytes()
    return (*map(float, pose[:3, 3]), rotation)


def _place(row: tuple[Any, ...]) -> Place:
    place_id, stamp_ns, x, y, z, rotation, source = row
    pose = None
    if rotation is not None:
        pose = np.eye(4)
        pose[:3, :3] = np.frombuffer(rotation, '<f8').reshape(3, 3)
        pose[:3, 3] = x, y, z
    return Place(place_id, stamp_ns, pose, source)
