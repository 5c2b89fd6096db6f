# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The paper's ablations (section 4.4) at run time: the same weights, one part taken away.

The paper retrains each variant; here the weights stay, so removing a part that they rely on costs
more. An encoder around the model's own changes features, subclasses of the reranker its blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..config import ModelConfig
from ..model import Encoder, ImageFeatures, Model, R2Former, Scorer
from ..model.backends.pytorch import TorchEncoder
from ..model.loading import engine_for
from ..model.reranker import CANDIDATE_XY, TORCH, Reranker, RerankOps, encode_xy
from .cache import cached

ALL_PATCHES = 1_000_000
Change = Callable[[ImageFeatures, int], ImageFeatures]


@dataclass(frozen=True)
class Variant:
    """
    One row of the table.

    ``published`` is recall@1 on MSLS val in the paper, if it has the row. 0 keeps the number of
    local ``features`` or of reranked ``candidates``.
    """

    name: str
    published: float | None = None
    change: Change | None = None
    reranker: type[Reranker] = Reranker
    features: int = 0
    candidates: int = 0


class WithoutBlock1(Reranker):
    """Average the five partners."""

    def summarise_partners(self, pairs: torch.Tensor, ops: RerankOps = TORCH) -> torch.Tensor:
        """Replace Block-1 with the mean of its input."""
        tokens = self.pair_embedding(pairs) + encode_xy(pairs[..., CANDIDATE_XY])
        summaries: torch.Tensor = self.pair_projection(self.norm(tokens.mean(dim=2)))
        return summaries


class WithoutBlock2(Reranker):
    """Average all patches."""

    def judge(
        self, summaries: torch.Tensor, query_xy: torch.Tensor, ops: RerankOps = TORCH
    ) -> torch.Tensor:
        """Replace Block-2 with the mean of its input."""
        tokens = summaries + encode_xy(query_xy)
        logits: torch.Tensor = self.head(self.norm(tokens.mean(dim=1)))
        return logits.float()


class TopPair(Reranker):
    """Keep only the best partner of each patch."""

    def summarise_partners(self, pairs: torch.Tensor, ops: RerankOps = TORCH) -> torch.Tensor:
        """Pass only the first partner to Block-1."""
        return super().summarise_partners(pairs[:, :, :1], ops)


def without_xy(features: ImageFeatures, count: int) -> ImageFeatures:
    """Move all patches to the centre of the coordinate square."""
    kept = features.strongest(count)
    return replace(kept, xy=torch.full_like(kept.xy, 0.5))


def without_attention(features: ImageFeatures, count: int) -> ImageFeatures:
    """Set the attention of all patches to one half, after selecting by it."""
    kept = features.strongest(count)
    return replace(kept, attention=torch.full_like(kept.attention, 0.5))


def random_choice(features: ImageFeatures, count: int) -> ImageFeatures:
    """Keep randomly drawn patches, the same for the same grid."""
    total = features.xy.shape[1]
    # Draw by position in the image, so that the draw is independent of attention.
    order = (features.xy[..., 1] * 10_000 + features.xy[..., 0]).argsort(dim=1)
    drawn = torch.randperm(total, generator=torch.Generator().manual_seed(0))[:count]
    rows = order[:, drawn.to(order.device)].sort(dim=1).values  # in order of attention
    images = torch.arange(len(features), device=rows.device)[:, None]
    return ImageFeatures(features.descriptor,
                         *(tensor[images, rows] for tensor in features.local()))


def variants(num_local: int, candidates: int) -> list[Variant]:
    """
    Return the rows for weights that select ``num_local`` patches.

    Random selection keeps half of the patches and is compared with the half of largest attention,
    because with all patches selected there would be nothing to choose.
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


class ChangedEncoder:
    """An encoder whose features are selected and changed."""

    def __init__(self, encoder: Encoder, change: Change, count: int) -> None:
        self.name, self.precision = encoder.name, encoder.precision
        self._encoder, self._change, self._count = encoder, change, count

    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """Encode as ``Encoder.encode`` says, then change the features."""
        return self._change(self._encoder.encode(images), self._count)


def ablated(model: Model, variant: Variant, settings: ModelConfig | None = None) -> Model:
    """
    Return a model with one part taken away, which has a fingerprint of its own.

    :param model: returns all patches of an image; see ``with_all_patches``.
    :param settings: engine and precision of the changed reranker; default: PyTorch in float32.
    """
    settings = settings or ModelConfig(backend='torch')
    change = variant.change or ImageFeatures.strongest
    network = R2Former(model.spec, model.origin, model.network.encoder)
    network.reranker = variant.reranker()
    network.reranker.load_state_dict(model.network.reranker.state_dict())
    network.to(model.device).eval()
    return Model(
        network, ChangedEncoder(model.encoder, change, variant.features or model.spec.num_local),
        scorer_of_layers(network, settings), f'{model.fingerprint}, {variant.name}')


def scorer_of_layers(network: R2Former, settings: ModelConfig) -> Scorer:
    """Score with the network's own layers: ``onnx`` and the like hold those of the weights."""
    backend = 'torch' if settings.backend == 'torch' else 'auto'
    settings = replace(settings, backend=backend)
    return engine_for(network, settings).scorer(network, settings)


def with_all_patches(model: Model, folder: Path) -> Model:
    """
    Return a model whose encoder returns every patch of an image, in the order of attention.

    PyTorch encodes, whatever engine the model had. The features are cached in a folder of their
    own, so each image is encoded once for all variants.
    """
    encoder = copy(model.network.encoder)
    encoder.spec = replace(encoder.spec, num_local=ALL_PATCHES)
    model = replace(model, encoder=TorchEncoder(encoder, model.encoder.precision))
    return cached(model, folder / 'all_patches')
