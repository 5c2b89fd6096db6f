# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Whether a JPEG file is whole, and how large it is, without decoding.

OpenCV fills what is missing or damaged with grey or noise, and does not tell; such pictures are
found here. Bytes behind the end marker are harmless: cameras with fixed buffers send them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import ImageError

JPEG_START = b'\xff\xd8'

_END, _SCAN, _RESTART_INTERVAL, _HUFFMAN = 0xD9, 0xDA, 0xDD, 0xC4
_BASELINE = (0xC0, 0xC1)
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
    if not _follows_codes(list(_segments(content))):
        raise ImageError(f'{name}: the JPEG of {len(content)} bytes is damaged')


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


def _follows_codes(segments: list[_Segment]) -> bool:
    """Check the scan of a baseline JPEG; any other, such as a progressive one, passes."""
    try:
        from .jpeg_bits import is_intact
    except ImportError:  # numba is optional
        return True
    scans = [segment.content for segment in segments if segment.marker == _SCAN]
    frames = [segment for segment in segments if segment.marker in _FRAMES]
    if len(scans) != 1 or len(frames) != 1 or frames[0].marker not in _BASELINE:
        return True
    try:
        scan = _scan_of(frames[0].content, scans[0], segments)
    except (IndexError, KeyError, ValueError):
        return False  # a header that names what is not there
    return scan is None or is_intact(*scan)


def _scan_of(
    frame: bytes, scan: bytes, segments: list[_Segment]
) -> tuple[list[bytes], int, int, list[tuple[int, bytes, bytes]]] | None:
    """Return what ``is_intact`` needs, None where it cannot tell."""
    height, width = (int.from_bytes(frame[at:at + 2], 'big') for at in (1, 3))
    tables = _tables(segments)
    if frame[0] != 8 or not height or scan[0] != frame[5] or not tables:
        return None
    sampling = {frame[6 + 3 * k]: divmod(frame[7 + 3 * k], 16) for k in range(frame[5])}
    if frame[5] == 1:
        sampling = {frame[6]: (1, 1)}
    widest, tallest = (max(axis) for axis in zip(*sampling.values()))
    units = -(-width // (8 * widest)) * -(-height // (8 * tallest))
    components = []
    for k in range(scan[0]):
        across, down = sampling[scan[1 + 2 * k]]
        dc, ac = divmod(scan[2 + 2 * k], 16)
        components.append((across * down, tables[0, dc], tables[1, ac]))
    data = scan[4 + 2 * scan[0]:]
    pieces = re.split(rb'\xff+[\xd0-\xd7]', data)
    return pieces, units, _interval(segments) or units, components


def _interval(segments: list[_Segment]) -> int:
    """Return the units between restart markers, 0 without them."""
    found = [segment.content for segment in segments if segment.marker == _RESTART_INTERVAL]
    return int.from_bytes(found[-1][:2], 'big') if found else 0


def _tables(segments: list[_Segment]) -> dict[tuple[int, int], bytes]:
    """Return Huffman tables, 16 counts and the symbols, by class (0: DC, 1: AC) and number."""
    tables = {}
    for content in (segment.content for segment in segments if segment.marker == _HUFFMAN):
        at = 0
        while at < len(content):
            end = at + 17 + sum(content[at + 1:at + 17])
            if end > len(content):
                raise ValueError('a Huffman table is cut off')
            tables[divmod(content[at], 16)] = content[at + 1:end]
            at = end
    return tables
