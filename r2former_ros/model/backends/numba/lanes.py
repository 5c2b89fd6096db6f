# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Layers of transformer blocks, compiled by numba for the CPU at hand.

Tokens lie in lanes: row r of an array holds value r of ``LANES`` tokens side by side, so every
operation is a plain loop over lanes that fills the widest registers, and all that a block
computes stays in the nearest caches.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from ...transformer import LAYER_NORM_EPS, is_silent

Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]
HEAD = 8
"""Values of a head."""
LANES = 128
"""Tokens worked on at a time."""
TERMS = 8
"""Inputs of a linear layer that are added in one pass over the lanes."""
HIDDEN = 32
"""Hidden values of an MLP at a time: few enough for the first cache."""
LINE = 16
"""Values in a line of the cache."""

compiled: Any = numba.njit(fastmath=True, nogil=True, cache=True, error_model='numpy')


class Layers(NamedTuple):
    """A timm ``Block`` as arrays, which share its memory where they can."""

    heads: NDArray[np.int64]  # where heads begin, of those by which attention adds anything
    adds: bool  # whether the MLP does
    norm_1: Arrays
    qkv: Arrays
    project: Arrays
    norm_2: Arrays
    mlp: tuple[tuple[Arrays, Arrays], ...]  # both layers, ``HIDDEN`` hidden values at a time


def layers_of(block: Any) -> Layers:
    """Return what a timm ``Block`` without layer scale and query norm computes."""
    widen, narrow = arrays_of(block.mlp.fc1), arrays_of(block.mlp.fc2)
    parts = [slice(first, first + HIDDEN) for first in range(0, len(widen[1]), HIDDEN)]
    none = np.zeros_like(narrow[1])
    return Layers(
        heads=_live_heads(block.attn.proj),
        adds=not is_silent(block.mlp.fc2),
        norm_1=arrays_of(block.norm1),
        qkv=arrays_of(block.attn.qkv),
        project=arrays_of(block.attn.proj),
        norm_2=arrays_of(block.norm2),
        mlp=tuple(
            ((widen[0][part], widen[1][part]),
             (np.ascontiguousarray(narrow[0][:, part]), none if part.start else narrow[1]))
            for part in parts),
    )


def _live_heads(project: Any) -> NDArray[np.int64]:
    """Return where heads begin that a projection reads; a bias needs one of them."""
    if is_silent(project):
        return np.empty(0, np.int64)
    read = project.weight.detach().numpy().any(axis=0).reshape(-1, HEAD).any(axis=1)
    read[0] |= not read.any()
    return np.flatnonzero(read) * HEAD


def arrays_of(layer: Any) -> Arrays:
    """Return weight and bias of a layer; they share its memory."""
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


@compiled
def room(values: int) -> Any:
    """Make zeros that begin with a line of the cache: so no load of a register spans two."""
    whole = np.zeros(values + LINE, np.float32)
    first = LINE - whole.ctypes.data // whole.itemsize % LINE
    return whole[first : first + values]


@compiled
def linear(source: Any, layer: Any, target: Any, to: int, add: bool) -> None:
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
def normalise(x: Any, at: int, layer: Any, out: Any, scratch: Any) -> None:
    """Layer norm of rows of x from ``at`` on; ``scratch`` is room for two rows."""
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
def add_mlp(norm: Any, mlp: Any, x: Any, at: int, row: Any, hidden: Any, scratch: Any) -> None:
    """Add to rows of x from ``at`` on what norm and MLP make of them."""
    normalise(x, at, norm, row, scratch)
    for widen, narrow in mlp:
        linear(row, widen, hidden, 0, False)
        _gelu(hidden)
        linear(hidden, narrow, x, at, True)


@compiled
def _gelu(x: Any) -> None:
    """
    Apply the exact GELU in place, off by less than 1e-6.

    With the complement of the error function as in Abramowitz and Stegun, 7.1.26.
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


@compiled
def power_of_two(x: Any) -> Any:
    """
    Return 2^x for x in [-125, 127], relative error 3e-6; smaller x count as -125.

    A polynomial (minimax on [-1/2, 1/2]) times a power that goes into the exponent's bits.
    """
    x = max(x, np.float32(-125))  # just below 2^-126 numbers are subnormal, and slow
    whole = np.rint(x)
    part = x - whole
    power = np.float32(0.009570102) * part + np.float32(0.05591786)
    power = power * part + np.float32(0.24024745)
    power = power * part + np.float32(0.6931218)
    power = power * part + np.float32(0.9999993)
    exponent = np.int32(np.int32(whole) * np.int32(1 << 23))
    return np.int32(np.float32(power).view(np.int32) + exponent).view(np.float32)
