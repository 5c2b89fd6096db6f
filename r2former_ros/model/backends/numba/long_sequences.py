# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Transformer blocks over a few long sequences: Block-2, a token for each patch of both images.

Tokens of a sequence lie side by side, in groups of ``LANES``. General kernels are made for wide
heads. With eight values the exponentials cost more than the products, and writing scores to
memory costs most: here they never leave the registers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .lanes import HEAD, HIDDEN, LANES, add_mlp, compiled, linear, normalise, power_of_two, room

LANES_HASH = 'adaf9f6e4b97345c'
"""Of lanes.py, which is compiled into this: numba's cache sees changes of this file only."""
TILE = 4 * LANES
"""Tokens that attention works on at a time: 35 KB, which fit a first cache of 48 KB."""
VALUES = HEAD * TILE
MASK = 2 * HEAD * TILE
TILE_SIZE = MASK + TILE
"""A tile holds eight rows of keys, eight of values, and 0 for a token or ABSENT for none."""
ABSENT = np.float32(-1e9)
SAFE = 100.0
"""Powers of two up to this overflow no float32, not even summed over thousands of tokens."""


@compiled
def summarise_long(tokens: Any, start: Any, blocks: Any, norm: Any, out: Any) -> None:
    """
    Put a class token before sequences and write what blocks and norm make of it.

    :param tokens: (B, T, W), C-contiguous, T of hundreds, with W a multiple of eight.
    :param start: the class token (W,).
    :param blocks: of ``layers_of``.
    :param out: (B, W).
    """
    count, length, width = tokens.shape
    length += 1
    groups = math.ceil(length / LANES)
    x, qkv = room(groups * width * LANES), room(3 * groups * width * LANES)
    mixed, row = room(groups * width * LANES), room(width * LANES)
    hidden, scratch = room(HIDDEN * LANES), room(2 * LANES)
    tiles = room(math.ceil(length / TILE) * TILE_SIZE)
    for sequence in range(count):
        _load(tokens[sequence], start, x)
        for number, block in enumerate(blocks):
            kept = 1 if number == len(blocks) - 1 else length
            if len(block.heads):
                for group in range(groups):
                    normalise(x, group * width, block.norm_1, row, scratch)
                    linear(row, block.qkv, qkv, 3 * group * width, False)
                attend(qkv, length, kept, width, block.heads, tiles, mixed)
            for group in range(math.ceil(kept / LANES)):
                if len(block.heads):
                    linear(mixed[group * width * LANES :], block.project, x, group * width, True)
                if block.adds:
                    add_mlp(block.norm_2, block.mlp, x, group * width, row, hidden, scratch)
        normalise(x, 0, norm, row, scratch)
        for d in range(width):
            out[sequence, d] = row[d * LANES]


@compiled
def _load(tokens: Any, start: Any, x: Any) -> None:
    """Lay a sequence out in lanes behind the class token; lanes left over keep what they held."""
    length, width = tokens.shape
    for d in range(width):
        x[d * LANES] = start[d]
    for token in range(length):
        group, lane = (token + 1) // LANES, (token + 1) % LANES
        for d in range(width):
            x[(group * width + d) * LANES + lane] = tokens[token, d]


@compiled
def attend(
    qkv: Any, length: int, kept: int, width: int, heads: Any, tiles: Any, mixed: Any
) -> None:
    """
    Mix the values of all tokens for the first of them: softmax(q k^T / sqrt(8)) v.

    :param qkv: in each group 3 W rows of lanes: queries, keys and values, each of W / 8 heads.
    :param length: tokens; lanes behind them are left out.
    :param kept: tokens to mix for.
    :param heads: where heads begin; those left out give zeros.
    :param tiles: room for the tokens of one head.
    :param mixed: in each group W rows of lanes.
    """
    queries, shifts = np.empty((kept, HEAD), np.float32), np.empty(kept, np.float32)
    sums = np.empty((kept, HEAD + 1), np.float32)
    mixed[:] = 0
    for head in heads:
        _load_tiles(qkv, length, width, head, tiles)
        _load_queries(qkv, width, head, tiles, queries, shifts)
        sums[:] = 0
        for first in range(0, len(tiles), TILE_SIZE):
            tile = tiles[first : first + TILE_SIZE]
            for token in range(kept):
                _mix(queries[token], shifts[token], tile, sums[token])
        for token in range(kept):
            at = token // LANES * width + head
            for d in range(HEAD):
                mixed[(at + d) * LANES + token % LANES] = sums[token, d] / sums[token, HEAD]


