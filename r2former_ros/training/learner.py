# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What one step computes: the loss of a stage on queries with their positives and negatives."""

from __future__ import annotations

import torch
from torch import nn

from ..model import ImageFeatures, R2Former
from .losses import pair_cross_entropy, triplet_margin
from .recipe import Recipe


class Learner(nn.Module):
    """The model with the loss of its stage, in one ``forward``, as DDP wants it."""

    def __init__(self, model: R2Former, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self._freeze()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """
        Return the loss.

        :param images: normalised (B, 2 + K, 3, H, W): query, positive, K negatives.
        """
        features = self.model.encoder(images.flatten(0, 1))
        loss = torch.zeros((), device=images.device)
        if self.recipe.stage != 'rerank':
            loss = loss + self.retrieval_loss(features, images.shape[1])
        if self.recipe.stage != 'retrieval':
            loss = loss + self.pair_loss(features, images.shape[1])
        return loss

    def retrieval_loss(self, features: ImageFeatures, group: int) -> torch.Tensor:
        """Return the triplet loss of features in groups of query, positive, negatives."""
        grouped = features.descriptor.view(-1, group, features.descriptor.shape[1])
        return triplet_margin(grouped[:, 0], grouped[:, 1], grouped[:, 2:], self.recipe.margin)

    def pair_loss(self, features: ImageFeatures, group: int) -> torch.Tensor:
        """
        Return the cross entropy of each query with its positive and its negatives.

        Attention is detached, as in the released code: it is learned by retrieval alone.
        """
        rows = torch.arange(len(features), device=features.descriptor.device).view(-1, group)
        others = rows[:, 1:].flatten()
        queries = rows[:, :1].expand(-1, group - 1).flatten()
        logits = self.model.reranker(_picked(features, queries), _picked(features, others))
        labels = (torch.arange(group - 1, device=logits.device) == 0).long()
        return pair_cross_entropy(logits, labels.repeat(len(rows)))

    def _freeze(self) -> None:
        """Leave to each stage what it may change; the rerank stage keeps only the local head."""
        if self.recipe.stage == 'rerank':
            self.model.encoder.requires_grad_(False)
            self.model.encoder.local_head.requires_grad_(True)
        if self.recipe.stage == 'retrieval':
            self.model.reranker.requires_grad_(False)
            self.model.encoder.local_head.requires_grad_(False)
        self.model.reranker.ratio.requires_grad_(False)  # no loss uses it


def _picked(features: ImageFeatures, rows: torch.Tensor) -> ImageFeatures:
    return ImageFeatures(
        features.descriptor[rows], features.xy[rows], features.attention[rows].detach(),
        features.descriptors[rows],
    )
