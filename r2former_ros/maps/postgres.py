# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The rows of a map in PostgreSQL with pgvector: the store of a fleet.

An address is ``postgresql://USER@HOST:PORT/DATABASE#MAP``: a URI as libpq takes it, then the name
of the map, which is a schema of the database. Each transaction is acknowledged as the server's
``synchronous_commit`` says. One writer holds an advisory lock on the map; the server releases it
with the connection. Readers may come and go meanwhile.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.process import cache_folder
from ..errors import MapError
from .postgres_connection import (
    Address,
    connected,
    enter,
    has_schema,
    lock,
    mark,
    require_map,
    translated,
)
from .store import (
    NOTE,
    BlobRow,
    LandmarkRow,
    MapHeader,
    NewPlace,
    PlaceRow,
    meta_rows,
    note_row,
    read_meta,
    read_note,
    released_on_error,
)

if TYPE_CHECKING:
    from .postgres_connection import Connection

VECTORS_AT_ONCE, BLOBS_AT_ONCE = 4096, 64
"""Rows read by one query: a few megabytes of either kind."""

SCHEMA = """
CREATE TABLE meta (
    key text PRIMARY KEY,
    value text NOT NULL,            -- JSON
    checksum bigint NOT NULL        -- in each table: CRC-32 of the other columns
);
CREATE TABLE places (
    id bigint PRIMARY KEY,
    stamp_ns bigint NOT NULL,
    x double precision, y double precision, z double precision,  -- metres; NULL: pose unknown
    rotation bytea,                 -- 3x3 float64, row by row
    source text NOT NULL,
    checksum bigint NOT NULL
);
CREATE TABLE descriptors (
    place_id bigint PRIMARY KEY REFERENCES places (id) ON DELETE CASCADE,
    descriptor vector({dim}) NOT NULL,  -- unit norm; the checksum is that of its float32 bytes
    checksum bigint NOT NULL
);
CREATE TABLE features (
    place_id bigint PRIMARY KEY REFERENCES places (id) ON DELETE CASCADE,
    local bytea NOT NULL,           -- see local_codec.py
    checksum bigint NOT NULL
);
CREATE TABLE thumbnails (
    place_id bigint PRIMARY KEY REFERENCES places (id) ON DELETE CASCADE,
    jpeg bytea NOT NULL,            -- empty where none was made
    checksum bigint NOT NULL
);
"""
LANDMARKS = """CREATE TABLE IF NOT EXISTS landmarks (
    place_id bigint NOT NULL REFERENCES places (id) ON DELETE CASCADE,
    kind text NOT NULL,             -- of keypoints: sift, xfeat
    blob bytea NOT NULL,            -- see landmarks.py
    checksum bigint NOT NULL,
    PRIMARY KEY (place_id, kind)
)"""
INSERT_LANDMARKS = """INSERT INTO landmarks VALUES (%s, %s, %s, %s)
                      ON CONFLICT (place_id, kind) DO UPDATE
                      SET blob = excluded.blob, checksum = excluded.checksum"""
FEATURES = """SELECT descriptors.place_id, descriptor, descriptors.checksum,
                     local, features.checksum
              FROM descriptors LEFT JOIN features ON features.place_id = descriptors.place_id
              WHERE descriptors.place_id """
INSERT = """WITH place AS (INSERT INTO places VALUES (%s, %s, %s, %s, %s, %s, %s, %s)),
                 descriptor AS (INSERT INTO descriptors VALUES (%s, %s::vector, %s)),
                 local AS (INSERT INTO features VALUES (%s, %s, %s))
            INSERT INTO thumbnails VALUES (%s, %s, %s)"""


