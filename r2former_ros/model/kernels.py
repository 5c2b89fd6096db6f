# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Attention with heads of eight values, compiled by numba for the CPU at hand.

General kernels are made for wide heads. With eight values the exponentials cost more than the
products, and writing scores to memory costs most: here they never leave the registers.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

HEAD = 8
"""Values of a head."""
SHORT = 16
"""Up to so many queries, laying out keys and values would not pay."""
TILE = 512
"""Tokens worked on at a time: with keys, values and mask, few enough for the first cache."""
VALUES = HEAD * TILE
MASK = 2 * HEAD * TILE
TILE_SIZE = MASK + TILE
"""A tile holds eight rows of keys, eight of values, and 0 for a token or ABSENT for none."""
ABSENT = np.float32(-1e9)
LINE = 16
"""Values in a line of the cache."""
SAFE = 100.0
"""Powers of two up to this overflow no float32, not even summed over thousands of tokens."""

compiled: Any = numba.njit(fastmath=True, nogil=True, cache=True, error_model='numpy')


def attend(qkv: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """
    Mix the values of all tokens for the first ``rows`` of them: softmax(q k^T / sqrt(8)) v.

    :param qkv: (B, T, 3 W), C-contiguous: queries, keys and values, each of W / 8 heads.
    :returns: (B, rows, W).
    """
    out = np.empty((qkv.shape[0], rows, qkv.shape[2] // 3), np.float32)
    kernel = _attend_few if rows <= SHORT else _attend_many
    kernel(qkv, out)
    return out


@compiled
def _attend_few(qkv: Any, out: Any) -> None:
    images, rows, width = out.shape
    tokens = qkv.shape[1]
    scale = np.float32(1 / math.sqrt(HEAD))
    weights = np.empty(tokens, np.float32)
    for image in range(images):
        for head in range(0, width, HEAD):
            for row in range(rows):
                largest = np.float32(-np.inf)
                for token in range(tokens):
                    score = np.float32(0)
                    for d in range(head, head + HEAD):
                        score += qkv[image, row, d] * qkv[image, token, width + d]
                    weights[token] = score * scale
                    largest = max(largest, weights[token])
                total = np.float32(0)
                for token in range(tokens):
                    weights[token] = np.exp(weights[token] - largest)
                    total += weights[token]
                for d in range(head, head + HEAD):
                    mixed = np.float32(0)
                    for token in range(tokens):
                        mixed += weights[token] * qkv[image, token, 2 * width + d]
                    out[image, row, d] = mixed / total


@compiled
def _attend_many(qkv: Any, out: Any) -> None:
    images, rows, width = out.shape
    tiles = _make_tiles(math.ceil(qkv.shape[1] / TILE))
    queries = np.empty((rows, HEAD), np.float32)
    shifts = np.empty(rows, np.float32)
    sums = np.empty((rows, HEAD + 1), np.float32)
    for image in range(images):
        for head in range(0, width, HEAD):
            longest = _load_tiles(qkv[image], width + head, 2 * width + head, tiles)
            _load_queries(qkv[image], head, longest, tiles, queries, shifts)
            sums[:] = 0
            for number in range(len(tiles)):
                for row in range(rows):
                    _mix(queries[row], shifts[row], tiles[number], sums[row])
            for row in range(rows):
                for d in range(HEAD):
                    out[image, row, head + d] = sums[row, d] / sums[row, HEAD]


@compiled
def _make_tiles(count: int) -> Any:
    """Return room for tiles that begins with a line of the cache: so no load spans two."""
    room = np.empty(count * TILE_SIZE + LINE, np.float32)
    first = LINE - room.ctypes.data // room.itemsize % LINE
    return room[first : first + count * TILE_SIZE].reshape(count, TILE_SIZE)


@compiled
def _load_tiles(qkv: Any, key: int, value: int, tiles: Any) -> Any:
    """Lay keys and values out by row; return the length of the longest key."""
    tiles[:] = 0
    tiles[:, MASK:] = ABSENT
    longest = np.float32(0)
    for token in range(len(qkv)):
        number, at = token // TILE, token % TILE
        tiles[number, MASK + at] = 0
        square = np.float32(0)
        for d in range(HEAD):
            one = qkv[token, key + d]
            square += one * one
            tiles[number, d * TILE + at] = one
            tiles[number, VALUES + d * TILE + at] = qkv[token, value + d]
        longest = max(longest, square)
    return np.sqrt(longest)


@compiled
def _load_queries(
    qkv: Any, head: int, longest: Any, tiles: Any, queries: Any, shifts: Any
) -> None:
    """
    Scale queries so that scores are powers of two; find what keeps these from overflowing.

    No score exceeds the product of both lengths. Where that is not ``SAFE``, the largest score
    is taken off all.
    """
    scale = np.float32(math.log2(math.e) / math.sqrt(HEAD))
    for row in range(len(queries)):
        square = np.float32(0)
        for d in range(HEAD):
            one = qkv[row, head + d] * scale
            square += one * one
            queries[row, d] = one
        unsafe = np.sqrt(square) * longest > SAFE
        shifts[row] = -_largest_score(queries[row], tiles) if unsafe else 0


@compiled
def _largest_score(query: Any, tiles: Any) -> Any:
    largest = ABSENT
    for number in range(len(tiles)):
        for at in range(TILE):
            score = tiles[number, MASK + at]
            for d in range(HEAD):
                score += query[d] * tiles[number, d * TILE + at]
            largest = max(largest, score)
    return largest


@compiled
def _mix(query: Any, shift: Any, tile: Any, sums: Any) -> None:
    """
    Add a tile's values by weight to the sums, and behind them the weights.

    Scalars instead of slices: so the compiler keeps sums and query in registers, and works on as
    many tokens at a time as a register holds. Two halves side by side, because the second need
    not wait for the first.
    """
    q0, q1, q2, q3 = query[0], query[1], query[2], query[3]
    q4, q5, q6, q7 = query[4], query[5], query[6], query[7]
    m0 = m1 = m2 = m3 = m4 = m5 = m6 = m7 = total = np.float32(0)
    for i in range(TILE // 2):
        for half in range(2):
            at = i + half * (TILE // 2)
            weight = power_of_two(
                shift + tile[MASK + at]
                + q0 * tile[at] + q1 * tile[TILE + at]
                + q2 * tile[2 * TILE + at] + q3 * tile[3 * TILE + at]
                + q4 * tile[4 * TILE + at] + q5 * tile[5 * TILE + at]
                + q6 * tile[6 * TILE + at] + q7 * tile[7 * TILE + at]
            )
            total += weight
            m0 += weight * tile[VALUES + at]
            m1 += weight * tile[VALUES + TILE + at]
            m2 += weight * tile[VALUES + 2 * TILE + at]
            m3 += weight * tile[VALUES + 3 * TILE + at]
            m4 += weight * tile[VALUES + 4 * TILE + at]
            m5 += weight * tile[VALUES + 5 * TILE + at]
            m6 += weight * tile[VALUES + 6 * TILE + at]
            m7 += weight * tile[VALUES + 7 * TILE + at]
    for d, mixed in enumerate((m0, m1, m2, m3, m4, m5, m6, m7, total)):
        sums[d] += mixed


@compiled
def power_of_two(x: Any) -> Any:
    """
    Return 2^x for x in [-126, 127], relative error 3e-6; smaller x count as -126.

    A polynomial (minimax on [-1/2, 1/2]) times a power that goes into the exponent's bits.
    """
    x = max(x, np.float32(-126))
    whole = np.rint(x)
    part = x - whole
    power = np.float32(0.009570102) * part + np.float32(0.05591786)
    power = power * part + np.float32(0.24024745)
    power = power * part + np.float32(0.6931218)
    power = power * part + np.float32(0.9999993)
    exponent = np.int32(np.int32(whole) * np.int32(1 << 23))
    return np.int32(np.float32(power).view(np.int32) + exponent).view(np.float32)
