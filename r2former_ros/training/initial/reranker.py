# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A start for the reranker: how many patches have neighbours that moved as they did.

Each patch has a place in the query image, a motion from there to its best partner in the
candidate, and a correlation with it. Block-1 hands these on, and by how much the best of the five
partners beats the last: how distinct it is. The first MLP of Block-2 turns motions into cosines
and sines; then each patch attends to those near it that moved alike and correlate well. How much
of its attention they take from the class token is its support: the score is the mean support of
all patches, the distinct ones weighing more, and a share of their mean correlation. The constants
were chosen as docs/training_log.md tells.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from ...model.reranker import HEADS, PAIR_VALUES, WIDTH, Reranker
from ...model.transformer import is_silent
from .slots import (
    CANDIDATE_X,
    CANDIDATE_Y,
    CENTRE_XY,
    CONSTANT,
    CORRELATION,
    COSINE_X,
    COSINE_Y,
    DISTINCT,
    FLAG,
    MOTION_X,
    MOTION_Y,
    OF_PAIRS,
    OF_PATCHES,
    QUERY_X,
    QUERY_Y,
    SINE_X,
    SINE_Y,
    SQUARES,
    SUPPORT,
    Slot,
    constants,
    norm_of,
    read_slot,
    write_slot,
)

NEIGHBOUR_PATCHES = 1.5
"""Standard deviation, in patches, of the distance over which patches support each other."""
MOTION_PATCHES = 0.7
"""The same of the difference of two motions that count as alike."""
CLEAR_CORRELATION = 0.5
"""A neighbour of this correlation counts once."""
CORRELATION_GAIN = 4.0
"""A neighbour counts e times as much for a correlation that is higher by a fourth."""
ENOUGH_NEIGHBOURS = 30.0
"""So many that agree perfectly give a support of one half."""
PARTNER_SHARPNESS = 400.0
"""Block-1 reads the best of the partners: e times as much for a correlation higher by 1/400."""
DISTINCT_GAIN = 10.0
"""A patch weighs e times as much if its best partner beats the last by a tenth more."""
ENOUGH_PATCHES = 60000.0
"""So many that are fully supported give half of the score: far more than there are."""
CORRELATION_SHARE = 2.0
"""A mean correlation that is higher by a tenth adds a fifth to the score."""
TURN = 2 * math.pi
"""Angle of a motion across the whole image."""
AVERAGE_GAIN, HEAD_GAIN = 40.0, 10.0
"""Let scores differ by about as much as logits do; calibration sets the rest."""

FAR = 300.0
"""A difference of logits that shuts a token out."""

Layer = tuple[torch.Tensor, torch.Tensor]
"""Weight (rows, WIDTH) and bias (rows,) of one head's queries, keys or values."""


@torch.no_grad()
def start_reranker(reranker: Reranker, patch: float) -> None:
    """
    Let the reranker begin as the weighted mean support of all patches of both images.

    All that is not needed for that begins silent. Gradient steps on it from here have only made it
    worse so far, the gains are large; those on the local features through it help
    (docs/training.md).

    :param patch: distance of neighbouring patches, where the longer side of the image is one.
    """
    for block in [*reranker.block_1, *reranker.block_2]:
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight.zero_()
            layer.bias.zero_()
    _embed_pairs(reranker)
    _take_best_partner(reranker)
    _describe_motion(reranker.block_2[0].mlp)
    reranker.class_token_2.copy_(constants(OF_PATCHES, -1.0))
    token = reranker.class_token_2[0, 0]
    for cosine, sine in ((COSINE_X, SINE_X), (COSINE_Y, SINE_Y)):
        write_slot(token, cosine, math.pi / 2 / TURN)  # its cosine is nothing,
        write_slot(token, sine, -1.0)  # and its sine will be
    _gather_support(reranker.block_2[1].attn, patch)
    _average_support(reranker.block_2[-1].attn)
    reranker.head.weight.zero_()
    for row, sign in enumerate((-1.0, 1.0)):
        read_slot(reranker.head.weight[row], SUPPORT, sign * HEAD_GAIN)


def is_as_set(reranker: Reranker) -> bool:
    """Say whether branches are still silent, as ``start_reranker`` left them: a step ends that."""
    blocks: Any = [*reranker.block_1, *reranker.block_2]
    return any(is_silent(block.mlp.fc2) for block in blocks)


