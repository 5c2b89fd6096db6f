# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How the reranker learns which patches to believe.

``start_reranker`` leaves the second MLP of Block-2 silent. It reads what is known of each patch by
then: support, correlation, distinctness, place and motion. Here it learns by gradient what to add
to the support: densely, whether the best partner of each patch is the true one, and by the
paper's cross entropy of pairs with hard negatives. What each patch is known by never changes, so
it is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...model.reranker import (
    CANDIDATE_XY,
    QUERY_XY,
    Reranker,
    RerankOps,
    encode_xy,
    go_through,
    pair_up,
    with_class_token,
)
from ...model.transformer import is_silent
from ..data.partners import UNKNOWN
from ..losses import pair_cross_entropy
from .pair_data import PairData
from .reranker import AVERAGE_GAIN, CORRELATION_SHARE, DISTINCT_GAIN, ENOUGH_PATCHES
from .slots import (
    CORRELATION,
    COSINE_X,
    COSINE_Y,
    DISTINCT,
    OF_PATCHES,
    QUERY_X,
    QUERY_Y,
    SINE_X,
    SINE_Y,
    SUPPORT,
    norm_of,
    read_slot,
)

KNOWN = (SUPPORT, CORRELATION, DISTINCT, QUERY_X, QUERY_Y, COSINE_X, SINE_X, COSINE_Y, SINE_Y)
"""The slots that are read."""
SIDEWAYS = [KNOWN.index(QUERY_X), KNOWN.index(SINE_X)]
"""What changes its sign where both images are mirrored."""
QUERIES_AT_ONCE = 4
Report = Callable[[int, int], None]
"""Gets how many of how many are done."""


@dataclass(frozen=True)
class JudgeRecipe:
    """
    Settings of this stage.

    ``queries`` with ``negatives`` each are looked at, ``batch`` of them a step with ``patches``
    of each pair. ``dense`` and ``pair`` are the weights of the two losses. ``calibrated`` queries
    follow, held out if there were steps.
    """

    queries: int = 2600
    calibrated: int = 200
    negatives: int = 6
    steps: int = 500
    batch: int = 12
    patches: int = 128
    hidden: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    warmup: int = 30
    dense: float = 3.0
    pair: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class KnownPatches:
    """
    What is known of the patches of G queries with a positive and K negatives each.

    ``values`` (G, 1 + K, S, V) float16, V as in ``KNOWN``; ``labels`` (G, 1 + K, S) as
    of ``is_true_partner``.
    """

    values: torch.Tensor
    labels: torch.Tensor


