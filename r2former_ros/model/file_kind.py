# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files that were taken for weights: what they really are, told from their first bytes."""

from __future__ import annotations

from pathlib import Path

from ..errors import WeightsError

DOWNLOAD = 'download the file itself'
UNPACK = 'unpack it'
KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b'version https://git-lfs', 'a git-lfs pointer', 'run git lfs pull'),
    (b'<', 'a web page or XML', DOWNLOAD),
    (b'\xff\xd8\xff', 'a JPEG picture', ''),
    (b'\x89PNG', 'a PNG picture', ''),
    (b'GIF8', 'a GIF picture', ''),
    (b'RIFF', 'a WebP picture or a recording', ''),
    (b'BM', 'a BMP picture', ''),
    (b'%PDF', 'a PDF', ''),
    (b'\x1f\x8b', 'a gzip archive', UNPACK),
    (b'BZh', 'a bzip2 archive', UNPACK),
    (b'\xfd7zXZ', 'an xz archive', UNPACK),
    (b'\x28\xb5\x2f\xfd', 'a Zstandard archive', UNPACK),
    (b'7z\xbc\xaf', 'a 7z archive', UNPACK),
    (b'Rar!', 'a RAR archive', UNPACK),
    (b'SQLite format 3', 'an SQLite database, such as a map', ''),
    (b'\x93NUMPY', 'a numpy array', ''),
    (b'\x89HDF', 'an HDF5 file', ''),
    (b'{', 'a JSON file', DOWNLOAD),
)
"""First bytes, what they belong to, and a remedy."""
LONGEST_JSON = 100_000_000
"""Bytes of a safetensors header, which the format limits."""


def refuse_other_kinds(path: Path) -> None:
    """
    Refuse a file that holds something other than weights; a missing file passes.

    :raises WeightsError: saying what it holds.
    """
    try:
        with path.open('rb') as file:
            head = file.read(64)
    except OSError:
        return
    if not head:
        raise WeightsError(f'{path}: is empty', 'copy or download it again')
    text = head.lstrip(b'\xef\xbb\xbf \t\r\n')
    for start, what, remedy in KINDS:
        if text.startswith(start) and not is_safetensors(head):
            raise WeightsError(f'{path}: is {what}, not weights', remedy)


def is_safetensors(head: bytes) -> bool:
    """Say whether a file starts as safetensors do: a length of 8 bytes, then JSON."""
    return head[8:9] == b'{' and int.from_bytes(head[:8], 'little') <= LONGEST_JSON
