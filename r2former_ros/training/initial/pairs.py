# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The reranker on features that were computed once, since its encoder is frozen.

Global hardest mining as published (section 3.3), with all descriptors at hand: every image is
there in a mild and in a strong view, and neighbouring frames of a clip are positives too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from ...model import ImageFeatures
from ...model.reranker import Reranker
from ...model.vit_encoder import VitEncoder
from ..augment import AugmentConfig, make_view
from ..data.pools import SAME_PLACE_FRAMES, ImagePool

MILD = AugmentConfig(
    zoom=0.1, shift=0.05, tilt=0.03, turn_deg=2.0, light=0.3, night=0.0, grey=0.1, blur=0.1,
    coarse=0.15, occlusion=0.1, noise=0.1,
)
STRONG = AugmentConfig(zoom=0.25, shift=0.08, tilt=0.06, night=0.35)


@dataclass(frozen=True)
class PairRecipe:
    """Settings of this stage; ``patches`` of each image, drawn anew, keep steps cheap."""

    queries: int = 8
    negatives: int = 3
    hardest: int = 10
    patches: int = 128
    steps: int = 0
    warmup: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class ViewFeatures:
    """Features of N images in two views (float16), with clip and frame number of each."""

    views: tuple[ImageFeatures, ImageFeatures]
    clip: torch.Tensor
    frame: torch.Tensor

    def same_place(self) -> torch.Tensor:
        """Return bool (N, N): frames of one clip that are close."""
        close = (self.frame[:, None] - self.frame[None]).abs() <= SAME_PLACE_FRAMES
        return close & (self.clip[:, None] == self.clip[None])

    def next_frame(self) -> torch.Tensor:
        """Return for each image the row of the next frame of its clip, or its own row."""
        rows = torch.arange(len(self.clip))
        following = rows.roll(-1)
        next_one = (self.clip[following] == self.clip) & (self.frame[following] - self.frame == 1)
        return torch.where(next_one, following, rows)


@torch.no_grad()
def encode_views(
    encoder: VitEncoder, pool: ImagePool, rows: np.ndarray[tuple[int], np.dtype[np.int64]],
    prepare: Callable[[torch.Tensor], torch.Tensor], *, seed: int = 0, batch: int = 32,
) -> ViewFeatures:
    """
    Encode a mild and a strong view of each image.

    :param prepare: from uint8 (B, H, W, 3) to the normalised input of the encoder.
    """
    rng = np.random.default_rng(seed)
    size = encoder.spec.image_height, encoder.spec.image_width
    parts: tuple[list[ImageFeatures], list[ImageFeatures]] = ([], [])
    for start in range(0, len(rows), batch):
        chunk = rows[start : start + batch]
        flips = rng.random(len(chunk)) < 0.5
        for part, config in zip(parts, (MILD, STRONG), strict=True):
            views = [make_view(pool.images[row], size, config, rng, flip=bool(flip)).image
                     for row, flip in zip(chunk, flips, strict=True)]
            part.append(_halved(encoder(prepare(torch.from_numpy(np.stack(views))))))
    mild, strong = (joined(part) for part in parts)
    clip, frame = (torch.from_numpy(numbers[rows]) for numbers in (pool.clip, pool.frame))
    return ViewFeatures((mild, strong), clip, frame)


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