class Judge(nn.Module):
    """An MLP from what is known of a patch (..., V) to what is added to its support (...)."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(
        self, mean: torch.Tensor, spread: torch.Tensor, hidden: int, patches: int
    ) -> None:
        """
        Begin with adding nothing.

        :param mean: of the values (V,); ``spread`` is their standard deviation.
        :param patches: of both images.
        """
        super().__init__()
        self.enough = ENOUGH_PATCHES / patches
        self.register_buffer('mean', mean)
        self.register_buffer('spread', spread)
        self.widen, self.narrow = nn.Linear(len(mean), hidden), nn.Linear(hidden, 1)
        nn.init.normal_(self.widen.weight, std=1.5 / math.sqrt(len(mean)))
        nn.init.normal_(self.widen.bias, std=0.7)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)
        self.log_gain = nn.Parameter(torch.tensor(1.0))
        self.shift = nn.Parameter(torch.tensor(-2.0))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return what to add."""
        standard = (values - self.mean) / self.spread
        added: torch.Tensor = self.narrow(F.gelu(self.widen(standard)))
        return added[..., 0]

    def judged(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the new support (..., S), and the log-odds (...) that the score speaks for."""
        support = values[..., KNOWN.index(SUPPORT)] + self(values)
        weight = (DISTINCT_GAIN * values[..., KNOWN.index(DISTINCT)]).exp()
        mean = (weight * support).mean(dim=-1) / (self.enough + weight.mean(dim=-1))
        correlation = values[..., KNOWN.index(CORRELATION)].mean(dim=-1)
        score = AVERAGE_GAIN * mean + CORRELATION_SHARE * correlation
        return support, self.log_gain.exp() * score + self.shift


def learn_to_judge(
    reranker: Reranker, data: PairData, recipe: JudgeRecipe, report: Report
) -> None:
    """Teach a reranker that ``start_reranker`` has set, and calibrate it."""
    if recipe.steps:
        queries = _some(~data.held_out, recipe.queries, recipe.seed)
        known = known_patches(reranker, data, queries, recipe.negatives, report)
        values = known.values[:200].float().flatten(0, 2)
        torch.manual_seed(recipe.seed)
        judge = Judge(values.mean(dim=0), values.std(dim=0), recipe.hidden,
                      patches=known.labels.shape[2])
        train_judge(judge, known, recipe)
        write_judge(reranker, judge)
    queries = _some(data.held_out | (recipe.steps == 0), recipe.calibrated, recipe.seed)
    calibrate_head(reranker, *labelled_logits(reranker, data, queries))


@torch.no_grad()
def known_patches(
    reranker: Reranker, data: PairData, queries: torch.Tensor, negatives: int, report: Report
) -> KnownPatches:
    """Look at queries (G,) of the data, each with its positive and its first negatives."""
    columns, values, labels = torch.arange(1 + negatives), [], []
    for part in torch.split(queries, QUERIES_AT_ONCE):
        pairs, true = data.correlated(part, columns.expand(len(part), -1))
        seen = patch_values(reranker, pairs.flatten(0, 1))
        values.append(seen.view(*pairs.shape[:3], -1).half())
        labels.append(true.to(torch.int8))
        report(len(values) * QUERIES_AT_ONCE, len(queries))
    return KnownPatches(torch.cat(values), torch.cat(labels))


@torch.no_grad()
def patch_values(reranker: Reranker, pairs: torch.Tensor) -> torch.Tensor:
    """Return what is known of patches (K, S, V) where the silent MLP of Block-2 reads it."""
    partners = reranker.pair_embedding(pairs) + encode_xy(pairs[..., CANDIDATE_XY])
    summaries = go_through(reranker.block_1[-1:], reranker.class_token_1, partners.flatten(0, 1),
                           reranker.norm)  # the first layer is silent
    tokens = reranker.pair_projection(summaries).view(*pairs.shape[:2], -1)
    tokens = with_class_token(reranker.class_token_2,
                              tokens + encode_xy(pairs[:, :, 0, QUERY_XY]))
    blocks: Any = reranker.block_2
    describes, supports = blocks[0], blocks[1]
    tokens = tokens + describes.mlp(describes.norm2(tokens))  # whose attention is silent
    tokens = supports.norm2(tokens + supports.attn(supports.norm1(tokens)))[:, 1:]
    reads = torch.zeros(len(KNOWN), tokens.shape[-1])
    for row, slot in zip(reads, KNOWN, strict=True):
        read_slot(row, slot, norm_of(OF_PATCHES))
    values: torch.Tensor = tokens @ reads.T
    return values


def train_judge(judge: Judge, known: KnownPatches, recipe: JudgeRecipe) -> list[float]:
    """Take the steps of the recipe; return the losses."""
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=recipe.weight_decay)
    losses = []
    for step in range(recipe.steps):
        warm = min(1.0, (step + 1) / recipe.warmup)
        cosine = (1 + math.cos(math.pi * step / recipe.steps)) / 2
        for group in optimizer.param_groups:
            group['lr'] = recipe.learning_rate * warm * cosine
        loss = _loss(judge, *_drawn(known, recipe, generator), recipe)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def _drawn(
    known: KnownPatches, recipe: JudgeRecipe, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw queries and patches; half of the batches are mirrored."""
    rows = torch.randint(len(known.values), (recipe.batch,), generator=generator)
    count = known.values.shape[2]
    patches = torch.randperm(count, generator=generator)[: recipe.patches]
    values = known.values[rows][:, :, patches].float()
    if torch.rand((), generator=generator) < 0.5:
        values[..., SIDEWAYS] *= -1
    return values, known.labels[rows][:, :, patches].float()


def _loss(
    judge: Judge, values: torch.Tensor, labels: torch.Tensor, recipe: JudgeRecipe
) -> torch.Tensor:
    """Return the squared error of supports against labels, and the cross entropy of pairs."""
    support, log_odds = judge.judged(values)
    dense = (support - labels)[labels != UNKNOWN].square().mean()
    pair = pair_cross_entropy(torch.stack([-log_odds / 2, log_odds / 2], dim=-1))
    return recipe.dense * dense + recipe.pair * pair


@torch.no_grad()
def write_judge(reranker: Reranker, judge: Judge) -> None:
    """Put a judge into the MLP that reads what it read, and adds to the support."""
    block: Any = reranker.block_2[1]
    mlp = block.mlp
    for layer in (mlp.fc1, mlp.fc2):
        layer.weight.zero_()
        layer.bias.zero_()
    reads = judge.widen.weight / judge.spread
    for row, gains in zip(mlp.fc1.weight, reads.tolist(), strict=True):
        for slot, gain in zip(KNOWN, gains, strict=True):
            read_slot(row, slot, gain * norm_of(OF_PATCHES))
    mlp.fc1.bias.copy_(judge.widen.bias - reads @ judge.mean)
    for side, sign in zip(SUPPORT, (1.0, -1.0), strict=True):
        mlp.fc2.weight[side] = sign * judge.narrow.weight[0]
        mlp.fc2.bias[side] = sign * judge.narrow.bias[0]


@torch.no_grad()
def labelled_logits(
    reranker: Reranker, data: PairData, queries: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits (N, 2) and labels (N,) of queries (G,) with all their candidates."""
    columns, logits = torch.arange(data.candidates.shape[1]), []
    ops = RerankOps(pair_up, _through_those_that_add)
    for part in torch.split(queries, QUERIES_AT_ONCE):
        pairs, _ = data.correlated(part, columns.expand(len(part), -1))
        pairs = pairs.flatten(0, 1)
        summaries = reranker.summarise_partners(pairs, ops)
        logits.append(reranker.judge(summaries, pairs[:, :, 0, QUERY_XY], ops))
    labels = (columns == 0).long().repeat(len(queries))
    return torch.cat(logits), labels


def _through_those_that_add(
    blocks: nn.ModuleList, class_token: torch.Tensor, tokens: torch.Tensor, norm: nn.Module
) -> torch.Tensor:
    """Do as ``go_through``, without blocks that change nothing."""
    *first, last = list[Any](blocks)
    loud = [block for block in first
            if not (is_silent(block.attn.proj) and is_silent(block.mlp.fc2))]
    return go_through(nn.ModuleList([*loud, last]), class_token, tokens, norm)


@torch.no_grad()
def calibrate_head(reranker: Reranker, logits: torch.Tensor, labels: torch.Tensor) -> None:
    """
    Scale and shift the head so that its probability fits labelled logits (N, 2).

    As if as many of the pairs were matches as not.
    """
    value = (logits[:, 1] - logits[:, 0]).double()
    mean, spread = value.mean(), value.std()
    inputs = torch.stack([(value - mean) / spread, torch.ones_like(value)], dim=1)
    scale_shift = torch.zeros(2, dtype=torch.float64)
    for _ in range(20):  # Newton's method
        guess = (inputs @ scale_shift).sigmoid()
        hessian = (inputs * (guess * (1 - guess))[:, None]).T @ inputs
        hessian += 1e-6 * torch.eye(2)
        scale_shift += torch.linalg.solve(hessian, inputs.T @ (labels - guess))
    scale = float(scale_shift[0] / spread)
    reranker.head.weight.mul_(scale)
    reranker.head.bias.mul_(scale)
    matches = int(labels.sum())
    prior = math.log((len(labels) - matches) / matches)
    shift = float(scale_shift[1] - mean * scale) + prior
    reranker.head.bias.add_(torch.tensor([-0.5, 0.5]) * shift)


def _some(which: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """Return at most ``count`` of the rows that are chosen, in random order."""
    rows = which.nonzero()[:, 0]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return rows[order[:count]]