@compiled
def _load_tiles(qkv: Any, length: int, width: int, head: int, tiles: Any) -> None:
    """Lay out keys and values of one head, and mark where there are none."""
    tiles[:] = 0
    for first in range(0, len(tiles), TILE_SIZE):
        tiles[first + MASK : first + TILE_SIZE] = ABSENT
    for group in range(math.ceil(length / LANES)):
        first = group * LANES // TILE * TILE_SIZE + group * LANES % TILE
        key, value = (3 * group + 1) * width + head, (3 * group + 2) * width + head
        lanes = min(LANES, length - group * LANES)
        tiles[first + MASK : first + MASK + lanes] = 0
        for d in range(HEAD):
            for lane in range(lanes):
                tiles[first + d * TILE + lane] = qkv[(key + d) * LANES + lane]
                tiles[first + VALUES + d * TILE + lane] = qkv[(value + d) * LANES + lane]


@compiled
def _load_queries(
    qkv: Any, width: int, head: int, tiles: Any, queries: Any, shifts: Any
) -> None:
    """
    Scale queries so that scores are powers of two; find what keeps these from overflowing.

    No score exceeds the product of both lengths. Where that is not ``SAFE``, the largest score
    is taken off all.
    """
    scale = np.float32(math.log2(math.e) / math.sqrt(HEAD))
    longest = _longest_key(tiles)
    for token in range(len(queries)):
        at, square = token // LANES * 3 * width + head, np.float32(0)
        for d in range(HEAD):
            one = qkv[(at + d) * LANES + token % LANES] * scale
            square += one * one
            queries[token, d] = one
        unsafe = np.sqrt(square) * longest > SAFE
        shifts[token] = -_largest_score(queries[token], tiles) if unsafe else 0


@compiled
def _longest_key(tiles: Any) -> Any:
    longest = np.float32(0)
    for first in range(0, len(tiles), TILE_SIZE):
        tile = tiles[first : first + TILE_SIZE]
        for at in range(TILE):
            square = np.float32(0)
            for d in range(HEAD):
                square += tile[d * TILE + at] * tile[d * TILE + at]
            longest = max(longest, square)
    return np.sqrt(longest)


@compiled
def _largest_score(query: Any, tiles: Any) -> Any:
    largest = ABSENT
    for first in range(0, len(tiles), TILE_SIZE):
        tile = tiles[first : first + TILE_SIZE]
        for at in range(TILE):
            score = tile[MASK + at]
            for d in range(HEAD):
                score += query[d] * tile[d * TILE + at]
            largest = max(largest, score)
    return largest


@compiled
def _mix(query: Any, shift: Any, tile: Any, sums: Any) -> None:
    """
    Add a tile's values by weight to the sums, and behind them the weights.

    Scalars instead of slices: so the compiler keeps sums and query in registers, and works on as
    many tokens at a time as a register holds. Four quarters side by side, so that none waits
    for another.
    """
    q0, q1, q2, q3 = query[0], query[1], query[2], query[3]
    q4, q5, q6, q7 = query[4], query[5], query[6], query[7]
    m0 = m1 = m2 = m3 = m4 = m5 = m6 = m7 = total = np.float32(0)
    for i in range(TILE // 4):
        for quarter in range(4):
            at = i + quarter * (TILE // 4)
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
