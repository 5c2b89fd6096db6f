# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What the markers of a JPEG file say about it, without decoding.

OpenCV fills what is missing or damaged with grey or noise, and does not tell; such pictures are
found here. Bytes behind the end marker are harmless: cameras with fixed buffers send them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import ImageError

JPEG_START = b'\xff\xd8'

_END, _SCAN, _RESTART_INTERVAL = 0xD9, 0xDA, 0xDD
_RESTARTS = range(0xD0, 0xD8)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that hold the size, one for each way of coding."""
_IN_HEADER = frozenset({*range(0xC0, 0xD0), *range(0xD9, 0xFF)})
_AFTER_SCAN = frozenset({0xC4, _END, _SCAN, 0xDB, 0xDC, _RESTART_INTERVAL, 0xFE})
"""Markers that encoders write before the first scan, and after it."""
_ALONE = frozenset({0x01, *_RESTARTS})
"""Markers without a length."""
_IN_SCAN = re.compile(rb'\xff+([^\x00\xff])')


class _Segment(NamedTuple):
    marker: int
    content: bytes


def jpeg_size(content: bytes) -> tuple[int, int]:
    """Return width and height in pixels, 0, 0 where no marker tells them."""
    for marker, segment in _segments(content):
        if marker in _FRAMES and len(segment) >= 5:
            return int.from_bytes(segment[3:5], 'big'), int.from_bytes(segment[1:3], 'big')
    return 0, 0


def require_whole_jpeg(content: bytes, name: str) -> None:
    """
    Refuse a picture that was cut off or whose markers are out of order.

    :param name: what messages call it.
    :raises ImageError: if the end marker is missing, or there are bytes that no encoder writes.
    """
    marker, allowed = 0, _IN_HEADER
    for marker, segment in _segments(content):
        if marker == _SCAN:
            allowed = _AFTER_SCAN
        if marker not in allowed or (marker == _SCAN and _damaged_restarts(segment)):
            raise ImageError(f'{name}: the JPEG of {len(content)} bytes is damaged')
    if marker != _END:
        raise ImageError(f'{name}: the JPEG of {len(content)} bytes is truncated: its end marker '
                         'is missing')


def _segments(content: bytes) -> Iterator[_Segment]:
    """Yield markers with what belongs to them, up to the end marker; a scan with its data."""
    at = len(JPEG_START)
    while (found := _IN_SCAN.search(content, at)) is not None:
        marker = found[1][0]
        at = found.end()
        if marker == _END:
            yield _Segment(marker, b'')
            return
        if marker in _ALONE:
            continue
        length = int.from_bytes(content[at:at + 2], 'big')
        end = at + length
        if marker == _SCAN:
            end = _end_of_scan(content, end)
        yield _Segment(marker, content[at + 2:end])
        at = end


def _end_of_scan(content: bytes, at: int) -> int:
    """Return where the next marker other than a restart stands."""
    for found in _IN_SCAN.finditer(content, at):
        if found[1][0] not in _RESTARTS:
            return found.start()
    return len(content)


def _damaged_restarts(scan: bytes) -> bool:
    """Say whether restart markers do not count 0 to 7 again and again."""
    numbers = [found[1][0] - 0xD0 for found in _IN_SCAN.finditer(scan)
               if found[1][0] in _RESTARTS]
    return numbers != [index % 8 for index in range(len(numbers))]
