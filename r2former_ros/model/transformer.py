# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pieces that encoder and reranker share."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import nn

LAYER_NORM_EPS = 1e-6


def make_blocks(depth: int, *, width: int, heads: int) -> nn.ModuleList:
    """Make pre-norm transformer blocks with exact GELU and an MLP four times as wide."""
    norm: Any = partial(nn.LayerNorm, eps=LAYER_NORM_EPS)
    return nn.ModuleList(
        Block(width, heads, mlp_ratio=4, qkv_bias=True, norm_layer=norm) for _ in range(depth)
    )


def read_out(
    block: Any, tokens: torch.Tensor, class_tokens: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Run a block for its first tokens only: what a last block is needed for.

    The other tokens serve as keys and values; their queries and MLP would be dead work.

    :param block: a timm ``Block``.
    :param tokens: (B, T, width), the block's input.
    :returns: the class tokens (B, class_tokens, width) after the block, and their attention
        (B, heads, class_tokens, T) to all tokens after the softmax.
    """
    attention = block.attn
    heads, head_width = attention.num_heads, attention.head_dim
    normed = block.norm1(tokens)
    batch, length, _ = normed.shape
    qkv = attention.qkv(normed).reshape(batch, length, 3, heads, head_width)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, head_width)
    query = attention.q_norm(query[:, :, :class_tokens])
    key = attention.k_norm(key)
    weights = (query * attention.scale @ key.transpose(-2, -1)).softmax(dim=-1)
    mixed = (weights @ value).transpose(1, 2).reshape(batch, class_tokens, heads * head_width)
    out = tokens[:, :class_tokens] + block.ls1(attention.proj(attention.norm(mixed)))
    return out + block.ls2(block.mlp(block.norm2(out))), weights


def is_silent(layer: nn.Linear) -> bool:
    """Say whether a layer gives zero whatever it gets: then its branch need not be computed."""
    return not (layer.weight.any() or layer.bias.any())
