# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Train the blocks, the class token and the heads of ``tiny`` on tokens that were computed once.

The descriptor starts as that of the pooled tokens, in closed form: the class token's head is
silent. Each step shows two views of some pictures and their most similar ones. They are to be
described as the pictures themselves were at the start, to be found among the descriptors of all
pictures, and to be told apart within the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from ..common.files import replacing
from ..model.hybrid_encoder import HybridEncoder
from .data.token_store import TokenViews
from .initial.encoder import fit_projection, principal_components

SIMILAR = 32
"""Most similar pictures of which a batch takes some."""
TEMPERATURE = 0.05
NEGATIVE_TEMPERATURE = 0.07
SAME_PLACE = 0.6
"""Pictures whose descriptors are more similar are not told apart within a batch."""
TARGET_WEIGHT, BANK_WEIGHT, BATCH_WEIGHT = 2.0, 0.7, 0.3
HEAD_RATE = 0.25
"""Learning rate of the closed-form parts, in shares of that of the blocks."""
WARMUP_STEPS = 60
SPARSE_SHARE = 0.85
"""Share of the run in which half of the patches are left out of the blocks."""
SAVE_EVERY_STEPS = 50

Report = Callable[[int, int, float], None]
"""Gets the step, the steps of the run, and the loss."""


@dataclass(frozen=True)
class Components:
    """Principal components float16 (N, K) of the pooled tokens, for each kind of view."""

    kinds: tuple[torch.Tensor, ...]
    mean: torch.Tensor
    basis: torch.Tensor

    @torch.no_grad()
    @staticmethod
    def of(encoder: HybridEncoder, views: TokenViews, count: int, fitted: int) -> Components:
        """Fit components to the first pictures as they are, and project all views."""
        pool = encoder.pooling
        some = [pool(views.maps(0, slice(start, min(start + 128, fitted))))
                for start in range(0, min(fitted, len(views.rows)), 128)]
        mean, basis = principal_components(torch.cat(some), count)
        kinds = tuple(torch.cat([((pool(maps) - mean) @ basis).half()
                                 for maps in views.batches(kind)])
                      for kind in range(len(views.kinds)))
        return Components(kinds, mean, basis)


