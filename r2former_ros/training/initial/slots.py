# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the set reranker keeps what it knows of a patch in the 32 values of a token."""

from __future__ import annotations

import torch

from ...model.reranker import WIDTH, encode_xy

CENTRE_XY = (0.5, 0.375)
Slot = tuple[int, int]
"""A value is added to one value of the token and taken from another: their sum stays as it was."""
CORRELATION, SUPPORT = (6, 7), (22, 23)
QUERY_X, QUERY_Y = (4, 5), (20, 21)
CANDIDATE_X, CANDIDATE_Y = MOTION_X, MOTION_Y = COSINE_X, COSINE_Y = (2, 3), (18, 19)
SINE_X, SINE_Y = (12, 13), (28, 29)
SQUARES = (14, 15)
DISTINCT = (26, 27)
"""Slots lie where ``encode_xy`` adds almost nothing, or almost the same to both sides."""
FLAG = (30, 31)
"""A constant, positive in the tokens of patches and negative in class tokens."""
OF_PAIRS = (CORRELATION, QUERY_X, QUERY_Y, CANDIDATE_X, CANDIDATE_Y, DISTINCT)
OF_PATCHES = (*OF_PAIRS, SUPPORT, SINE_X, SINE_Y, SQUARES)
CONSTANT = 8.0
"""Other values are this or its negative: so large that the norm of a token hardly varies."""


def constants(slots: tuple[Slot, ...], flag: float) -> torch.Tensor:
    """Return a token (WIDTH,) with nothing in its slots, and constants elsewhere."""
    token = torch.full((WIDTH,), CONSTANT)
    token[1::2] = -CONSTANT
    token[[side for slot in slots for side in slot]] = 0.0
    token[list(FLAG)] *= flag
    return token


def norm_of(slots: tuple[Slot, ...], encoded: bool = True) -> float:
    """Return by what layer norm divides such a token, of a patch or ``encoded=False`` of none."""
    token = constants(slots, 1.0)
    if encoded:
        token = token + encode_xy(torch.tensor(CENTRE_XY))
    return float(token.std(correction=0))


def write_slot(vector: torch.Tensor, slot: Slot, value: float) -> None:
    """Add a value to a slot of a vector of ``WIDTH``."""
    vector[slot[0]] += value
    vector[slot[1]] -= value


def read_slot(row: torch.Tensor, slot: Slot, gain: float) -> None:
    """Let a row of weights (WIDTH,) read what a slot holds, times a gain."""
    row[slot[0]] += gain / 2
    row[slot[1]] -= gain / 2
