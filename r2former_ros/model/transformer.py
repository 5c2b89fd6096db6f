# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Transformer blocks shared by encoder and reranker; they equal timm's bit for bit."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

LAYER_NORM_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention; ``fused_attn`` chooses PyTorch's own kernel."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.scale = self.head_dim**-0.5
        self.fused_attn = True
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm, self.k_norm, self.norm = nn.Identity(), nn.Identity(), nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Let each token (B, T, width) attend to its whole sequence."""
        batch, length, width = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, length, 3, self.num_heads, self.head_dim)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, T, head_dim)
        if self.fused_attn:
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            weights = (query * self.scale @ key.transpose(-2, -1)).softmax(dim=-1)
            mixed = weights @ value
        projected: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return projected


class Mlp(nn.Module):
    """Two layers with exact GELU in between; the hidden layer is four times as wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Transform each token (B, T, width) separately."""
        changed: torch.Tensor = self.fc2(self.act(self.fc1(tokens)))
        return changed


class Block(nn.Module):
    """A pre-norm transformer block, with the names of timm's ``Block``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.attn = Attention(width, heads)
        self.ls1 = nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(width)
        self.ls2 = nn.Identity()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Add attention, then MLP, to tokens (B, T, width)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        mixed: torch.Tensor = tokens + self.mlp(self.norm2(tokens))
        return mixed


def make_blocks(depth: int, *, width: int, heads: int) -> nn.ModuleList:
    """Make blocks."""
    return nn.ModuleList(Block(width, heads) for _ in range(depth))


def read_out(
    block: Any, tokens: torch.Tensor, class_tokens: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Run a block for its first tokens only, which is all that is needed of a last block.

    The other tokens serve as keys and values; their queries and MLP would be wasted work.

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
    """Return whether a layer always outputs zero, so that its branch can be skipped."""
    return not (layer.weight.any() or layer.bias.any())
