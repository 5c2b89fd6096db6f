# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Block-1 of the reranker in one Triton kernel, for a GPU in bfloat16 or float16.

PyTorch needs some thirty kernels, and what each leaves in the GPU's memory the next one reads:
a gigabyte and more for a hundred pairs. Here the tokens of a patch stay in registers.

Eight patches share a program, each with room for eight tokens, so that 64 rows fill the tensor
cores; attention is computed among all 64 and masked, so a patch with NaN spoils the other seven.
In float32 it would not fit into registers, and before sm_80 the tensor cores are not used.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import nn

from .. import reranker, transformer

jit: Any = triton.jit
PATCHES = tl.constexpr(8)
"""Patches of a program."""
ROOM = tl.constexpr(8)
"""Rows for the tokens of a patch; those that it does not need are masked."""
WIDTH = tl.constexpr(reranker.WIDTH)
HEADS = tl.constexpr(reranker.HEADS)
EPS = tl.constexpr(transformer.LAYER_NORM_EPS)
OPTIONS = {'num_warps': 4, 'enable_fp_fusion': True}
"""Both are Triton's defaults; left unsaid, it warns that the second will change."""
OLDEST = (8, 0)
"""Compute capability."""
TYPES = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16, torch.float32: tl.float32}

# Where a layer's weights begin in what ``pack`` returns, in rows of ``WIDTH`` values.
QKV = tl.constexpr(2)
QKV_BIAS = tl.constexpr(QKV + 3 * WIDTH)
PROJECT = tl.constexpr(QKV_BIAS + 3)
NORM_2 = tl.constexpr(PROJECT + WIDTH + 1)
WIDEN = tl.constexpr(NORM_2 + 2)
WIDEN_BIAS = tl.constexpr(WIDEN + 4 * WIDTH)
NARROW = tl.constexpr(WIDEN_BIAS + 4)
LAYER = tl.constexpr(NARROW + 4 * WIDTH + 1)


def go_through_fused(
    precision: torch.dtype,
    blocks: nn.ModuleList, class_token: torch.Tensor, tokens: torch.Tensor, norm: nn.Module,
) -> torch.Tensor:
    """
    Do as ``go_through``, in one kernel where sequences are short enough: float32 (B, W).

    :param precision: of the products; sums, norms and softmax are float32. Products in float32
        are for Triton's interpreter: a GPU would round them to TF32.
    """
    count, given, width = tokens.shape
    if given >= ROOM.value:
        return reranker.go_through(blocks, class_token, tokens, norm)
    out = torch.empty(count, width, dtype=torch.float32, device=tokens.device)
    _summarise[(triton.cdiv(count, PATCHES.value),)](
        tokens.float().contiguous(), class_token.detach().float(), pack(blocks, norm), out, count,
        GIVEN=given, DEPTH=len(blocks), TYPE=TYPES[precision], **OPTIONS)
    return out


def pack(blocks: nn.ModuleList, norm: nn.Module) -> torch.Tensor:
    """Put the weights of timm ``Block``s and the norm after them below each other: (R, WIDTH)."""
    rows = []
    for layer in [*(layer for block in blocks for layer in _layers_of(block)), norm]:
        weight, bias = layer.weight.detach(), layer.bias.detach()
        if weight.dim() == 2:  # (out, in), to (in, out) for each part of the outputs
            weight = torch.cat(weight.t().split(WIDTH.value, dim=1))
        rows += [weight.reshape(-1, WIDTH.value), bias.reshape(-1, WIDTH.value)]
    return torch.cat(rows).float()


def _layers_of(block: Any) -> tuple[Any, ...]:
    attention, mlp = block.attn, block.mlp
    return block.norm1, attention.qkv, attention.proj, block.norm2, mlp.fc1, mlp.fc2