class ClassTokenTrainer:
    """Take steps, resumable after any of them; what is drawn depends on seed and step alone."""

    def __init__(
        self, encoder: HybridEncoder, views: TokenViews, components: Components, *, steps: int,
        batch: int, learning_rate: float, seed: int, path: Path,
    ) -> None:
        """
        Start from the closed form, or where the file says that an earlier run was.

        :param batch: pictures of a step, a third of them drawn at random.
        """
        self.encoder, self.views, self.components = encoder, views, components
        self.steps, self.batch, self.seed, self.path = steps, batch, seed, path
        self.step = 0
        clean, moved = (components.kinds[kind].float() for kind in (0, 1))
        projection = fit_projection(clean, moved, encoder.spec.descriptor_dim)
        self.targets = F.normalize(clean @ projection, dim=1)
        self.projection = nn.Parameter(projection)
        self.bank = nn.Parameter(self.targets.clone())
        self.similar = _most_similar(self.targets)
        backbone = encoder.backbone
        blocks = [*backbone.blocks.parameters(), *backbone.norm.parameters(),
                  *backbone.head.parameters(), backbone.cls_token, backbone.pos_embed]
        self.optimizer = torch.optim.AdamW([
            {'params': blocks, 'share': 1.0, 'weight_decay': 0.02},
            {'params': [self.projection, self.bank], 'share': HEAD_RATE, 'weight_decay': 0.0},
        ], lr=learning_rate)
        self.rate, self.trained = learning_rate, blocks
        self._resume()

    def run(self, report: Report) -> None:
        """Train to the end, and write the projection into the encoder."""
        while self.step < self.steps:
            loss = self.take_step()
            report(self.step, self.steps, loss)
            if self.step % SAVE_EVERY_STEPS == 0 or self.step == self.steps:
                self._save()
        self.write_projection()

    def take_step(self) -> float:
        """Take one optimiser step; return the loss."""
        rng = np.random.default_rng([self.seed, self.step])
        rate = self.rate * min(1.0, self.step / WARMUP_STEPS) * (
            1 + math.cos(math.pi * self.step / self.steps)) / 2
        for group in self.optimizer.param_groups:
            group['lr'] = rate * group['share']
        pictures = self._pictures(rng)
        maps, pooled = self._views(pictures, rng)
        patches = maps.shape[2] * maps.shape[3]
        sparse = self.step < SPARSE_SHARE * self.steps
        kept = np.sort(rng.choice(patches, patches // 2 if sparse else patches, replace=False))
        loss = self.loss(self.describe(maps, pooled, torch.from_numpy(kept)), pictures)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def describe(
        self, maps: torch.Tensor, pooled: torch.Tensor, kept: torch.Tensor
    ) -> torch.Tensor:
        """
        Return descriptors (B, D) of unit norm.

        :param pooled: components (B, K) of the pooled tokens.
        :param kept: the patches that enter the blocks.
        """
        backbone = self.encoder.backbone
        size = self.encoder.spec.image_height, self.encoder.spec.image_width
        with torch.autocast('cpu', dtype=torch.bfloat16):
            tokens = self.encoder.with_prefix(maps, size)
            prefix = backbone.num_prefix_tokens
            tokens = torch.cat([tokens[:, :prefix], tokens[:, prefix:][:, kept]], dim=1)
            class_tokens, _, _ = self.encoder.attend(tokens)
            seen = backbone.head(backbone.norm(class_tokens[:, 0]))
        return F.normalize(pooled @ self.projection + seen.float(), dim=1)

    def loss(self, found: torch.Tensor, pictures: NDArray[np.int64]) -> torch.Tensor:
        """Return the loss of the descriptors of two views of each picture (2 * batch, D)."""
        targets = self.targets[torch.from_numpy(pictures)]
        twice = targets.repeat(2, 1)
        off_target = (1 - (found * twice).sum(dim=1)).mean()
        expected = (twice @ self.targets.T / TEMPERATURE).softmax(dim=1)
        logits = found @ F.normalize(self.bank, dim=1).T / TEMPERATURE
        in_bank = F.cross_entropy(logits, expected)
        left, right = found.chunk(2)
        similarity = left @ right.T / NEGATIVE_TEMPERATURE
        same = (targets @ targets.T > SAME_PLACE) & ~torch.eye(len(targets), dtype=torch.bool)
        similarity = similarity.masked_fill(same, -1 / NEGATIVE_TEMPERATURE)
        own = torch.arange(len(targets))
        apart = (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2
        return TARGET_WEIGHT * off_target + BANK_WEIGHT * in_bank + BATCH_WEIGHT * apart

    @torch.no_grad()
    def write_projection(self) -> None:
        """Write what the pooled tokens add to the descriptor into the encoder's heads."""
        weight = (self.components.basis @ self.projection).T
        self.encoder.pool_head.weight.copy_(weight)
        self.encoder.backbone.head.bias.sub_(weight @ self.components.mean)

    def _pictures(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw pictures, and two that are similar to each of them."""
        seeds = rng.choice(len(self.targets), max(1, self.batch // 3), replace=False)
        similar = [rng.choice(self.similar[row], 2, replace=False) for row in seeds]
        return np.concatenate([seeds, *similar])

    def _views(
        self, pictures: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw two kinds of view of each picture: token maps and pooled components."""
        drawn = []
        for row in pictures:
            kinds = [kind for kind, maps in enumerate(self.views.kinds) if row < len(maps)]
            drawn.append(rng.choice(kinds, 2, replace=len(kinds) < 2))
        pairs = [(int(kind), int(row)) for kinds in zip(*drawn, strict=True)
                 for kind, row in zip(kinds, pictures, strict=True)]
        maps = np.stack([self.views.kinds[kind][row] for kind, row in pairs])
        pooled = torch.stack([self.components.kinds[kind][row] for kind, row in pairs])
        return torch.from_numpy(maps).float(), pooled.float()

    def _save(self) -> None:
        content = {'step': self.step, 'encoder': self.encoder.state_dict(),
                   'projection': self.projection.data, 'bank': self.bank.data,
                   'optimizer': self.optimizer.state_dict()}
        with replacing(self.path) as part:
            torch.save(content, part)

    def _resume(self) -> None:
        if not self.path.exists():
            return
        content: dict[str, Any] = torch.load(self.path, weights_only=True)
        self.step = content['step']
        self.encoder.load_state_dict(content['encoder'])
        self.projection.data, self.bank.data = content['projection'], content['bank']
        self.optimizer.load_state_dict(content['optimizer'])


@torch.no_grad()
def _most_similar(descriptors: torch.Tensor) -> NDArray[np.int64]:
    """Return the rows (N, SIMILAR) of each picture's most similar others."""
    count = min(SIMILAR + 1, len(descriptors))
    best = [(descriptors[start : start + 1024] @ descriptors.T).topk(count).indices
            for start in range(0, len(descriptors), 1024)]
    return torch.cat(best)[:, 1:].numpy()
