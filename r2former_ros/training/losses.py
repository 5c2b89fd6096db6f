# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Losses: the paper's, and contrastive ones for small sites.

The paper uses ``triplet_margin`` for retrieval and ``pair_cross_entropy`` for the reranker; both
are reduced as in the released code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def triplet_margin(
    query: torch.Tensor, positive: torch.Tensor, negatives: torch.Tensor, margin: float = 0.1
) -> torch.Tensor:
    """
    Return the triplet loss on distances, as in the released code (section 3.3, margin 0.1).

    :param query: (B, D) unit norm; ``positive`` likewise.
    :param negatives: (B, K, D) unit norm.
    :returns: scalar, the mean of max(0, |q - p| - |q - n| + margin) over B x K.
    """
    query, positive = (one[:, None].expand_as(negatives) for one in (query, positive))
    return F.triplet_margin_loss(query, positive, negatives, margin=margin)


def pair_cross_entropy(logits: torch.Tensor) -> torch.Tensor:
    """
    Return the cross entropy of match logits, with equal weight on positives and negatives.

    As in the released code, which pairs each negative with the query's positive.

    :param logits: (B, 1 + K, 2) of a query with its positive, then with K negatives; the second
        value stands for the same place.
    """
    log_share = logits.float().log_softmax(dim=-1)
    return -(log_share[:, 0, 1].mean() + log_share[:, 1:, 0].mean()) / 2


def pair_ranking(logits: torch.Tensor) -> torch.Tensor:
    """
    Return the cross entropy of finding a query's positive among its candidates by log-odds.

    This trains the ranking and not the probability, whose calibration may stay as it is.

    :param logits: as for ``pair_cross_entropy``.
    """
    log_odds = (logits[..., 1] - logits[..., 0]).float()
    return -log_odds.log_softmax(dim=1)[:, 0].mean()


def patch_similarity(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """
    Compare images by the mean best correlation of their patches, every query with every key.

    The differentiable form of ``mean_best_correlation``, for batches.

    :param queries: (B, N, C) unit norm; ``keys`` (K, M, C) likewise.
    :returns: (B, K) in [-1, 1].
    """
    with torch.autocast(queries.device.type, torch.bfloat16):
        correlation = queries.flatten(0, 1) @ keys.flatten(0, 1).T
    correlation = correlation.view(*queries.shape[:2], *keys.shape[:2])  # (B, N, K, M)
    from_queries = correlation.max(dim=3).values.float().mean(dim=1)
    from_keys = correlation.max(dim=1).values.float().mean(dim=2)
    return (from_queries + from_keys) / 2


def patch_contrast(
    query: torch.Tensor, positive: torch.Tensor, shares: torch.Tensor, temperature: float
) -> torch.Tensor:
    """
    Return the cross entropy of each query patch's similarity to all patches of the positive.

    :param query: (B, N, C) unit norm; ``positive`` (B, M, C) likewise.
    :param shares: (B, N, M) target distribution of each patch; rows of zeros are ignored.
    """
    log_share = (query.float() @ positive.float().mT / temperature).log_softmax(dim=-1)
    found = shares.sum(dim=-1) > 0.5
    return -(shares * log_share).sum() / found.sum().clamp(min=1)


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
    :param ignored: bool (B, K), keys that may show the same place and are not negatives.
    """
    return contrast(query.float() @ keys.float().T, positives, ignored, temperature)


def contrast(
    similarity: torch.Tensor, positives: torch.Tensor, ignored: torch.Tensor, temperature: float
) -> torch.Tensor:
    """
    Return the cross entropy of similarities (B, K); the rest as for ``info_nce``.

    With as many keys as queries, the contrast is symmetric.
    """
    logits = similarity / temperature
    allowed = ~ignored
    allowed[torch.arange(len(logits)), positives] = True
    logits = logits.masked_fill(~allowed, -torch.inf)
    loss = F.cross_entropy(logits, positives)
    if logits.shape[0] != logits.shape[1]:
        return loss
    return (loss + F.cross_entropy(logits.T, positives.argsort())) / 2
