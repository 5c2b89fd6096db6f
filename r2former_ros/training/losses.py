# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Losses: those of the paper, and those that a start without pretraining needs.

The paper's are ``triplet_margin`` for retrieval and ``pair_cross_entropy`` for the reranker.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def triplet_margin(
    query: torch.Tensor, positive: torch.Tensor, negatives: torch.Tensor, margin: float = 0.1
) -> torch.Tensor:
    """
    Return the triplet loss on squared distances, as published (section 3.3, margin 0.1).

    :param query: (B, D) unit norm; ``positive`` likewise.
    :param negatives: (B, K, D) unit norm.
    :returns: scalar, the mean of max(0, |q - p|^2 - |q - n|^2 + margin) over B x K.
    """
    near = (query - positive).square().sum(-1, keepdim=True)
    far = (query[:, None] - negatives).square().sum(-1)
    return (near - far + margin).clamp(min=0).mean()


def pair_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of pair logits (K, 2); label 1 is the same place, 0 another."""
    return F.cross_entropy(logits.float(), labels)


def info_nce(
    query: torch.Tensor,
    keys: torch.Tensor,
    positives: torch.Tensor,
    ignored: torch.Tensor,
    temperature: float = 0.05,
) -> torch.Tensor:
    """
    Return the contrast of queries (B, D) with keys (K, D), all of unit norm.

    :param positives: (B,) row of the key that shows the query's place.
    :param ignored: bool (B, K), keys that may show it too and must not count as other places.
    """
    logits = query.float() @ keys.float().T / temperature
    allowed = ~ignored
    allowed[torch.arange(len(query)), positives] = True
    return F.cross_entropy(logits.masked_fill(~allowed, -torch.inf), positives)


def patch_contrast(
    left: torch.Tensor, right: torch.Tensor, matches: torch.Tensor, temperature: float = 0.1
) -> torch.Tensor:
    """
    Teach patches of one view to find their own place in the other.

    :param left: patch features (B, P, C); ``right`` likewise, of the other view.
    :param matches: (B, P, P) share of each patch of the right in the place of a patch of the
        left; rows sum to one, or are zero where the place is not in the other view.
    :returns: scalar, mean cross entropy over the patches that have a place.
    """
    logits = F.normalize(left.float(), dim=-1) @ F.normalize(right.float(), dim=-1).mT
    entropy = -(matches * (logits / temperature).log_softmax(dim=-1)).sum(-1)
    return entropy.sum() / matches.sum().clamp(min=1)
