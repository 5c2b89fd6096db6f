# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The reranker (paper section 3.2): a transformer that reads the correlation of two images.

``correlate`` finds the five best partners of each patch, ``Reranker.block_1`` summarises the five,
``Reranker.block_2`` reads all patches together, and ``Reranker.head`` decides: match or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ImageError
from .features import ImageFeatures
from .transformer import LAYER_NORM_EPS, make_blocks, read_out

WIDTH = 32
HEADS = 4
PARTNERS = 5
"""Best partners kept for each patch (paper table 6: five beat one)."""
PAIR_VALUES = 7
"""x, y, attention of the query's patch, the same of the candidate's, and their correlation."""
CANDIDATE, CORRELATION = 3, 6
"""Index of the first value of the candidate, and of the correlation."""
QUERY_XY = slice(0, 2)
CANDIDATE_XY = slice(CANDIDATE, CANDIDATE + 2)


def go_through(
    blocks: nn.ModuleList, class_token: torch.Tensor, tokens: torch.Tensor, norm: nn.Module
) -> torch.Tensor:
    """Prepend a class token to the tokens (B, T, W); return it (B, W) after blocks and norm."""
    tokens = with_class_token(class_token, tokens)
    for block in blocks[:-1]:
        tokens = block(tokens)
    summary, _ = read_out(blocks[-1], tokens, 1)
    normed: torch.Tensor = norm(summary[:, 0])
    return normed