@triton.jit(do_not_specialize=['count'])  # or another number of patches would compile it again
def _summarise(
    tokens: tl.tensor, class_token: tl.tensor, weights: tl.tensor, out: tl.tensor,
    count: tl.tensor, GIVEN: tl.constexpr, DEPTH: tl.constexpr, TYPE: tl.constexpr,
) -> None:
    """Put a class token before the GIVEN tokens of each patch; store it after DEPTH layers."""
    row, column = tl.arange(0, PATCHES * ROOM), tl.arange(0, WIDTH)
    patch = tl.program_id(0).to(tl.int64) * PATCHES + row // ROOM
    position = row % ROOM
    given = (position > 0) & (position <= GIVEN) & (patch < count)
    at = (patch * GIVEN + position - 1)[:, None] * WIDTH + column[None, :]
    x = tl.load(tokens + at, mask=given[:, None], other=0.0)
    x = tl.where((position == 0)[:, None], tl.load(class_token + column)[None, :], x)
    own = row[:, None] // ROOM == row[None, :] // ROOM
    seen = own & (position <= GIVEN)[None, :]
    for layer in tl.static_range(DEPTH):
        start = layer * LAYER
        x += _attend(_normalise(x, weights, start).to(TYPE), weights, start, seen)
        x += _mlp(_normalise(x, weights, start + NORM_2).to(TYPE), weights, start)
    x = _normalise(x, weights, DEPTH * LAYER)
    first = (position == 0) & (patch < count)
    tl.store(out + patch[:, None] * WIDTH + column[None, :], x, mask=first[:, None])


@jit
def _attend(x: tl.tensor, weights: tl.tensor, start: tl.tensor, seen: tl.tensor) -> tl.tensor:
    """Attention of each row to the rows of its patch, with its projection."""
    qkv, bias = start + QKV, start + QKV_BIAS
    query = _linear(x, weights, qkv, bias) * (WIDTH // HEADS) ** -0.5
    key = tl.trans(_linear(x, weights, qkv + WIDTH, bias + 1).to(x.dtype))
    value = _linear(x, weights, qkv + 2 * WIDTH, bias + 2).to(x.dtype)
    head = tl.arange(0, WIDTH) // (WIDTH // HEADS)
    mixed = tl.zeros_like(query)
    for one in tl.static_range(HEADS):
        of_head = (head == one)[None, :]
        scores = tl.dot(tl.where(of_head, query, 0.0).to(x.dtype), key)
        scores = tl.where(seen, scores, float('-inf'))
        shares = tl.exp(scores - tl.max(scores, 1)[:, None])
        shares = (shares / tl.sum(shares, 1)[:, None]).to(x.dtype)
        mixed += tl.where(of_head, tl.dot(shares, value), 0.0)
    return _linear(mixed.to(x.dtype), weights, start + PROJECT, start + PROJECT + WIDTH)


@jit
def _mlp(x: tl.tensor, weights: tl.tensor, start: tl.tensor) -> tl.tensor:
    """Both layers of an MLP with exact GELU, a quarter of the hidden values at a time."""
    y = tl.zeros(x.shape, tl.float32) + _row(weights, start + NARROW + 4 * WIDTH)
    for part in tl.static_range(4):
        hidden = _linear(x, weights, start + WIDEN + part * WIDTH, start + WIDEN_BIAS + part)
        hidden = 0.5 * hidden * (1.0 + tl.erf(hidden * 0.7071067811865476))
        narrow = _square(weights, start + NARROW + part * WIDTH)
        y += tl.dot(hidden.to(x.dtype), narrow.to(x.dtype))
    return y


@jit
def _linear(x: tl.tensor, weights: tl.tensor, square: tl.tensor, bias: tl.tensor) -> tl.tensor:
    return tl.dot(x, _square(weights, square).to(x.dtype)) + _row(weights, bias)


@jit
def _normalise(x: tl.tensor, weights: tl.tensor, row: tl.tensor) -> tl.tensor:
    """Layer norm."""
    centred = x - (tl.sum(x, 1) / WIDTH)[:, None]
    variance = tl.sum(centred * centred, 1) / WIDTH
    scaled = centred * tl.rsqrt(variance + EPS)[:, None]
    return scaled * _row(weights, row) + _row(weights, row + 1)


@jit
def _row(weights: tl.tensor, row: tl.tensor) -> tl.tensor:
    return tl.load(weights + row * WIDTH + tl.arange(0, WIDTH))[None, :]


@jit
def _square(weights: tl.tensor, row: tl.tensor) -> tl.tensor:
    at = tl.arange(0, WIDTH)
    return tl.load(weights + (row + at)[:, None] * WIDTH + at[None, :])
