# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The closed-form part of ``tiny``: what can be fitted on the trunk without a gradient step.

Tokens are discriminants of patches matched across two views of a picture; their first values are
the local feature. Words are the centres of local features. The head of the pooled tokens keeps
the directions in which pictures differ most, compared with views of one picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F

from ...model.hybrid_encoder import HybridEncoder
from ...model.pooling import TokenPooling
from ...model.trunk import Trunk, TrunkEmbedding

TOKEN_RIDGE = 0.2
POOL_RIDGE = 1.0
SPECTRUM_POWER = -0.25
"""Directions are scaled by this power of their total over within-picture variance."""
WORD_ROUNDS = 12
GRID_STEEPNESS = 8.0
KEY_GAIN, QUERY_GAIN = 1.5, 4.0
CELL_SPREAD = 2.0
"""Standard deviation of a head's cell, in patches."""

Pairs = Iterable[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


def discriminants(
    left: torch.Tensor, right: torch.Tensor, count: int, ridge: float
) -> torch.Tensor:
    """
    Return (C, count) directions of largest total over within-pair variance, best first.

    :param left: centred vectors (N, C); row by row the same thing as ``right``.
    """
    difference = (left - right) / math.sqrt(2)
    both = torch.cat([left, right])
    directions, _ = generalised(difference.T @ difference / len(left), both.T @ both / len(both),
                                count, ridge)
    return directions


def generalised(
    within: torch.Tensor, total: torch.Tensor, count: int, ridge: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Solve ``total v = value (within + ridge) v``.

    :param ridge: added to the diagonal, in its mean.
    :returns: the directions (C, count), scaled to a variance of one within, and their values.
    """
    loaded = within + ridge * within.diagonal().mean() * torch.eye(len(within))
    values, vectors = torch.linalg.eigh(loaded)
    whitened = vectors * values.rsqrt()
    values, directions = torch.linalg.eigh(whitened.T @ total @ whitened)
    return whitened @ directions.flip(1)[:, :count], values.flip(0)[:count]


@torch.no_grad()
def fit_tokens(embedding: TrunkEmbedding, pairs: Pairs) -> None:
    """
    Set the convolution from the trunk's maps to tokens by discriminants of matched patches.

    :param pairs: normalised left and right views (B, 3, H, W), and ``patch_matches`` (B, P, P);
        some hundred pictures in all.
    """
    left, right = (torch.cat(side).float() for side in zip(
        *(_matched(embedding.trunk, *pair) for pair in pairs), strict=True))
    mean = torch.cat([left, right]).mean(dim=0)
    projection = discriminants(left - mean, right - mean, embedding.tokens.out_channels,
                               TOKEN_RIDGE)
    embedding.tokens.weight.copy_(projection.T.reshape(embedding.tokens.weight.shape))
    assert embedding.tokens.bias is not None  # the convolution has one
    embedding.tokens.bias.copy_(-(mean @ projection))


@torch.no_grad()
def read_first_values(encoder: HybridEncoder) -> None:
    """Let the local head hand on the first values of a token."""
    head = encoder.local_head
    head.weight.copy_(torch.eye(head.out_features, head.in_features))
    head.bias.zero_()


@torch.no_grad()
def fit_words(pooling: TokenPooling, maps: torch.Tensor, seed: int) -> None:
    """
    Set the words to the centres of local features by spherical k-means.

    :param maps: token maps (B, width, h, w) of some hundred pictures.
    """
    count, described = pooling.words.shape
    patches = F.normalize(maps[:, :described].flatten(2).float(), dim=1)
    patches = patches.transpose(1, 2).flatten(0, 1)
    rng = torch.Generator().manual_seed(seed)
    words = patches[torch.randperm(len(patches), generator=rng)[:count]].clone()
    for _ in range(WORD_ROUNDS):
        nearest = (patches @ words.T).argmax(dim=1)
        words = F.normalize(torch.zeros_like(words).index_add_(0, nearest, patches), dim=1)
    pooling.words.copy_(words)


@torch.no_grad()
def principal_components(vectors: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean (C,) and components (C, count) of vectors (N, C), N below C."""
    mean = vectors.mean(dim=0)
    centred = vectors - mean
    values, weights = torch.linalg.eigh(centred @ centred.T)
    values, weights = values.flip(0)[:count], weights.flip(1)[:, :count]
    return mean, (centred.T @ weights) / values.sqrt()


@torch.no_grad()
def fit_projection(clean: torch.Tensor, moved: torch.Tensor, count: int) -> torch.Tensor:
    """
    Return the projection (K, count) of pooled components to descriptors.

    :param clean: components (N, K) of pictures.
    :param moved: the same of a view of each of the first M pictures (M, K).
    """
    difference = (moved - clean[: len(moved)]) / math.sqrt(2)
    directions, values = generalised(difference.T @ difference / len(moved),
                                     clean.T @ clean / len(clean), count, POOL_RIDGE)
    projection: torch.Tensor = directions * values**SPECTRUM_POWER
    lengths: torch.Tensor = (clean @ projection).norm(dim=1)
    return projection / lengths.mean()


@torch.no_grad()
def point_heads_at_cells(encoder: HybridEncoder) -> None:
    """
    Let each head of the last block begin as the mean of one cell of the picture.

    The last values of a token say in which cell it lies; the class token's queries are constant.
    Nothing of it reaches the descriptor before the first step: the head is silent.
    """
    backbone = encoder.backbone
    attention = backbone.blocks[-1].attn
    heads, size, width = attention.num_heads, attention.head_dim, backbone.embed_dim
    grid = (encoder.spec.image_height // encoder.patch_px,
            encoder.spec.image_width // encoder.patch_px)
    backbone.pos_embed[0, 1:, width - heads :] += GRID_STEEPNESS * _cells(heads, grid)
    weight, bias = attention.qkv.weight, attention.qkv.bias
    for head in range(heads):
        query, key = head * size, width + head * size
        weight[query], bias[query] = 0.0, QUERY_GAIN
        weight[key] = 0.0
        weight[key, width - heads + head] = KEY_GAIN
    for layer in (weight[2 * width :], attention.proj.weight):
        layer.normal_(std=0.05)
    backbone.head.weight.zero_()
    backbone.head.bias.zero_()


def _cells(heads: int, grid: tuple[int, int]) -> torch.Tensor:
    """Say softly in which of the cells each patch of a grid lies: (patches, heads)."""
    rows = math.isqrt(heads)
    columns = heads // rows
    y, x = torch.meshgrid(torch.arange(grid[0]) + 0.5, torch.arange(grid[1]) + 0.5, indexing='ij')
    centre = torch.arange(rows * columns)
    centre_y = (centre // columns + 0.5) * grid[0] / rows
    centre_x = (centre % columns + 0.5) * grid[1] / columns
    squares = (y.reshape(-1, 1) - centre_y) ** 2 + (x.reshape(-1, 1) - centre_x) ** 2
    return (-squares / (2 * CELL_SPREAD**2)).softmax(dim=1)


def _matched(
    trunk: Trunk, left: torch.Tensor, right: torch.Tensor, matches: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return neighbourhoods (M, C) of the left that have a match, and the right's at its place."""
    ours, theirs = _neighbourhoods(trunk(torch.cat([left, right]))).chunk(2)
    seen = matches.sum(dim=-1) > 0.5
    return ours[seen].half(), (matches @ theirs)[seen].half()


def _neighbourhoods(maps: torch.Tensor) -> torch.Tensor:
    """Return what a 3x3 convolution with replicated borders reads: (B, P, channels * 9)."""
    return F.unfold(F.pad(maps, (1, 1, 1, 1), mode='replicate'), 3).transpose(1, 2)
