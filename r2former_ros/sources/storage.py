# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The storage of a bag: serialized messages out of its sqlite3 and mcap files.

Files are read in the order of recording, and messages in the order of their recording time. Only
where that time runs backwards within a topic, because the recorder's clock was set back, they are
read as they lie in the file.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import Reader

from ..errors import BagError, FileError
from ..geometry.trajectories import POSE_TOLERANCE_NS
from .bag_files import METADATA, ZSTD, bag_files, metadata_of, storage_suffix

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LOGS = ('-wal', '-journal')
"""Endings of the files in which SQLite keeps what is not yet, or no longer, in its main file."""

_ZSTD_START = b'\x28\xb5\x2f\xfd'
_logger = logging.getLogger(__name__)
_Entry = tuple[Connection, int, bytes]


class RawMessage(NamedTuple):
    """
    A message as the bag holds it: serialized, with the time at which it was recorded.

    ``restarts`` counts how often the clock of the recorder was set back before.
    """

    topic: str
    type: str
    bag_time_ns: int
    cdr: bytes
    restarts: int = 0

    @property
    def recorded_ns(self) -> int:
        """The recording time, such that a clock that was set back does not repeat it."""
        return self.bag_time_ns + self.restarts * 2**63


class Topic(NamedTuple):
    """A topic of a bag, with the QoS that its publishers offered where the bag knows it."""

    name: str
    type: str
    message_count: int
    qos: tuple[Qos, ...]


