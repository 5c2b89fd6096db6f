# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The paper's ablations (section 4.4) at run time: the same weights, one part taken away.

The paper trains each variant anew; here the weights stay, so a part that they rely on costs more.
Features are changed as they leave the encoder, pairs and blocks by subclasses of the reranker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from ..model import ImageFeatures, R2Former
from ..model.reranker import CANDIDATE_XY, Reranker, Through, encode_xy, go_through
from .cache import cached

ALL_PATCHES = 1_000_000
Change = Callable[[ImageFeatures, int], ImageFeatures]


@dataclass(frozen=True)
class Variant:
    """
    One row of the table.

    ``published`` is recall@1 on MSLS val in the paper, where it has the row. ``features`` of 0
    keeps the number of local features; ``candidates`` of 0 the number that is reranked.
    """

    name: str
    published: float | None = None
    change: Change | None = None
    reranker: type[Reranker] = Reranker
    features: int = 0
    candidates: int = 0


class WithoutBlock1(Reranker):
    """The five partners are averaged."""

    def summarise_partners(
        self, pairs: torch.Tensor, through: Through = go_through
    ) -> torch.Tensor:
        """Replace Block-1 by the mean of its input."""
        tokens = self.pair_embedding(pairs) + encode_xy(pairs[..., CANDIDATE_XY])
        summaries: torch.Tensor = self.pair_projection(self.norm(tokens.mean(dim=2)))
        return summaries


class WithoutBlock2(Reranker):
    """All patches are averaged."""

    def judge(
        self, summaries: torch.Tensor, query_xy: torch.Tensor, through: Through = go_through
    ) -> torch.Tensor:
        """Replace Block-2 by the mean of its input."""
        tokens = summaries + encode_xy(query_xy)
        logits: torch.Tensor = self.head(self.norm(tokens.mean(dim=1)))
        return logits.float()


class TopPair(Reranker):
    """Each patch has its best partner only."""

    def summarise_partners(
        self, pairs: torch.Tensor, through: Through = go_through
    ) -> torch.Tensor:
        """Show Block-1 the first partner alone."""
        return super().summarise_partners(pairs[:, :, :1], through)


def without_xy(features: ImageFeatures, count: int) -> ImageFeatures:
    """Put all patches to the middle of the square that coordinates are counted in."""
    kept = features.strongest(count)
    return replace(kept, xy=torch.full_like(kept.xy, 0.5))


def without_attention(features: ImageFeatures, count: int) -> ImageFeatures:
    """Give all patches an attention of one half; they are still selected by it."""
    kept = features.strongest(count)
    return replace(kept, attention=torch.full_like(kept.attention, 0.5))


def random_choice(features: ImageFeatures, count: int) -> ImageFeatures:
    """Keep patches drawn without regard to attention, always the same of the same grid."""
    total = features.xy.shape[1]
    # Drawn by place in the image, so that the draw does not depend on the order of attention.
    order = (features.xy[..., 1] * 10_000 + features.xy[..., 0]).argsort(dim=1)
    drawn = torch.randperm(total, generator=torch.Generator().manual_seed(0))[:count]
    rows = order[:, drawn.to(order.device)].sort(dim=1).values  # attention falls again
    images = torch.arange(len(features), device=rows.device)[:, None]
    return replace(features, **{name: getattr(features, name)[images, rows]
                                for name in ('xy', 'attention', 'descriptors')})


def variants(num_local: int, candidates: int) -> list[Variant]:
    """
    Return the rows for weights that select ``num_local`` patches.

    Random selection takes half of the patches, and is set beside the half of most attention:
    where all patches are selected anyway there is nothing to choose.
    """
    half = max(5, num_local // 2)
    return [
        Variant('as trained', 86.6),
        Variant('no Block-1', 85.5, reranker=WithoutBlock1),
        Variant('no Block-2', 81.9, reranker=WithoutBlock2),
        Variant('top-1 pair', 86.6, reranker=TopPair),
        Variant('no xy', 85.0, change=without_xy),
        Variant('no attention', 86.1, change=without_attention),
        *(Variant(f'{count} local features', features=count)
          for count in dict.fromkeys((half, max(5, num_local // 4)))),
        Variant(f'{half} at random', 83.6, change=random_choice, features=half),
        *(Variant(f'{count} candidates', candidates=count)
          for count in dict.fromkeys((max(1, candidates // 4), max(1, candidates // 2)))),
    ]


class AblatedModel:
    """A model with one part taken away; it is another model, by its fingerprint too."""

    def __init__(self, model: R2Former, variant: Variant) -> None:
        """
        Wrap a model.

        :param model: gives all patches of an image; see ``with_all_patches``.
        """
        self._model = model
        self._variant = variant
        self._count = variant.features or model.spec.num_local
        self._reranker = R2Former(model.encoder.spec, model.origin)
        self._reranker.reranker = variant.reranker()
        self._reranker.reranker.load_state_dict(model.reranker.state_dict())
        self._reranker.to(model.device).eval()
        self._reranker.precision = model.precision
        self._reranker.compiled = model.compiled
        self.fingerprint = f'{model.fingerprint}, {variant.name}'

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """Encode, then select and change features."""
        change = self._variant.change or ImageFeatures.strongest
        return change(self._model.encode(images), self._count)

    def score(
        self, query: ImageFeatures, candidates: ImageFeatures, batch: int = 10
    ) -> torch.Tensor:
        """Score pairs by the changed reranker."""
        return self._reranker.score(query, candidates, batch)


def ablated(model: R2Former, variant: Variant) -> R2Former:
    """Return a model with one part taken away."""
    return cast(R2Former, AblatedModel(model, variant))


def with_all_patches(model: R2Former, folder: Path) -> R2Former:
    """
    Let the encoder return every patch of an image, in the order of attention.

    They are kept in a folder of their own, so that every variant encodes nothing again.
    """
    model.encoder.spec = replace(model.encoder.spec, num_local=ALL_PATCHES)
    model.without_runtimes()  # they give as many as before
    return cached(model, folder / 'all_patches')
