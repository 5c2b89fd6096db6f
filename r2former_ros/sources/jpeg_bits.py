# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Whether the compressed data of a JPEG is what an encoder wrote.

libjpeg decodes damaged data to noise and says so on stderr only. Here the Huffman codes of a
baseline JPEG are followed without decoding (ITU-T T.81, section F.2): an undamaged scan has as
many blocks as the size of the picture says, and ends with the last of them. Compiled by numba, as
the data has to be followed bit by bit.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

MOST_PADDING_BITS = 16
"""Unused bits at the end of a scan: fewer than 8, and a byte that some cameras add."""

Table = NDArray[np.uint16]


def is_intact(pieces: list[bytes], units: int, interval: int,
              components: list[tuple[int, bytes, bytes]]) -> bool:
    """
    Follow the Huffman codes of a scan.

    :param pieces: data between restart markers, still with zeros after each 255.
    :param units: minimum coded units (MCU) in the scan.
    :param interval: units per piece but the last.
    :param components: of each colour component in the scan, the blocks per unit, and its Huffman
        tables for DC and AC as ``table_of`` takes them.
    """
    blocks, *tables = zip(*components)
    dc, ac = (np.stack([table_of(table) for table in kind]) for kind in tables)
    order = np.repeat(np.arange(len(components)), blocks)
    for piece in pieces:
        data = piece.replace(b'\xff\x00', b'\xff')
        count = min(interval, units)
        used = _bits_of(np.frombuffer(data + bytes(8), np.uint8), 8 * len(data), count, order,
                        dc, ac)
        if used < 0 or 8 * len(data) - used >= MOST_PADDING_BITS:
            return False
        units -= count
    return units == 0


@lru_cache(maxsize=64)
def table_of(definition: bytes) -> Table:
    """
    Return length * 256 + symbol for every 16 bits that may follow; 0 where no code does.

    :param definition: a Huffman table of a DHT marker: 16 counts of codes, then the symbols.
    """
    table = np.zeros(2**16, np.uint16)
    code = at = 0
    for length in range(1, 17):
        for _ in range(definition[length - 1]):
            first = code << (16 - length)
            table[first:first + (1 << (16 - length))] = length << 8 | definition[16 + at]
            code, at = code + 1, at + 1
        code <<= 1
    return table


@numba.njit(cache=True, nogil=True)
def _bits_of(
    data: NDArray[np.uint8], bits: int, units: int, order: NDArray[np.int64], dc: Table, ac: Table
) -> int:
    """Return how many bits some units take, -1 where no code fits or the data ends."""
    at = 0
    for _ in range(units):
        for component in order:
            entry = dc[component, _next_16(data, at)]
            if entry == 0:
                return -1
            at += (entry >> 8) + (entry & 15)
            filled = 1
            while filled < 64:
                if at >= bits:
                    return -1
                entry = ac[component, _next_16(data, at)]
                if entry == 0:
                    return -1
                run, size = (entry >> 4) & 15, entry & 15
                at += (entry >> 8) + size
                if size == 0 and run != 15:
                    break
                filled += run + 1
            if filled > 64 or at > bits:
                return -1
    return at


@numba.njit(cache=True, nogil=True)
def _next_16(data: NDArray[np.uint8], at: int) -> int:
    """Return the 16 bits from a position on."""
    byte = at >> 3
    word = data[byte] << 16 | data[byte + 1] << 8 | data[byte + 2]
    return int(word >> (8 - (at & 7)) & 0xFFFF)
