# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A built index beside its map: written by rename, believed only if it is whole.

The file holds a block with a JSON object, padded to 4096 bytes, then the index as faiss writes
it. The object says what was indexed (``key``), and length and CRC-32 of the rest.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from ..common.files import make_folder, replacing
from ..errors import FileError

LOG = logging.getLogger(__name__)
HEAD_BYTES = 4096
CHUNK_BYTES = 2**20

Key = dict[str, Any]
Write = Callable[[bytes], int]


def write_cache(path: Path, key: Key, write_body: Callable[[Write], None]) -> None:
    """Keep an index; where it cannot be written, warn: it is then built again next time."""
    try:
        make_folder(path.parent)
        with replacing(path, cache=True) as part, part.open('wb') as file:
            _write(file, key, write_body)
    except FileError as error:
        LOG.warning('%s, so the index is built again at each start', error.message)


def read_key(path: Path) -> Key | None:
    """Return what a kept index holds; None where there is none, or (a warning) no whole one."""
    try:
        with path.open('rb') as file:
            head = json.loads(file.read(HEAD_BYTES))
            if _length_and_crc(file) == (head['length'], head['crc']):
                return dict(head['key'])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pass  # said below, as for a body that is not what was written
    LOG.warning('%s: is damaged, and built again', path)
    return None


def open_body(path: Path) -> BinaryIO:
    """Return the file where the index begins."""
    file = path.open('rb')
    file.seek(HEAD_BYTES)
    return file


def _write(file: BinaryIO, key: Key, write_body: Callable[[Write], None]) -> None:
    length = crc = 0

    def write(chunk: bytes) -> int:
        nonlocal length, crc
        length, crc = length + len(chunk), zlib.crc32(chunk, crc)
        return file.write(chunk)

    file.write(bytes(HEAD_BYTES))
    write_body(write)
    head = json.dumps({'key': key, 'length': length, 'crc': crc}).encode()
    file.seek(0)
    file.write(head.ljust(HEAD_BYTES))


def _length_and_crc(file: BinaryIO) -> tuple[int, int]:
    length = crc = 0
    while chunk := file.read(CHUNK_BYTES):
        length, crc = length + len(chunk), zlib.crc32(chunk, crc)
    return length, crc