def _embed_pairs(reranker: Reranker) -> None:
    """Put the coordinates and the correlation of a pair of patches into their slots."""
    embedding = reranker.pair_embedding
    embedding.weight.zero_()
    embedding.bias.copy_(constants(OF_PAIRS, 1.0))
    x, y = CENTRE_XY
    for column, slot, centre in (
        (0, QUERY_X, x), (1, QUERY_Y, y), (3, CANDIDATE_X, x), (4, CANDIDATE_Y, y),
        (PAIR_VALUES - 1, CORRELATION, CLEAR_CORRELATION),
    ):
        write_slot(embedding.weight[:, column], slot, 1.0)
        write_slot(embedding.bias, slot, -centre)
    for value, frequency in enumerate(_low_sines(), 2):  # taken off what encode_xy adds
        embedding.weight[value, 3] -= frequency
        embedding.weight[WIDTH // 2 + value, 4] -= frequency


def _take_best_partner(reranker: Reranker) -> None:
    """Let Block-1 hand on the best partner, with the motion there and how distinct it is."""
    attention: Any = reranker.block_1[-1].attn
    reranker.class_token_1.copy_(constants(OF_PAIRS, -1.0))
    norm = norm_of(OF_PAIRS)
    best, worst = (_select_partner(attention, head, sharpness * norm)
                   for head, sharpness in enumerate((PARTNER_SHARPNESS, -PARTNER_SHARPNESS)))
    for row, slot in enumerate(OF_PAIRS[:-1]):
        read_slot(best[row], slot, norm)
        write_slot(attention.proj.weight[:, row], slot, 1.0)
    read_slot(worst[0], CORRELATION, norm)
    write_slot(attention.proj.weight[:, OF_PAIRS.index(CORRELATION)], DISTINCT, 1.0)
    write_slot(attention.proj.weight[:, WIDTH // HEADS], DISTINCT, -1.0)
    projection = reranker.pair_projection
    projection.weight.zero_()
    projection.bias.copy_(constants(OF_PATCHES, 1.0))
    norm = norm_of(OF_PAIRS, encoded=False)
    for slot in OF_PAIRS:
        read_slot(projection.weight[slot[0]], slot, norm)
        read_slot(projection.weight[slot[1]], slot, -norm)
    for motion, start in ((MOTION_X, QUERY_X), (MOTION_Y, QUERY_Y)):
        projection.weight[list(motion)] -= projection.weight[list(start)]
    for first, slot, centre in zip((2, WIDTH // 2 + 2), (QUERY_X, QUERY_Y), CENTRE_XY,
                                   strict=True):
        for value_of, frequency in enumerate(_low_sines(), first):
            read_slot(projection.weight[value_of], slot, -frequency * norm)
            projection.bias[value_of] -= frequency * centre


def _select_partner(attention: Any, head: int, sharpness: float) -> torch.Tensor:
    """Let a head attend to the partner of highest correlation (lowest: < 0); return its values."""
    query, key, value = _head(attention, head)
    query[1][:2] = _logit_scale()
    read_slot(key[0][0], CORRELATION, sharpness)
    _by_flag(key, 1, OF_PAIRS, FAR, 0.0)
    return value[0]


def _describe_motion(mlp: Any) -> None:
    """Replace motions by their cosines, and add their sines and the squares of x and y."""
    mlp.fc1.weight.zero_()
    motions, places = torch.linspace(-1, 1, 401), torch.linspace(-0.6, 0.6, 401)
    inputs: tuple[tuple[Slot, torch.Tensor, dict[Slot, torch.Tensor]], ...] = (
        (MOTION_X, motions, {COSINE_X: (TURN * motions).cos() - motions,
                             SINE_X: (TURN * motions).sin()}),
        (MOTION_Y, motions, {COSINE_Y: (TURN * motions).cos() - motions,
                             SINE_Y: (TURN * motions).sin()}),
        (QUERY_X, places, {SQUARES: places.square()}),
        (QUERY_Y, places, {SQUARES: places.square()}),
    )
    count = mlp.fc1.out_features // len(inputs)
    for part, (slot, at, functions) in enumerate(inputs):
        rows = slice(part * count, (part + 1) * count)
        slopes, shifts = _ramps(count, float(at[-1]))
        for row, slope in enumerate(slopes.tolist(), rows.start):
            read_slot(mlp.fc1.weight[row], slot, slope * norm_of(OF_PATCHES))
        mlp.fc1.bias[rows] = shifts
        ramps = F.gelu(at[:, None] * slopes + shifts)
        for target, values in functions.items():
            weights = _fitted(ramps, values)
            for side, sign in zip(target, (1.0, -1.0), strict=True):
                mlp.fc2.weight[side, rows] += sign * weights[:-1]
                mlp.fc2.bias[side] += sign * weights[-1]


def _gather_support(attention: Any, patch: float) -> None:
    """
    Let each patch attend to patches near it that moved alike, and to the class token.

    For patches the logit is the product of cosines and sines, less the squared distance of places
    in the query image, plus the gain by correlation; for the class token it is what
    ``ENOUGH_NEIGHBOURS`` says.
    """
    query, key, value = _head(attention, 0)
    norm, scale = norm_of(OF_PATCHES), _logit_scale()
    alike = 1 / (TURN * MOTION_PATCHES * patch) ** 2  # at equal motions, for x and for y
    near = 1 / (NEIGHBOUR_PATCHES * patch) ** 2
    factors = [(slot, alike) for slot in (COSINE_X, SINE_X, COSINE_Y, SINE_Y)]
    factors += [(QUERY_X, near), (QUERY_Y, near)]
    for row, (slot, factor) in enumerate(factors):
        read_slot(query[0][row], slot, scale * math.sqrt(factor) * norm)
        read_slot(key[0][row], slot, math.sqrt(factor) * norm)
    of_key, of_query = len(factors), len(factors) + 1
    query[1][of_key] = scale
    _by_flag(key, of_key, OF_PATCHES, -2 * alike, math.log(ENOUGH_NEIGHBOURS))
    read_slot(key[0][of_key], CORRELATION, CORRELATION_GAIN * norm)
    read_slot(key[0][of_key], SQUARES, -near / 2 * norm)
    _by_flag(key, of_query, OF_PATCHES, 0.0, 1.0)
    read_slot(query[0][of_query], SQUARES, scale * near / 2 * norm)
    _by_flag(value, 0, OF_PATCHES, 1.0, 0.0)
    write_slot(attention.proj.weight[:, 0], SUPPORT, 1.0)


def _average_support(attention: Any) -> None:
    """
    Let the class token read the support of all patches, of the distinct ones more.

    A second head adds the mean correlation of all alike.
    """
    query, key, value = _head(attention, 0)
    query[1][:2] = _logit_scale()
    read_slot(key[0][0], DISTINCT, DISTINCT_GAIN * norm_of(OF_PATCHES))
    _by_flag(key, 1, OF_PATCHES, 0.0, math.log(ENOUGH_PATCHES))
    read_slot(value[0][0], SUPPORT, norm_of(OF_PATCHES))
    write_slot(attention.proj.weight[:, 0], SUPPORT, AVERAGE_GAIN)
    _, _, value = _head(attention, 1)
    read_slot(value[0][0], CORRELATION, norm_of(OF_PATCHES))
    write_slot(attention.proj.weight[:, WIDTH // HEADS], SUPPORT, CORRELATION_SHARE)


def _by_flag(
    layer: Layer, row: int, slots: tuple[Slot, ...], of_patches: float, of_class: float
) -> None:
    """Make one output a constant for patches, and another for class tokens."""
    weight, bias = layer
    patch, other = CONSTANT / norm_of(slots), -CONSTANT / norm_of(slots, encoded=False)
    slope = (of_patches - of_class) / (patch - other)
    read_slot(weight[row], FLAG, slope)
    bias[row] += of_patches - slope * patch


def _head(attention: Any, number: int) -> tuple[Layer, Layer, Layer]:
    """Return views of a head's query, key and value layers, emptied."""
    weights = attention.qkv.weight.view(3, HEADS, WIDTH // HEADS, WIDTH)[:, number]
    biases = attention.qkv.bias.view(3, HEADS, WIDTH // HEADS)[:, number]
    weights.zero_()
    biases.zero_()
    query, key, value = zip(weights, biases, strict=True)
    return query, key, value


def _logit_scale() -> float:
    """Return what logits of attention are divided by."""
    return math.sqrt(WIDTH // HEADS)


def _low_sines() -> list[float]:
    """Return the frequencies of the sines that ``encode_xy`` adds to slots."""
    return [10_000 ** (-step / 8) for step in range(2, 8)]


def _ramps(count: int, reach: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return slopes and shifts of hidden units that begin to rise all over [-reach, reach]."""
    slopes = torch.full((count,), count / reach / 2)
    slopes[1::2] *= -1
    return slopes, -slopes * torch.linspace(-reach, reach, count)


def _fitted(ramps: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return weights (N + 1,), the last a constant, by which ramps (M, N) make a function (M,)."""
    inputs = torch.cat([ramps, torch.ones_like(ramps[:, :1])], dim=1).double()
    damped = inputs.T @ inputs + 1e-4 * torch.eye(inputs.shape[1])
    solved: torch.Tensor = torch.linalg.solve(damped, inputs.T @ wanted.double())
    return solved.float()
