# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The rows of a map in one SQLite file, ``*.r2map``: the store of a single robot.

While a map is written it is in write-ahead logging with ``synchronous = FULL``: each commit is
synced to disk before it is acknowledged, so that it survives a kill and a power cut. The writer's
clean close folds the log back in, and the map is a single file. One writer holds a lock on
``*.r2map.lock`` as long as it lives; the kernel releases it with the process. Readers may come
and go meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..common.files import replacing
from ..errors import MapError
from .store import (
    FORMAT_VERSION,
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

APPLICATION_ID = int.from_bytes(b'R2FM', 'big')
PAGE_SIZE = 8192
"""Rows of 25 to 130 KB, as local features are, leave 3 % of pages of this size empty or less."""

SCHEMA = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,            -- JSON
    checksum INTEGER NOT NULL       -- in each table: CRC-32 of the other columns
) WITHOUT ROWID;
CREATE TABLE places (
    id INTEGER PRIMARY KEY,
    stamp_ns INTEGER NOT NULL,
    x REAL, y REAL, z REAL,         -- metres in the map frame; NULL: pose unknown
    rotation BLOB,                  -- 3x3 float64, row by row
    source TEXT NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE TABLE descriptors (
    place_id INTEGER PRIMARY KEY REFERENCES places (id) ON DELETE CASCADE,
    descriptor BLOB NOT NULL,       -- float32, unit norm
    checksum INTEGER NOT NULL
);
CREATE TABLE features (
    place_id INTEGER PRIMARY KEY REFERENCES places (id) ON DELETE CASCADE,
    local BLOB NOT NULL,            -- see local_codec.py
    checksum INTEGER NOT NULL
);
CREATE TABLE thumbnails (
    place_id INTEGER PRIMARY KEY REFERENCES places (id) ON DELETE CASCADE,
    jpeg BLOB NOT NULL,             -- empty where none was made
    checksum INTEGER NOT NULL
);
"""
LANDMARKS = """
CREATE TABLE IF NOT EXISTS landmarks (  -- for poses in metres; older maps have no such table
    place_id INTEGER NOT NULL REFERENCES places (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,             -- of keypoints: sift, xfeat
    blob BLOB NOT NULL,             -- see landmarks.py
    checksum INTEGER NOT NULL,
    PRIMARY KEY (place_id, kind)
);
"""
INSERT_LANDMARKS = 'INSERT OR REPLACE INTO landmarks VALUES (?, ?, ?, ?)'
FEATURES = """SELECT descriptors.place_id, descriptor, descriptors.checksum,
                     local, features.checksum
              FROM descriptors LEFT JOIN features ON features.place_id = descriptors.place_id """


class SqliteStore:
    """A map file that is open. Its calls are those of ``PlaceStore``."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, lock: WriterLock | None = None
    ) -> None:
        """
        Read the header.

        :raises MapError: if this is no map, or its header is damaged or of another format.
        """
        self.location = str(path)
        self.index_path = Path(f'{path}.index')
        self._path = path
        self._connection = connection
        self._lock = lock
        with translated(path):
            require_map(path, connection)
            rows = connection.execute('SELECT key, value, checksum FROM meta')
            self.header, self.map_id = read_meta(self.location, rows)

    @classmethod
    def create(cls, path: str | Path, header: MapHeader) -> SqliteStore:
        """
        Make an empty map that can be written.

        :raises MapError: if the file exists already or cannot be written.
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise MapError(f'{path}: there is no folder {path.parent}')
        lock = WriterLock(path)
        with translated(path), released_on_error(lock.release):
            if path.exists():
                raise MapError(f'{path}: exists already; choose another name or remove it')
            connection = _writing_connection(path)
            with released_on_error(connection.close):
                connection.executescript(f'BEGIN; {SCHEMA} {LANDMARKS}')
                rows = meta_rows(header, uuid.uuid4().hex)
                connection.executemany('INSERT INTO meta VALUES (?, ?, ?)', rows)
                connection.execute(f'PRAGMA user_version = {FORMAT_VERSION}')
                connection.execute(f'PRAGMA application_id = {APPLICATION_ID}')
                connection.execute('COMMIT')
                return cls(path, connection, lock)

    @classmethod
    def open(cls, path: str | Path, *, writable: bool) -> SqliteStore:
        """
        Open a map.

        :raises MapError: if it is missing, damaged, truncated, no map, of another format, or, to
            be written, is being written already.
        """
        path = Path(path)
        if not path.is_file():
            raise MapError(f'{path}: no such map file; r2former map build makes one')
        if not writable:
            with translated(path):
                connection = _reading_connection(path)
                with released_on_error(connection.close):
                    return cls(path, connection)
        lock = WriterLock(path)
        with translated(path), released_on_error(lock.release):
            SqliteStore.open(path, writable=False).close()  # never change what is no map
            connection = _writing_connection(path)
            with released_on_error(connection.close):
                connection.execute(LANDMARKS)
                return cls(path, connection, lock)

    @classmethod
    @contextmanager
    def replacing(cls, path: str | Path, header: MapHeader) -> Iterator[SqliteStore]:
        """
        Make a map under another name, and give it its own when the block ends without an error.

        A kill in between leaves ``*.part`` behind, which the next call replaces.

        :raises MapError: if the file cannot be written.
        """
        with replacing(path) as part:
            _unlink(part)
            with closing(cls.create(part, header)) as store, released_on_error(store.remove):
                yield store

    @classmethod
    def exists(cls, path: str | Path) -> bool:
        """Say whether there is a file of this name."""
        return Path(path).exists()

    def close(self) -> None:
        """Close the file; after the last connection it is a single file again."""
        if self._lock is not None:
            # Refused while readers are connected, and where the disk is full: the log then stays
            # beside the map, holds all places, and the next writer folds it in.
            with suppress(sqlite3.OperationalError):
                self._connection.execute('PRAGMA busy_timeout = 0')
                self._connection.execute('PRAGMA journal_mode = DELETE')
        self._connection.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def remove(self) -> None:
        """Close the map and remove its file."""
        self.close()
        _unlink(self._path)

    def count(self) -> int:
        """Return the number of places."""
        with translated(self._path):
            return int(self._connection.execute('SELECT count(*) FROM places').fetchone()[0])

    def byte_size(self) -> int:
        """Return the size of the file and, while it is written, of its log."""
        log = Path(f'{self._path}-wal')
        return self._path.stat().st_size + (log.stat().st_size if log.exists() else 0)

    def append(self, places: Iterable[NewPlace]) -> list[int]:
        """Write places in one transaction; once their ids are returned they are on disk."""
        with translated(self._path):
            self._connection.execute('BEGIN IMMEDIATE')
            try:
                ids = [self._insert(place) for place in places]
                self._connection.execute('COMMIT')
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute('ROLLBACK')
                raise
        return ids

    def places(self) -> Iterator[PlaceRow]:
        """Yield all rows of places, by id; as plain tuples, which are quicker."""
        query = 'SELECT id, stamp_ns, x, y, z, rotation, source, checksum FROM places ORDER BY id'
        with translated(self._path):
            yield from self._connection.execute(query)

    def descriptors(self, after: int) -> Iterator[BlobRow]:
        """Yield the descriptors of places with larger ids than ``after``, by id."""
        query = 'SELECT * FROM descriptors WHERE place_id > ? ORDER BY place_id'
        with translated(self._path):
            yield from map(BlobRow._make, self._connection.execute(query, (after,)))

    def features(self) -> Iterator[tuple[BlobRow, BlobRow]]:
        """Yield descriptor and local features of all places, by id."""
        with translated(self._path):
            for row in self._connection.execute(f'{FEATURES} ORDER BY descriptors.place_id'):
                yield _feature_rows(row)

    def features_of(self, place_id: int) -> tuple[BlobRow, BlobRow] | None:
        """Return descriptor and local features of a place, None if there is no such place."""
        query = f'{FEATURES} WHERE descriptors.place_id = ?'
        with translated(self._path):
            row = self._connection.execute(query, (place_id,)).fetchone()
        return _feature_rows(row) if row else None

    def thumbnail_of(self, place_id: int) -> BlobRow | None:
        """Return the JPEG of a place, None if there is no such place."""
        query = 'SELECT * FROM thumbnails WHERE place_id = ?'
        with translated(self._path):
            row = self._connection.execute(query, (place_id,)).fetchone()
        return BlobRow(*row) if row else None

    def thumbnails(self) -> Iterator[BlobRow]:
        """Yield all thumbnails, by id."""
        query = 'SELECT * FROM thumbnails ORDER BY place_id'
        with translated(self._path):
            yield from map(BlobRow._make, self._connection.execute(query))

    def landmarks_of(self, place_id: int) -> list[LandmarkRow]:
        """Return the landmarks of a place, by kind; empty for a map that has none."""
        query = 'SELECT * FROM landmarks WHERE place_id = ? ORDER BY kind'
        with translated(self._path):
            if not self._has_landmarks():
                return []
            return [LandmarkRow(*row) for row in self._connection.execute(query, (place_id,))]

    def landmark_kinds(self) -> list[str]:
        """Return the kinds of keypoints that some place has landmarks of."""
        with translated(self._path):
            if not self._has_landmarks():
                return []
            rows = self._connection.execute('SELECT DISTINCT kind FROM landmarks ORDER BY kind')
            return [kind for kind, in rows]

    def write_landmarks(self, rows: Sequence[LandmarkRow]) -> None:
        """Store landmarks of existing places, replacing theirs, in one transaction."""
        with translated(self._path):
            self._connection.execute('BEGIN IMMEDIATE')
            try:
                self._connection.executemany(INSERT_LANDMARKS, rows)
                self._connection.execute('COMMIT')
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute('ROLLBACK')
                raise

    def note(self, name: str) -> Any:
        """Return what was written under a name beside the header, None where nothing was."""
        query = 'SELECT key, value, checksum FROM meta WHERE key = ?'
        with translated(self._path):
            row = self._connection.execute(query, (NOTE + name,)).fetchone()
        return read_note(self.location, row)

    def note_names(self) -> list[str]:
        """Return the names of all notes."""
        with translated(self._path):
            rows = self._connection.execute('SELECT key FROM meta ORDER BY key').fetchall()
        return [key.removeprefix(NOTE) for key, in rows if key.startswith(NOTE)]

    def write_note(self, name: str, value: Any) -> None:
        """Write what JSON can hold under a name, in one transaction."""
        with translated(self._path):
            query = 'INSERT OR REPLACE INTO meta VALUES (?, ?, ?)'
            self._connection.execute(query, note_row(name, value))

    def damage(self) -> Iterator[str]:
        """Yield what SQLite's own check of the file's structure finds."""
        with translated(self._path):
            for (line,) in self._connection.execute('PRAGMA integrity_check'):
                if line != 'ok':
                    yield f'file structure: {" ".join(line.split())}'

    def _insert(self, place: NewPlace) -> int:
        execute = self._connection.execute
        last = execute('SELECT coalesce(max(id), 0) FROM places').fetchone()[0]
        place = place.numbered(last + 1)
        execute('INSERT INTO places VALUES (?, ?, ?, ?, ?, ?, ?, ?)', place.place_row)
        execute('INSERT INTO descriptors VALUES (?, ?, ?)', place.blob_row(place.descriptor))
        execute('INSERT INTO features VALUES (?, ?, ?)', place.blob_row(place.local))
        execute('INSERT INTO thumbnails VALUES (?, ?, ?)', place.blob_row(place.thumbnail))
        for row in place.landmark_rows:
            execute(INSERT_LANDMARKS, row)
        return place.place_id

    def _has_landmarks(self) -> bool:
        query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'landmarks'"
        return self._connection.execute(query).fetchone() is not None


class WriterLock:
    """
    The right to write a map: ``flock`` on ``*.lock`` beside it, gone with its process.

    Not on the map itself: closing a second descriptor of a SQLite file would drop SQLite's own
    locks on it.
    """

    def __init__(self, path: Path) -> None:
        """
        Take the lock.

        :raises MapError: if another writer has it, or the folder cannot be written.
        """
        self._path = Path(f'{path}.lock')
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise MapError(f'{path}: cannot be written ({error.strerror})') from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise MapError(f'{path}: another process is writing to it; one writer at a time') \
                from None
        if not self._is_current():  # its owner removed the file in between
            os.close(self._file)
            raise MapError(f'{path}: another process was just writing to it; try again')

    def release(self) -> None:
        """Remove the file, then let go."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), os.stat(self._path))
        except FileNotFoundError:
            return False


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, naming the file and a remedy."""
    try:
        yield
    except sqlite3.Error as error:
        raise MapError(f'{path}: {_explained(error)}') from error


def _feature_rows(row: tuple[int, bytes, int, bytes, int]) -> tuple[BlobRow, BlobRow]:
    place_id, descriptor, descriptor_checksum, local, local_checksum = row
    return (BlobRow(place_id, descriptor, descriptor_checksum),
            BlobRow(place_id, local, local_checksum))


def row_bytes(size: int) -> float:
    """
    Return what a row of so many bytes takes in the file, from SQLite's file format.

    A long row goes to pages of its own, but for a rest that shares a page with other rows.
    """
    most, least = PAGE_SIZE - 35, (PAGE_SIZE - 12) * 32 // 255 - 23
    rest, chained = size, PAGE_SIZE - 4
    if size > most:
        rest = least + (size - least) % chained
        rest = least if rest > most else rest
    pages = -(-(size - rest) // chained)
    return pages * PAGE_SIZE + PAGE_SIZE / ((PAGE_SIZE - 8) // (rest + 12))


def _unlink(path: Path) -> None:
    """Remove a map with what a kill may have left beside it."""
    try:
        for suffix in ('', '-wal', '-shm'):
            Path(f'{path}{suffix}').unlink(missing_ok=True)
    except OSError as error:
        raise MapError(f'{path}: cannot be removed ({error.strerror})') from error


def _explained(error: sqlite3.Error) -> str:
    text = str(error)
    if 'locked' in text:
        return 'another process is writing to it; try again'
    if 'full' in text or 'disk I/O' in text:
        return f'cannot be written ({text}); is the disk full? Places added before are safe'
    if isinstance(error, sqlite3.OperationalError) and 'UTF-8' not in text:
        return f'cannot be read or written ({text})'
    return f'is damaged, or no map file ({text}); see r2former map check --repair, or restore a ' \
           'copy'


def _reading_connection(path: Path) -> sqlite3.Connection:
    """Connect without changing the file, after a look at its size."""
    address = path.resolve().as_uri()
    has_log = Path(f'{path}-wal').exists()
    try:
        connection = sqlite3.connect(f'{address}?mode=ro', uri=True, check_same_thread=False)
        connection.execute('PRAGMA schema_version').fetchone()
    except sqlite3.OperationalError:
        if has_log:
            raise
        # A read-only folder cannot hold the shared-memory file that WAL needs. Nobody can be
        # writing there either, so the file may be taken as it is.
        connection = sqlite3.connect(f'{address}?immutable=1', uri=True, check_same_thread=False)
    if not has_log:
        _require_whole(path, connection)
    return connection


def _writing_connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with released_on_error(connection.close):
        connection.execute(f'PRAGMA page_size = {PAGE_SIZE}')
        connection.execute('PRAGMA journal_mode = WAL')
        # FULL syncs at each commit, so that an acknowledged place survives a power cut as well.
        connection.execute('PRAGMA synchronous = FULL')
        connection.execute('PRAGMA foreign_keys = ON')
    return connection


def _require_whole(path: Path, connection: sqlite3.Connection) -> None:
    pages = connection.execute('PRAGMA page_count').fetchone()[0]
    wanted = pages * connection.execute('PRAGMA page_size').fetchone()[0]
    size = path.stat().st_size
    if size < wanted:
        connection.close()
        raise MapError(f'{path}: is truncated ({size} of {wanted} bytes); see r2former map check '
                       '--repair, or restore a copy')


def require_map(path: Path, connection: sqlite3.Connection) -> None:
    """
    Refuse what is no map of this format.

    :raises MapError: saying what it is instead.
    """
    application_id = connection.execute('PRAGMA application_id').fetchone()[0]
    version = connection.execute('PRAGMA user_version').fetchone()[0]
    if application_id != APPLICATION_ID:
        raise MapError(f'{path}: is no r2former map; r2former map build makes one')
    if version > FORMAT_VERSION:
        raise MapError(f'{path}: map format {version} is newer than {FORMAT_VERSION}, which this '
                       'version reads; update r2former_ros')
    if version < FORMAT_VERSION:
        raise MapError(f'{path}: map format {version} is older than {FORMAT_VERSION} and of a '
                       'version never released; build the map again')
