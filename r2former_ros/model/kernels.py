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
LANES = 128
"""Queries worked on at a time: many enough for wide registers, few enough for the first cache."""
SHORT = 16
"""Up to so many queries, lanes would lie idle."""
SUM = HEAD
WEIGHT = 2 * HEAD
SHIFT = WEIGHT + 1
"""Rows of the scratch: 0 to 7 the queries, from SUM the sums of values, then of weights."""
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
    tokens = qkv.shape[1]
    scratch = np.empty((SHIFT + 1) * LANES, np.float32)
    pairs = np.zeros((tokens + 1) * 2 * HEAD, np.float32)
    for image in range(images):
        for head in range(0, width, HEAD):
            longest = _load_pairs(qkv[image], width + head, 2 * width + head, pairs)
            for first in range(0, rows, LANES):
                count = min(LANES, rows - first)
                queries = qkv[image, first : first + count]
                _load_queries(queries, head, longest, pairs, tokens, scratch)
                _mix(pairs, tokens, scratch)
                for lane in range(count):
                    share = np.float32(1) / scratch[WEIGHT * LANES + lane]
                    for d in range(HEAD):
                        mixed = scratch[(SUM + d) * LANES + lane]
                        out[image, first + lane, head + d] = mixed * share


@compiled
def _load_pairs(qkv: Any, key: int, value: int, pairs: Any) -> Any:
    """Lay keys and values side by side; return the length of the longest key."""
    longest = np.float32(0)
    for token in range(len(qkv)):
        square = np.float32(0)
        for d in range(HEAD):
            one = qkv[token, key + d]
            square += one * one
            pairs[token * 2 * HEAD + d] = one
            pairs[token * 2 * HEAD + HEAD + d] = qkv[token, value + d]
        longest = max(longest, square)
    return np.sqrt(longest)


@compiled
def _load_queries(
    queries: Any, head: int, longest: Any, pairs: Any, tokens: int, scratch: Any
) -> None:
    """
    Lay queries out in lanes, scaled so that scores are powers of two; clear the sums.

    No score exceeds the product of both lengths. Where that is not ``SAFE``, the largest score
    is taken off all.
    """
    scale = np.float32(math.log2(math.e) / math.sqrt(HEAD))
    scratch[:] = 0
    for lane in range(len(queries)):
        square = np.float32(0)
        for d in range(HEAD):
            one = queries[lane, head + d] * scale
            square += one * one
            scratch[d * LANES + lane] = one
        if np.sqrt(square) * longest > SAFE:
            scratch[SHIFT * LANES + lane] = -_largest_score(
                pairs, tokens, lane, scratch
            )


@compiled
def _largest_score(pairs: Any, tokens: int, lane: int, scratch: Any) -> Any:
    largest = np.float32(-np.inf)
    for token in range(tokens):
        score = np.float32(0)
        for d in range(HEAD):
            score += scratch[d * LANES + lane] * pairs[token * 2 * HEAD + d]
        largest = max(largest, score)
    return largest


@compiled
def _mix(pairs: Any, tokens: int, s: Any) -> None:
    """
    Sum weights and weighted values over all tokens, two at a time to halve memory traffic.

    Scalars instead of slices, and one flat scratch: so the compiler sees that lanes are
    independent, and uses the widest registers.
    """
    for token in range(0, tokens, 2):
        p = pairs[token * 2 * HEAD : (token + 2) * 2 * HEAD]
        second = np.float32(token + 1 < tokens)
        a0, a1, a2, a3, a4, a5, a6, a7 = p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]
        v0, v1, v2, v3, v4, v5, v6, v7 = p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15]
        b0, b1, b2, b3, b4, b5, b6, b7 = p[16], p[17], p[18], p[19], p[20], p[21], p[22], p[23]
        w0, w1, w2, w3, w4, w5, w6, w7 = p[24], p[25], p[26], p[27], p[28], p[29], p[30], p[31]
        for lane in range(LANES):
            left = right = s[SHIFT * LANES + lane]
            for d, a, b in (
                (0, a0, b0), (1, a1, b1), (2, a2, b2), (3, a3, b3),
                (4, a4, b4), (5, a5, b5), (6, a6, b6), (7, a7, b7),
            ):
                left += s[d * LANES + lane] * a
                right += s[d * LANES + lane] * b
            left = power_of_two(left)
            right = power_of_two(right) * second
            s[WEIGHT * LANES + lane] += left + right
            for d, v, w in (
                (8, v0, w0), (9, v1, w1), (10, v2, w2), (11, v3, w3),
                (12, v4, w4), (13, v5, w5), (14, v6, w6), (15, v7, w7),
            ):
                s[d * LANES + lane] += left * v + right * w


@compiled
def power_of_two(x: Any) -> Any:
    """
    Return 2^x for x in [-126, 127], relative error 2e-6; smaller x count as -126.

    A polynomial (minimax on [-1/2, 1/2]) times a power that goes into the exponent's bits.
    """
    x = max(x, np.float32(-126))
    whole = np.floor(x + np.float32(0.5))
    part = x - whole
    power = np.float32(0.0013333558) * part + np.float32(0.009618129)
    power = power * part + np.float32(0.05550411)
    power = power * part + np.float32(0.24022651)
    power = power * part + np.float32(0.6931472)
    power = power * part + np.float32(1.0)
    exponent = np.int32(np.int32(whole) * np.int32(1 << 23))
    return np.int32(np.float32(power).view(np.int32) + exponent).view(np.float32)