def with_class_token(class_token: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Prepend a class token (1, 1, W) to the tokens (B, T, W); len() would fix B in an export."""
    return torch.cat([class_token.expand(tokens.shape[0], -1, -1).to(tokens), tokens], dim=1)


def pair_up(
    correlation: torch.Tensor, left: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    """
    Assemble what ``correlate`` returns.

    :param correlation: (K, Nx, Ny).
    :param left: x, y, attention of the query's patches (K, Nx, 3).
    :param right: the same of the candidates' patches (K, Ny, 3).
    """
    best, partners = correlation.topk(PARTNERS, dim=2)  # (K, Nx, 5)
    own = left[:, :, None].expand(-1, -1, PARTNERS, -1)
    from_query = torch.cat([own, _gather(right, partners), best[..., None]], dim=-1)

    best, partners = correlation.transpose(1, 2).topk(PARTNERS, dim=2)  # (K, Ny, 5)
    own = right[:, :, None].expand(-1, -1, PARTNERS, -1)
    from_candidate = torch.cat([_gather(left, partners), own, best[..., None]], dim=-1)
    return torch.cat([from_query, from_candidate], dim=1)


class RerankOps(NamedTuple):
    """The two operations that an engine may compute in its own way, for inference."""

    pair_up: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    go_through: Callable[[nn.ModuleList, torch.Tensor, torch.Tensor, nn.Module], torch.Tensor]


TORCH = RerankOps(pair_up, go_through)


class Reranker(nn.Module):
    """Score pairs of images from their local features."""

    def __init__(self) -> None:
        super().__init__()
        self.pair_embedding = nn.Linear(PAIR_VALUES, WIDTH)
        self.class_token_1 = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.block_1 = make_blocks(2, width=WIDTH, heads=HEADS)
        self.pair_projection = nn.Linear(WIDTH, WIDTH)
        self.class_token_2 = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.block_2 = make_blocks(6, width=WIDTH, heads=HEADS)
        self.norm = nn.LayerNorm(WIDTH, eps=LAYER_NORM_EPS)  # one norm, used after both
        self.head = nn.Linear(WIDTH, 2)
        self.ratio = nn.Parameter(torch.full((1,), 0.5))
        self._initialise()

    def forward(
        self, query: ImageFeatures, candidates: ImageFeatures, ops: RerankOps = TORCH
    ) -> torch.Tensor:
        """
        Score one query against K candidates, or K queries against one candidate each.

        :returns: logits (K, 2): no match, match.
        :raises ImageError: if an image has fewer than five local features.
        """
        pairs = correlate(query, candidates, ops)  # (K, S, 5, 7)
        summaries = self.summarise_partners(pairs, ops)  # (K, S, 32)
        return self.judge(summaries, pairs[:, :, 0, QUERY_XY], ops)

    def summarise_partners(self, pairs: torch.Tensor, ops: RerankOps = TORCH) -> torch.Tensor:
        """Block-1: reduce the five partners of a patch (K, S, 5, 7) to one token (K, S, 32)."""
        count, length = pairs.shape[:2]
        tokens = self.pair_embedding(pairs) + encode_xy(pairs[..., CANDIDATE_XY])
        tokens = tokens.flatten(0, 1)  # (K * S, 5, 32)
        summary = ops.go_through(self.block_1, self.class_token_1, tokens, self.norm)
        projected: torch.Tensor = self.pair_projection(summary)
        return projected.reshape(count, length, WIDTH)

    def judge(
        self, summaries: torch.Tensor, query_xy: torch.Tensor, ops: RerankOps = TORCH
    ) -> torch.Tensor:
        """Block-2 and head: from all patches (K, S, 32) at their positions (K, S, 2) to logits."""
        tokens = summaries + encode_xy(query_xy)
        summary = ops.go_through(self.block_2, self.class_token_2, tokens, self.norm)
        logits: torch.Tensor = self.head(summary)
        return logits.float()

    def _initialise(self) -> None:
        for token in (self.class_token_1, self.class_token_2):
            nn.init.normal_(token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)


def correlate(
    query: ImageFeatures, candidates: ImageFeatures, ops: RerankOps = TORCH
) -> torch.Tensor:
    """
    Find the five best partners of each patch of the query, then of each patch of the candidate.

    Always float32: rounded correlations would select other partners, which ruins the logits.

    :param query: one image, or as many as there are candidates.
    :returns: (K, S, 5, 7) with S = Nx + Ny, best partner first; see ``PAIR_VALUES``.
    :raises ImageError: if an image has fewer than five local features.
    """
    fewest = min(query.xy.shape[1], candidates.xy.shape[1])
    if fewest < PARTNERS:
        raise ImageError(f'{fewest} local features: the reranker needs at least {PARTNERS}; '
                         'use a larger input size')
    with torch.autocast(query.descriptors.device.type, enabled=False):
        left = F.normalize(query.descriptors.float(), dim=-1)
        right = F.normalize(candidates.descriptors.float(), dim=-1)
        correlation = left @ right.transpose(1, 2)  # (K, Nx, Ny)
    left_values, right_values = _patch_values(query), _patch_values(candidates)
    left_values = left_values.expand(correlation.shape[0], -1, -1)
    return ops.pair_up(correlation, left_values, right_values)


def mean_best_correlation(
    query: ImageFeatures, candidates: ImageFeatures, batch: int = 10
) -> torch.Tensor:
    """
    Compare a query with K candidates cheaply: how well their patches match on average.

    :returns: (K,) in [-1, 1], the mean over both sides of each patch's best correlation.
    """
    left = F.normalize(query.descriptors, dim=-1)
    means = []
    for start in range(0, len(candidates), batch):
        right = F.normalize(candidates.descriptors[start : start + batch], dim=-1)
        correlation = left @ right.transpose(1, 2)  # (batch, Nx, Ny)
        means.append((correlation.amax(2).mean(1) + correlation.amax(1).mean(1)) / 2)
    return torch.cat(means)


def encode_xy(xy: torch.Tensor) -> torch.Tensor:
    """
    Encode coordinates in [0, 1] as sines and cosines: (..., 2) to (..., 32).

    Sixteen values for x, then sixteen for y: eight sines, then eight cosines, with frequencies
    10000^(-k/8).
    """
    count = WIDTH // 4
    steps = torch.arange(count, device=xy.device, dtype=torch.float32) / count
    angles = xy.float()[..., None] * torch.pow(10_000.0, -steps)  # (..., 2, 8)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def _patch_values(features: ImageFeatures) -> torch.Tensor:
    """Return x, y, attention (B, N, 3), clamped to [0, 1]."""
    values = torch.cat([features.xy, features.attention[..., None]], dim=-1)
    return values.float().clamp(0, 1)


def _gather(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Pick rows (K, S, 5) of values (K, N, 3): (K, S, 5, 3)."""
    picked = values.gather(1, rows.flatten(1)[..., None].expand(-1, -1, values.shape[-1]))
    return picked.reshape(*rows.shape, values.shape[-1])