class PairTrainer:
    """Train a reranker on ``ViewFeatures``; what is drawn depends on seed and step alone."""

    def __init__(self, reranker: Reranker, features: ViewFeatures, recipe: PairRecipe) -> None:
        self.reranker, self.features, self.recipe = reranker, features, recipe
        self.optimizer = torch.optim.AdamW(
            reranker.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay,
            betas=(0.9, 0.99),
        )
        self.next_frame = features.next_frame()
        self.hardest = {(side, other): self._mine(side, other)
                        for side in (0, 1) for other in (0, 1)}

    def step(self, number: int) -> float:
        """Learn one batch and return its loss."""
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + number)
        query, candidates, labels = self.draw(generator)
        for group in self.optimizer.param_groups:
            group['lr'] = self.learning_rate(number)
        logits = self.reranker(query, candidates).float()
        # As many positives as negatives, by weight.
        share = torch.tensor([1 / self.recipe.negatives, 1.0])
        loss = F.cross_entropy(logits, labels, weight=share)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.reranker.parameters(), 1.0)
        self.optimizer.step()
        return float(loss.detach())

    def learning_rate(self, number: int) -> float:
        """Return the rate: a linear warm-up, then half a cosine down to a fiftieth."""
        warm = min(1.0, (number + 1) / self.recipe.warmup)
        cosine = (1 + math.cos(math.pi * min(1.0, number / self.recipe.steps))) / 2
        return self.recipe.learning_rate * warm * (0.02 + 0.98 * cosine)

    def draw(
        self, generator: torch.Generator
    ) -> tuple[ImageFeatures, ImageFeatures, torch.Tensor]:
        """Return queries, candidates and labels (B,): a positive each, then hard negatives."""
        count = self.recipe.queries
        rows = torch.randint(len(self.features.clip), (count,), generator=generator)
        side = int(torch.randint(2, (), generator=generator))
        moved = bool(torch.randint(2, (), generator=generator))
        query = self._pick(side, rows, generator)
        candidates = [self._pick(1 - side, self.next_frame[rows] if moved else rows, generator)]
        for number in range(self.recipe.negatives):
            other = side if number == 1 else 1 - side
            table = self.hardest[side, other]
            column = torch.randint(table.shape[1], (count,), generator=generator)
            candidates.append(self._pick(other, table[rows, column], generator))
        labels = torch.zeros(len(candidates) * count, dtype=torch.long)
        labels[:count] = 1
        return joined([query] * len(candidates)), joined(candidates), labels

    @torch.no_grad()
    def labelled_logits(self, batches: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, 2) and labels (N,) of that many batches."""
        generator = torch.Generator().manual_seed(self.recipe.seed)
        drawn = [self.draw(generator) for _ in range(batches)]
        logits = torch.cat([self.reranker(query, others) for query, others, _ in drawn])
        return logits, torch.cat([labels for _, _, labels in drawn])

    def _pick(
        self, side: int, rows: torch.Tensor, generator: torch.Generator
    ) -> ImageFeatures:
        """Take images with a random part of their patches, as float32."""
        view = self.features.views[side]
        total = view.xy.shape[1]
        chosen = torch.rand(len(rows), total, generator=generator).argsort(dim=1)
        chosen = chosen[:, : min(self.recipe.patches, total)]

        def of_patches(values: torch.Tensor) -> torch.Tensor:
            wide = chosen[..., None].expand(-1, -1, values.shape[-1])
            return values[rows].gather(1, wide).float()

        return ImageFeatures(
            view.descriptor[rows].float(), of_patches(view.xy),
            view.attention[rows].gather(1, chosen).float(), of_patches(view.descriptors),
        )

    def _mine(self, side: int, other: int) -> torch.Tensor:
        """Return for each image the rows of the most similar ones that show other places."""
        views = self.features.views
        similarity = views[side].descriptor.float() @ views[other].descriptor.float().T
        similarity.masked_fill_(self.features.same_place(), -torch.inf)
        return similarity.topk(min(self.recipe.hardest, len(similarity) - 1), dim=1).indices


def joined(parts: list[ImageFeatures]) -> ImageFeatures:
    """Put batches of images one after another."""
    return ImageFeatures(*(torch.cat([getattr(part, name) for part in parts])
                           for name in ('descriptor', 'xy', 'attention', 'descriptors')))


def _halved(features: ImageFeatures) -> ImageFeatures:
    return replace(features, **{name: getattr(features, name).half()
                                for name in ('descriptor', 'xy', 'attention', 'descriptors')})
