# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The encoder and the reranker as modules of plain tensors, which is what engines can compile."""

from __future__ import annotations

import torch
from torch import nn

from .features import ImageFeatures
from .reranker import TORCH, RerankOps

FEATURES = ('descriptor', 'xy', 'attention', 'descriptors')
"""The results of ``EncoderGraph``."""
PAIR = ('query_xy', 'query_attention', 'query_descriptors',
        'candidates_xy', 'candidates_attention', 'candidates_descriptors')
"""The arguments of ``RerankerGraph``."""


class EncoderGraph(nn.Module):
    """The encoder with plain tensors as its result."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the fields of the images' features in the order of ``FEATURES``."""
        features: ImageFeatures = self.encoder(images)
        return features.tensors()


class RerankerGraph(nn.Module):
    """The reranker with plain tensors as its arguments, in the order of ``PAIR``."""

    def __init__(self, reranker: nn.Module, ops: RerankOps = TORCH) -> None:
        super().__init__()
        self.reranker = reranker
        self.ops = ops

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Return logits (K, 2)."""
        unused = tensors[0].new_zeros(1, 1)  # the reranker reads no global descriptor
        query = ImageFeatures(unused, *tensors[:3])
        candidates = ImageFeatures(unused, *tensors[3:])
        logits: torch.Tensor = self.reranker(query, candidates, self.ops)
        return logits