class Storage:
    """The open files of a bag."""

    def __init__(self, path: Path) -> None:
        """
        Open them.

        :raises BagError: if the path is not a bag, or a file is damaged.
        """
        self.path = path
        self._stack = ExitStack()
        try:
            files = bag_files(path)
            copies = Path(self._stack.enter_context(TemporaryDirectory(prefix='r2former_bag_')))
            self._files = [_File(file, copies) for file in files]
            for file in self._files:
                self._stack.callback(file.close)
            self._compare_counts()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files; a second time does nothing."""
        self._stack.close()

    @property
    def topics(self) -> list[Topic]:
        """The topics by name; one of two types appears twice."""
        found: dict[tuple[str, str], Topic] = {}
        for item in (one for file in self._files for one in file.connections):
            key = item.topic, item.msgtype
            before = found.get(key, Topic(*key, 0, ()))
            qos = before.qos or tuple(getattr(item.ext, 'offered_qos_profiles', ()))
            found[key] = Topic(*key, before.message_count + item.msgcount, qos)
        return [found[key] for key in sorted(found)]

    @property
    def message_count(self) -> int:
        """Messages of all topics."""
        return sum(topic.message_count for topic in self.topics)

    @property
    def duration_s(self) -> float:
        """Time between the first and the last message, as recorded."""
        spans = [file.span_ns for file in self._files if file.span_ns]
        return (max(end for _, end in spans) - min(start for start, _ in spans)) / 1e9 \
            if spans else 0.0

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """
        Read the messages of some topics one by one.

        A topic whose number of messages is not what the files count is told in a warning.

        :raises BagError: if a file turns out to be damaged, or is not serialized as CDR.
        """
        read, clock = Counter[str](), _Clock()
        for file in self._files:
            if file.span_ns:
                clock.passes(file.span_ns[0])
            for item, time_ns, data in file.entries(topics):
                if file.falls:
                    clock.passes(time_ns)
                if item.topic in topics:
                    read[item.topic] += 1
                    yield RawMessage(item.topic, item.msgtype, time_ns, _unpacked(data),
                                     clock.restarts)
            if file.span_ns and not file.falls:
                clock.passes(file.span_ns[1])
        self._compare_read({name: read[name] for name in topics})

    def _compare_read(self, read: Mapping[str, int]) -> None:
        """Say where a topic holds other messages than the files count."""
        counted = Counter[str]()
        for topic in self.topics:
            counted[topic.name] += topic.message_count
        for name, count in read.items():
            if count != counted[name]:
                _logger.warning('%s: holds %d messages of %s but counts %d; a file may be damaged',
                                self.path, count, name, counted[name])

    def _compare_counts(self) -> None:
        """Say where the metadata counts other messages than the files hold."""
        metadata = metadata_of(self.path) if self.path.is_dir() else None
        if metadata and metadata.message_count not in (None, self.message_count):
            _logger.warning(
                '%s: %s counts %d messages, its files hold %d; the files are read', self.path,
                METADATA, metadata.message_count, self.message_count,
            )


class _Clock:
    """Counts how often the recording time was set back."""

    def __init__(self) -> None:
        self.restarts = 0
        self._latest_ns: int | None = None

    def passes(self, time_ns: int) -> None:
        """Take the time of the next message."""
        if self._latest_ns is not None and time_ns < self._latest_ns - POSE_TOLERANCE_NS:
            self.restarts, self._latest_ns = self.restarts + 1, None
        self._latest_ns = time_ns if self._latest_ns is None else max(self._latest_ns, time_ns)


class _File:
    """One file, plain or as a copy that SQLite or zstd had to make whole first."""

    def __init__(self, path: Path, copies: Path) -> None:
        self.path = path
        with bag_errors(path):
            self._plain = _readable(path, copies)
            self._reader = Reader(self._plain)
            self._reader.open()

    @cached_property
    def falls(self) -> bool:
        """Recording time runs backwards within a topic."""
        with bag_errors(self.path):
            return _falls(self._times())

    def close(self) -> None:
        self._reader.close()

    @property
    def connections(self) -> list[Connection]:
        return self._reader.connections

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """First and last recording time, None in an empty file."""
        if not self._reader.message_count:
            return None
        return self._reader.start_time, self._reader.end_time - 1  # rosbags adds 1 ns

    def entries(self, topics: Collection[str]) -> Iterator[_Entry]:
        """Read the messages of some topics, or of all where their order matters."""
        chosen = [item for item in self.connections if item.topic in topics]
        for item in chosen:
            encoding = getattr(item.ext, 'serialization_format', 'cdr')
            if encoding != 'cdr':
                raise BagError(f'{self.path}: {item.topic} is serialized as {encoding!r}, '
                               'expected cdr')
        if self.falls:
            yield from _guarded(self._as_it_lies(), self.path)
        elif chosen:
            yield from _guarded(self._reader.messages(chosen), self.path)

    def _times(self) -> Iterable[tuple[int, int]]:
        """Yield topic and recording time as they lie in the file, if they may not ascend."""
        if storage_suffix(self._plain) == '.db3':
            with closing(_sqlite(self._plain)) as connection:
                yield from connection.execute(
                    'SELECT topic_id, timestamp FROM messages ORDER BY id')
        elif _overlap(self._reader.storage):
            yield from ((item.id, time) for item, time, _ in self._as_it_lies())

    def _as_it_lies(self) -> Iterator[_Entry]:
        if storage_suffix(self._plain) == '.db3':
            by_id = {item.id: item for item in self.connections}
            with closing(_sqlite(self._plain)) as connection:
                rows = connection.execute(
                    'SELECT topic_id, timestamp, data FROM messages ORDER BY id')
                yield from ((by_id[row[0]], row[1], row[2]) for row in rows if row[0] in by_id)
        else:
            storage: Any = self._reader.storage
            yield from storage.messages_scan(self.connections)


@contextmanager
def bag_errors(path: Path) -> Generator[None, None, None]:
    """
    Turn what rosbags raises into one line that names the file, and how to mend it.

    On a damaged file that is nearly anything: its own errors, those of sqlite, zstd, lz4 and
    struct, a TypeError of ``ord(b'')``, an assertion.
    """
    try:
        yield
    except (BagError, FileError):
        raise
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise BagError(f'{path}: cannot be read as a bag ({reason})', _mended_by(path)) from error


def _mended_by(path: Path) -> str:
    """Return the tool that saves what is intact in a damaged or cut file."""
    whole = f'whole{storage_suffix(path)}'
    return {
        '.mcap': f'if it was cut off, mcap recover {path.name} -o {whole} saves what is intact',
        '.db3': f'sqlite3 {path.name} .recover | sqlite3 {whole} saves what is intact',
    }.get(storage_suffix(path) if path.suffix != ZSTD else '', '')


def _guarded(entries: Iterator[_Entry], path: Path) -> Iterator[_Entry]:
    """Pass entries on, with errors of reading, and no others, turned into ours."""
    while True:
        with bag_errors(path):
            entry = next(entries, None)
        if entry is None:
            return
        yield entry


def _readable(path: Path, copies: Path) -> Path:
    """Return the file, or a copy that is uncompressed and holds what is in SQLite's logs."""
    if path.suffix == ZSTD:
        _logger.info('%s: is unpacked into %s', path, copies)
        plain = copies / path.stem
        with path.open('rb') as packed, zstd.open(packed, 'rb') as source, \
                plain.open('wb') as target:
            shutil.copyfileobj(source, target)
        return plain
    logs = [log for ending in LOGS if _has_content(log := Path(f'{path}{ending}'))]
    if not logs or storage_suffix(path) != '.db3':
        return path
    _logger.warning('%s: is read with %s beside it, which a recorder that was killed has left',
                    path, ' and '.join(log.name for log in logs))
    for file in (path, *logs):
        shutil.copyfile(file, copies / file.name)
    with closing(sqlite3.connect(copies / path.name)) as connection:
        connection.execute('PRAGMA journal_mode = DELETE').fetchall()
    return copies / path.name


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _sqlite(path: Path) -> sqlite3.Connection:
    """Open a database as it is: rosbags, too, takes it for one that nobody writes to."""
    return sqlite3.connect(f'{path.resolve().as_uri()}?immutable=1', uri=True)


def _falls(times: Iterable[tuple[int, int]]) -> bool:
    """Say whether recording time runs backwards within a topic."""
    latest: dict[int, int] = {}
    for topic, time_ns in times:
        if time_ns < latest.get(topic, time_ns) - POSE_TOLERANCE_NS:
            return True
        latest[topic] = max(time_ns, latest.get(topic, time_ns))
    return False


def _overlap(storage: Any) -> bool:
    """Say whether the chunks of an mcap file may hold times that run backwards."""
    chunks = storage.chunks
    return len(chunks) < 2 or any(
        after.message_start_time < before.message_end_time - POSE_TOLERANCE_NS
        for before, after in zip(chunks, chunks[1:])
    )


def _unpacked(data: bytes) -> bytes:
    """Undo the compression of single messages; CDR never begins so."""
    return zstd.decompress(data) if data[:4] == _ZSTD_START else data


