# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PyTorch: the reference that every other engine is compared with, on any device."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import nn

from ..features import ImageFeatures
from ..reranker import Reranker

PRECISIONS = {
    'float32': torch.float32,
    'bfloat16': torch.bfloat16,
    'float16': torch.float16,
}


def rounding_to(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Compute in a precision of ``PRECISIONS`` within a ``with`` statement."""
    dtype = PRECISIONS[precision]
    enabled = dtype != torch.float32
    return torch.autocast(device.type, dtype=dtype if enabled else torch.bfloat16,
                          enabled=enabled)


class TorchEncoder:
    """An encoder as it is: later changes of its weights count."""

    name = 'torch'

    def __init__(self, encoder: nn.Module, precision: str = 'float32') -> None:
        self.precision = precision
        self._encoder = encoder

    @torch.inference_mode()
    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """Encode as ``Encoder.encode`` says, on the device of the weights."""
        device = next(self._encoder.parameters()).device
        with rounding_to(self.precision, device):
            features: ImageFeatures = self._encoder(images.to(device))
        return features


class TorchScorer:
    """A reranker as it is: later changes of its weights count."""

    name = 'torch'

    def __init__(self, reranker: Reranker, precision: str = 'float32') -> None:
        """
        Take a reranker.

        :param precision: of its blocks; correlations are float32 in any case.
        """
        self.precision = precision
        self._reranker = reranker

    @torch.inference_mode()
    def score(
        self, query: ImageFeatures, candidates: ImageFeatures, batch: int
    ) -> torch.Tensor:
        """Score as ``Scorer.score`` says, on the device of the weights."""
        device = self._reranker.ratio.device
        query = query.to(device)
        with rounding_to(self.precision, device):
            logits = [self._reranker(query, candidates[start : start + batch].to(device))
                      for start in range(0, len(candidates), batch)]
        return torch.cat(logits)