class PostgresStore:
    """A map in a database, connected to. Its calls are those of ``PlaceStore``."""

    def __init__(self, address: Address, connection: Connection) -> None:
        """
        Read the header.

        :raises MapError: if it is damaged.
        """
        self.location = address.text
        self._address = address
        self._connection = connection
        rows = self._all('SELECT key, value, checksum FROM meta')
        self.header, self.map_id = read_meta(self.location, rows)
        self.index_path = cache_folder() / f'{self.map_id}.index'

    @classmethod
    def create(cls, address: str | Path, header: MapHeader) -> PostgresStore:
        """
        Make an empty map that can be written.

        :raises MapError: if there is one of this name, or the server does not let us.
        """
        where = Address.parse(str(address))
        connection = connected(where)
        with translated(where), released_on_error(connection.close):
            lock(where, connection)
            if has_schema(where, connection):
                raise MapError(f'{where.text}: exists already; choose another name or remove it')
            with connection.transaction():
                connection.execute(f'CREATE SCHEMA "{where.name}"')
                enter(where, connection)
                connection.execute(SCHEMA.format(dim=int(header.descriptor_dim)))
                connection.execute(LANDMARKS)
                rows = meta_rows(header, uuid.uuid4().hex)
                connection.cursor().executemany('INSERT INTO meta VALUES (%s, %s, %s)', rows)
                connection.execute(f'COMMENT ON SCHEMA "{where.name}" IS \'{mark()}\'')
            return cls(where, connection)

    @classmethod
    def open(cls, address: str | Path, *, writable: bool) -> PostgresStore:
        """
        Open a map.

        :raises MapError: if server or map are missing, or the map is no map, damaged, of another
            format, or, to be written, is being written already.
        """
        where = Address.parse(str(address))
        connection = connected(where)
        with translated(where), released_on_error(connection.close):
            require_map(where, connection)
            if writable:
                lock(where, connection)
            else:
                connection.execute('SET default_transaction_read_only = on')
            enter(where, connection)
            if writable:
                connection.execute(LANDMARKS)
            return cls(where, connection)

    @classmethod
    @contextmanager
    def replacing(cls, address: str | Path, header: MapHeader) -> Iterator[PostgresStore]:
        """
        Make a map that is removed again if the block fails; a kill leaves what was written so far.

        :raises MapError: if there is one of this name: a map in a database is not overwritten.
        """
        with closing(cls.create(address, header)) as store, released_on_error(store.remove):
            yield store

    @classmethod
    def exists(cls, address: str | Path) -> bool:
        """
        Say whether there is a map, or something else of its name.

        :raises MapError: if the server cannot be asked.
        """
        where = Address.parse(str(address))
        connection = connected(where)
        with translated(where), connection:
            return has_schema(where, connection)

    def close(self) -> None:
        """Close the connection; with it goes the writer's lock."""
        self._connection.close()

    def remove(self) -> None:
        """Remove the map and close the connection."""
        with translated(self._address):
            self._connection.execute(f'DROP SCHEMA "{self._address.name}" CASCADE')
        self.close()

    def count(self) -> int:
        """Return the number of places."""
        return int(self._one('SELECT count(*) FROM places')[0])

    def byte_size(self) -> int:
        """Return what the tables and their indices take on the server's disk."""
        return int(self._one(
            'SELECT coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint FROM pg_class '
            "WHERE relkind = 'r' AND relnamespace = %s::regnamespace",
            (f'"{self._address.name}"',))[0])

    def append(self, places: Iterable[NewPlace]) -> list[int]:
        """Write places in one transaction; it is committed once their ids are returned."""
        ids: list[int] = []

        landmarks: list[LandmarkRow] = []

        def rows() -> Iterator[tuple[Any, ...]]:
            for place in places:
                numbered = place.numbered(next_id + len(ids))
                ids.append(numbered.place_id)
                landmarks.extend(numbered.landmark_rows)
                yield _columns(numbered)

        with translated(self._address), self._connection.transaction():
            next_id = self._one('SELECT coalesce(max(id), 0) FROM places')[0] + 1
            self._connection.cursor().executemany(INSERT, rows())
            self._connection.cursor().executemany(INSERT_LANDMARKS, landmarks)
        return ids

    def places(self) -> Iterator[PlaceRow]:
        """Yield all rows of places, by id; as plain tuples, which are quicker."""
        rows: list[Any] = self._all(
            'SELECT id, stamp_ns, x, y, z, rotation, source, checksum FROM places ORDER BY id')
        yield from rows

    def descriptors(self, after: int) -> Iterator[BlobRow]:
        """Yield the descriptors of places with larger ids than ``after``, by id."""
        query = 'SELECT * FROM descriptors WHERE place_id > %s ORDER BY place_id LIMIT %s'
        for place_id, vector, checksum in self._by_id(query, after, VECTORS_AT_ONCE):
            yield BlobRow(place_id, _float32(vector), checksum)

    def features(self) -> Iterator[tuple[BlobRow, BlobRow]]:
        """Yield descriptor and local features of all places, by id."""
        query = f'{FEATURES} > %s ORDER BY descriptors.place_id LIMIT %s'
        yield from map(_feature_rows, self._by_id(query, 0, BLOBS_AT_ONCE))

    def features_of(self, place_id: int) -> tuple[BlobRow, BlobRow] | None:
        """Return descriptor and local features of a place, None if there is no such place."""
        rows = self._all(f'{FEATURES} = %s', (place_id,))
        return _feature_rows(rows[0]) if rows else None

    def thumbnail_of(self, place_id: int) -> BlobRow | None:
        """Return the JPEG of a place, None if there is no such place."""
        rows = self._all('SELECT * FROM thumbnails WHERE place_id = %s', (place_id,))
        return BlobRow(*rows[0]) if rows else None

    def thumbnails(self) -> Iterator[BlobRow]:
        """Yield all thumbnails, by id."""
        query = 'SELECT * FROM thumbnails WHERE place_id > %s ORDER BY place_id LIMIT %s'
        yield from map(BlobRow._make, self._by_id(query, 0, BLOBS_AT_ONCE))

    def landmarks_of(self, place_id: int) -> list[LandmarkRow]:
        """Return the landmarks of a place, by kind; empty for a map that has none."""
        if not self._has_landmarks():
            return []
        query = 'SELECT * FROM landmarks WHERE place_id = %s ORDER BY kind'
        return [LandmarkRow(*row) for row in self._all(query, (place_id,))]

    def landmark_kinds(self) -> list[str]:
        """Return the kinds of keypoints that some place has landmarks of."""
        if not self._has_landmarks():
            return []
        return [kind for kind, in self._all('SELECT DISTINCT kind FROM landmarks ORDER BY kind')]

    def write_landmarks(self, rows: Sequence[LandmarkRow]) -> None:
        """Store landmarks of existing places, replacing theirs, in one transaction."""
        with translated(self._address), self._connection.transaction():
            self._connection.cursor().executemany(INSERT_LANDMARKS, rows)

    def _has_landmarks(self) -> bool:
        return bool(self._one("SELECT to_regclass('landmarks') IS NOT NULL")[0])

    def note(self, name: str) -> Any:
        """Return what was written under a name beside the header, None where nothing was."""
        rows = self._all('SELECT key, value, checksum FROM meta WHERE key = %s', (NOTE + name,))
        return read_note(self.location, rows[0] if rows else None)

    def note_names(self) -> list[str]:
        """Return the names of all notes."""
        rows = self._all('SELECT key FROM meta WHERE starts_with(key, %s) ORDER BY key', (NOTE,))
        return [key.removeprefix(NOTE) for key, in rows]

    def write_note(self, name: str, value: Any) -> None:
        """Write what JSON can hold under a name, in one transaction."""
        with translated(self._address):
            self._connection.execute(
                'INSERT INTO meta VALUES (%s, %s, %s) ON CONFLICT (key) DO UPDATE '
                'SET value = excluded.value, checksum = excluded.checksum', note_row(name, value))

    def damage(self) -> Iterator[str]:
        """Yield nothing: the server verifies its own pages whenever it reads them."""
        return iter(())

    def _by_id(self, query: str, after: int, at_once: int) -> Iterator[tuple[Any, ...]]:
        """Read so many rows at a time, so that memory stays small and no transaction open."""
        while rows := self._all(query, (after, at_once)):
            yield from rows
            after = rows[-1][0]

    def _one(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        return self._all(query, values)[0]

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with translated(self._address):
            return self._connection.cursor(binary=True).execute(query, values).fetchall()


def _columns(place: NewPlace) -> tuple[Any, ...]:
    """Return what ``INSERT`` takes; decimals of a float32 written as float64 are exact."""
    place_id, _, checksum = place.blob_row(place.descriptor)
    vector = str(np.frombuffer(place.descriptor, '<f4').tolist())
    return (*place.place_row, place_id, vector, checksum,
            *place.blob_row(place.local), *place.blob_row(place.thumbnail))


def _float32(vector: bytes) -> bytes:
    """Return float32, little-endian, of pgvector's binary format: two int16, big-endian floats."""
    (dim,) = struct.unpack_from('>h', vector)
    return np.frombuffer(vector, '>f4', dim, offset=4).astype('<f4').tobytes()


def _feature_rows(row: tuple[Any, ...]) -> tuple[BlobRow, BlobRow]:
    place_id, vector, vector_checksum, local, local_checksum = row
    return (BlobRow(place_id, _float32(vector), vector_checksum),
            BlobRow(place_id, local, local_checksum))
