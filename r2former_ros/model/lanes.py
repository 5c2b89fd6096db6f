# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Transformer blocks over many short sequences, compiled by numba for the CPU at hand.

Sequences lie in lanes: row r of an array holds value r of ``LANES`` sequences side by side, so
every operation is a plain loop over lanes that fills the widest registers, and all that a block
computes stays in the nearest caches.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .kernels import HEAD, compiled, power_of_two
from .transformer import LAYER_NORM_EPS, is_silent

Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]
LANES = 128
"""Sequences worked on at a time."""
TERMS = 8
"""Inputs of a linear layer that are added in one pass over the lanes."""


def weights_of(block: Any) -> tuple[Arrays, ...]:
    """Return weight and bias of a timm ``Block``'s layers, in the order of computation."""
    layers = (block.norm1, block.attn.qkv, block.attn.proj, block.norm2,
              block.mlp.fc1, block.mlp.fc2)
    return tuple(map(arrays_of, layers))


def arrays_of(layer: Any) -> Arrays:
    """Return weight and bias of a layer; they share its memory."""
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def summaries(
    tokens: torch.Tensor, class_token: torch.Tensor, blocks: Any, norm: Any
) -> torch.Tensor:
    """
    Put a class token before short sequences and return it after blocks and norm.

    :param tokens: (B, T, W) float32, with W a multiple of eight, the width of a head.
    :param class_token: (1, 1, W).
    :returns: (B, W).
    """
    out = np.empty((tokens.shape[0], tokens.shape[2]), np.float32)
    start = class_token.detach().numpy().ravel()
    *earlier, last = blocks
    needed = [block for block in earlier if not _adds_nothing(block)] + [last]
    _summarise(tokens.contiguous().numpy(), start, tuple(map(weights_of, needed)),
               arrays_of(norm), out)
    return torch.from_numpy(out)


def _adds_nothing(block: Any) -> bool:
    return is_silent(block.attn.proj) and is_silent(block.mlp.fc2)


@compiled
def _summarise(tokens: Any, start: Any, blocks: Any, norm: Any, out: Any) -> None:
    count, length, width = tokens.shape
    length += 1
    x = np.zeros(length * width * LANES, np.float32)
    qkv = np.zeros(3 * length * width * LANES, np.float32)
    row = np.zeros(width * LANES, np.float32)
    hidden = np.zeros(len(blocks[0][4][1]) * LANES, np.float32)
    scores = np.zeros((length + 1) * LANES, np.float32)
    for first in range(0, count, LANES):
        group = tokens[first : first + LANES]
        _load(group, start, x)
        for number, block in enumerate(blocks):
            kept = 1 if number == len(blocks) - 1 else length
            _run(block, length, kept, width, x, qkv, row, hidden, scores)
        _normalise(x, 0, norm, row, scores)
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
    norm_1, qkv_of, project, norm_2, widen, narrow = block
    for token in range(length):
        _normalise(x, token * width, norm_1, row, scores)
        _linear(row, qkv_of, qkv, 3 * token * width, False)
    for token in range(kept):
        _attend(qkv, token, length, width, row, scores)
        _linear(row, project, x, token * width, True)
        _normalise(x, token * width, norm_2, row, scores)
        _linear(row, widen, hidden, 0, False)
        _gelu(hidden)
        _linear(hidden, narrow, x, token * width, True)


@compiled
def _linear(source: Any, layer: Any, target: Any, to: int, add: bool) -> None:
    """
    Write a linear layer's outputs into rows of the target, or add them to what is there.

    Two outputs and eight inputs at a time, as scalars: what is loaded serves twice, and sums stay
    in registers. Slices, because then the compiler sees that no index is negative.
    """
    weight, bias = layer
    outputs, inputs = weight.shape
    for j in range(0, outputs, 2):
        y = target[(to + j) * LANES : (to + j + 2) * LANES]
        for lane in range(LANES):
            y[lane] = y[lane] + bias[j] if add else bias[j]
            y[LANES + lane] = y[LANES + lane] + bias[j + 1] if add else bias[j + 1]
        for k in range(0, inputs, TERMS):
            v, w = weight[j, k : k + TERMS], weight[j + 1, k : k + TERMS]
            v0, v1, v2, v3, v4, v5, v6, v7 = v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]
            w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
            x = source[k * LANES : (k + TERMS) * LANES]
            for lane in range(LANES):
                x0, x1, x2, x3 = (
                    x[lane], x[LANES + lane], x[2 * LANES + lane], x[3 * LANES + lane])
                x4, x5, x6, x7 = (
                    x[4 * LANES + lane], x[5 * LANES + lane],
                    x[6 * LANES + lane], x[7 * LANES + lane])
                y[lane] += (
                    v0 * x0 + v1 * x1 + v2 * x2 + v3 * x3 + v4 * x4 + v5 * x5 + v6 * x6 + v7 * x7)
                y[LANES + lane] += (
                    w0 * x0 + w1 * x1 + w2 * x2 + w3 * x3 + w4 * x4 + w5 * x5 + w6 * x6 + w7 * x7)


@compiled
def _normalise(x: Any, at: int, layer: Any, out: Any, scratch: Any) -> None:
    """Layer norm of rows of x."""
    weight, bias = layer
    width = len(weight)
    scratch[: 2 * LANES] = 0
    for d in range(at, at + width):
        for lane in range(LANES):
            scratch[lane] += x[d * LANES + lane]
    for lane in range(LANES):
        scratch[lane] /= np.float32(width)
    for d in range(at, at + width):
        for lane in range(LANES):
            off = x[d * LANES + lane] - scratch[lane]
            scratch[LANES + lane] += off * off
    for lane in range(LANES):
        variance = scratch[LANES + lane] / np.float32(width)
        scratch[LANES + lane] = np.float32(1) / np.sqrt(variance + np.float32(LAYER_NORM_EPS))
    for d in range(width):
        for lane in range(LANES):
            off = x[(at + d) * LANES + lane] - scratch[lane]
            out[d * LANES + lane] = off * scratch[LANES + lane] * weight[d] + bias[d]


@compiled
def _attend(qkv: Any, token: int, length: int, width: int, out: Any, scores: Any) -> None:
    """Mix the values of a sequence's tokens for one of them."""
    scale = np.float32(math.log2(math.e) / math.sqrt(HEAD))
    total = scores[length * LANES :]
    out[:] = 0
    for head in range(0, width, HEAD):
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


@compiled
def _gelu(x: Any) -> None:
    """
    Apply the exact GELU in place.

    With the complement of the error function as in Abramowitz and Stegun, 7.1.26: off by 1.5e-7.
    """
    for i in range(len(x)):
        size = abs(x[i])
        t = np.float32(1) / (np.float32(1) + np.float32(0.3275911 / math.sqrt(2)) * size)
        tail = np.float32(1.061405429) * t - np.float32(1.453152027)
        tail = tail * t + np.float32(1.421413741)
        tail = tail * t - np.float32(0.284496736)
        tail = (tail * t + np.float32(0.254829592)) * t
        tail *= power_of_two(size * size * np.float32(-0.5 * math.log2(math.e)))
        x[i] = max(x[i], np.float32(0)) - np.float32(0.5) * size * tail
