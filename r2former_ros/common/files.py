# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files: written so that a reader never sees half of one, read so that errors name them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import FileError
from .text import printable

PART = '.part'
"""Ending of the name of a file that is being written."""


@contextmanager
def replacing(path: str | Path, *, cache: bool = False) -> Iterator[Path]:
    """
    Yield a name beside a file to write to; it becomes the file once the block ends.

    Until then the file stays as it is, and an error in the block removes what was written. A
    kill leaves ``*.part`` behind, which the next call replaces. The new file is on the disk
    before it gets its name, and has the permissions that the umask gives.

    :param cache: for what can be made again, and several processes may write at once: each has
        its own name (``*.PID.part``), and nothing waits for the disk.
    :raises FileError: at once if there is no such folder or it cannot be written, and later if
        the disk is full.
    """
    if _is_stream(path):
        with writing(path):
            yield Path(path)
        return
    path = Path(path).resolve()  # a link stays, and the file that it names is replaced
    part = _part_of(path, own=cache)
    mode = _mode_of_new(path, part)
    with writing(path):
        try:
            yield part
            os.chmod(part, mode)
            if not cache:
                _sync(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def require_writable(path: str | Path) -> None:
    """
    Check that ``replacing`` can write a file, and leave what is there as it is.

    :raises FileError: if it cannot.
    """
    if not _is_stream(path):
        _mode_of_new(Path(path).resolve(), _part_of(Path(path).resolve(), own=True))


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """
    Say which file or folder cannot be written.

    :raises FileError: for an ``OSError`` in the block.
    """
    try:
        yield
    except OSError as error:
        raise FileError(f'{path}: cannot be written ({reason(error)})') from error


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """
    Say which file or folder cannot be read.

    :raises FileError: for an ``OSError`` in the block, a name that no file can have, and what
        should be text and is not UTF-8.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise FileError(f'{path}: is not a text file (UTF-8)') from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise FileError(f'{printable(path)}: cannot be read ({reason(error)})') from error


def read_text(path: str | Path) -> str:
    """
    Return the content of a UTF-8 file, without a byte order mark.

    :raises FileError: if it cannot be read, or is not text.
    """
    with reading(path):
        return Path(path).read_text(encoding='utf-8-sig')


def read_bytes(path: str | Path) -> bytes:
    """
    Return the content of a file.

    :raises FileError: if it cannot be read.
    """
    with reading(path):
        return Path(path).read_bytes()


def make_folder(path: str | Path) -> Path:
    """
    Make a folder with its parents, or keep the one that is there.

    :raises FileError: if it cannot be made.
    """
    with writing(path):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def reason(error: Exception) -> str:
    """Return why the system refused, in one line, without the name of the file."""
    return getattr(error, 'strerror', None) or ' '.join(str(error).split()) or type(error).__name__


def digest_of(*things: object) -> str:
    """Return twelve hex digits that tell apart what is listed."""
    text = '\n'.join(map(str, things))
    return hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]


def _is_stream(path: str | Path) -> bool:
    """Say whether a path is a pipe or a device, such as /dev/stdout: it cannot be replaced."""
    return Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir())


def _part_of(path: Path, *, own: bool) -> Path:
    """Return the name to write to, one of this process alone if ``own``."""
    return path.with_name(f'{path.name}.{os.getpid()}{PART}' if own else f'{path.name}{PART}')


def _mode_of_new(path: Path, part: Path) -> int:
    """
    Make a file beside a path and remove it again; return its permissions.

    :raises FileError: if that cannot be done, or the path is a folder.
    """
    if path.is_dir():
        raise FileError(f'{path}: is a folder', 'name a file in it')
    with writing(path):
        part.unlink(missing_ok=True)
        part.touch()
        mode = part.stat().st_mode
        part.unlink()
    return mode


def _sync(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
