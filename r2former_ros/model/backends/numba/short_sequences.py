# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Transformer blocks over many short sequences: Block-1, six tokens for each patch.

``LANES`` sequences lie side by side, a token of each in a lane.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .lanes import HEAD, HIDDEN, LANES, add_mlp, compiled, linear, normalise, power_of_two, room

LANES_HASH = 'adaf9f6e4b97345c'
"""Of lanes.py, which is compiled into this: numba's cache sees changes of this file only."""


@compiled
def summarise_short(tokens: Any, start: Any, blocks: Any, norm: Any, out: Any) -> None:
    """
    Put a class token before sequences and write what blocks and norm make of it.

    :param tokens: (B, T, W), C-contiguous, B of thousands, with W a multiple of eight.
    :param start: the class token (W,).
    :param blocks: of ``layers_of``.
    :param out: (B, W).
    """
    count, length, width = tokens.shape
    length += 1
    x, qkv = room(length * width * LANES), room(3 * length * width * LANES)
    row, hidden, scores = room(width * LANES), room(HIDDEN * LANES), room((length + 1) * LANES)
    for first in range(0, count, LANES):
        group = tokens[first : first + LANES]
        _load(group, start, x)
        for number, block in enumerate(blocks):
            kept = 1 if number == len(blocks) - 1 else length
            _run(block, length, kept, width, x, qkv, row, hidden, scores)
        normalise(x, 0, norm, row, scores)
        for lane in range(len(group)):
            for d in range(width):
                out[first + lane, d] = row[d * LANES + lane]


@compiled
def _load(group: Any, start: Any, x: Any) -> None:
    """Lay sequences out in lanes behind the class token; lanes left over keep what they held."""
    lanes, length, width = group.shape
    for d in range(width):
        for lane in range(LANES):
            x[d * LANES + lane] = start[d]
    for token in range(length):
        for lane in range(lanes):
            for d in range(width):
                x[((token + 1) * width + d) * LANES + lane] = group[lane, token, d]


@compiled
def _run(
    block: Any, length: int, kept: int, width: int,
    x: Any, qkv: Any, row: Any, hidden: Any, scores: Any,
) -> None:
    """Run a block in place, for the first tokens of each sequence; all are keys and values."""
    if len(block.heads):
        for token in range(length):
            normalise(x, token * width, block.norm_1, row, scores)
            linear(row, block.qkv, qkv, 3 * token * width, False)
    for token in range(kept):
        if len(block.heads):
            _attend(qkv, token, length, width, block.heads, row, scores)
            linear(row, block.project, x, token * width, True)
        if block.adds:
            add_mlp(block.norm_2, block.mlp, x, token * width, row, hidden, scores)


@compiled
def _attend(
    qkv: Any, token: int, length: int, width: int, heads: Any, out: Any, scores: Any
) -> None:
    """Mix the values of a sequence's tokens for one of them; heads left out give zeros."""
    scale = np.float32(math.log2(math.e) / math.sqrt(HEAD))
    total = scores[length * LANES :]
    out[:] = 0
    for head in heads:
        query = _rows(qkv, 3 * token * width + head)
        for other in range(length):
            key = _rows(qkv, (3 * other + 1) * width + head)
            score = scores[other * LANES : (other + 1) * LANES]
            for lane in range(LANES):
                score[lane] = scale * (
                    query[lane] * key[lane] + query[LANES + lane] * key[LANES + lane]
                    + query[2 * LANES + lane] * key[2 * LANES + lane]
                    + query[3 * LANES + lane] * key[3 * LANES + lane]
                    + query[4 * LANES + lane] * key[4 * LANES + lane]
                    + query[5 * LANES + lane] * key[5 * LANES + lane]
                    + query[6 * LANES + lane] * key[6 * LANES + lane]
                    + query[7 * LANES + lane] * key[7 * LANES + lane]
                )
        _soften(scores, length, total)
        mixed = _rows(out, head)
        for other in range(length):
            value = _rows(qkv, (3 * other + 2) * width + head)
            score = scores[other * LANES : (other + 1) * LANES]
            for d in range(HEAD):
                y, v = mixed[d * LANES : (d + 1) * LANES], value[d * LANES : (d + 1) * LANES]
                for lane in range(LANES):
                    y[lane] += score[lane] * v[lane]


@compiled
def _rows(x: Any, first: int) -> Any:
    """Return the rows of one head."""
    return x[first * LANES : (first + HEAD) * LANES]


@compiled
def _soften(scores: Any, length: int, total: Any) -> None:
    """Apply softmax to scores that are in powers of two; ``total`` is room for a row."""
    total[:] = scores[:LANES]
    for other in range(1, length):
        score = scores[other * LANES : (other + 1) * LANES]
        for lane in range(LANES):
            total[lane] = max(total[lane], score[lane])
    for other in range(length):
        score = scores[other * LANES : (other + 1) * LANES]
        for lane in range(LANES):
            score[lane] = power_of_two(score[lane] - total[lane])
    total[:] = 0
    for other in range(length):
        score = scores[other * LANES : (other + 1) * LANES]
        for lane in range(LANES):
            total[lane] += score[lane]
    for other in range(length):
        score = scores[other * LANES : (other + 1) * LANES]
        for lane in range(LANES):
            score[lane] /= total[lane]
