# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recall on labelled places, which selects the best weights of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from ..evaluation.measures import recall_at
from ..model import ImageFeatures, R2Former
from ..model.backends.pytorch import TorchEncoder, TorchScorer
from ..model.preprocess import normalised
from ..records import Image
from .data.sources import Source

Recall = Callable[[R2Former], Mapping[str, float]]
ENCODE_BATCH = 16
PAIR_BATCH = 10
RETRIEVAL, RERANK = 'recall@1/retrieval', 'recall@1/rerank'


def recall_on(source: Source, candidates: int = 0) -> Recall:
    """
    Return a function that measures recall@1 of retrieval, and after reranking.

    :param candidates: how many are reranked; 0: retrieval alone.
    """
    right = [rows.tolist() for rows in source.places.same_place]

    def recall(model: R2Former) -> dict[str, float]:
        model.eval()
        database = _encode(model, len(source.places.database), source.candidate)
        queries = _encode(model, len(source.places.queries), source.query)
        similarity = queries.descriptor @ database.descriptor.T
        ranked = similarity.topk(max(1, min(candidates, similarity.shape[1])), dim=1).indices
        figures = {RETRIEVAL: recall_at(ranked.tolist(), right, 1)}
        if candidates:
            figures[RERANK] = recall_at(_reranked(model, queries, database, ranked), right, 1)
        return figures

    return recall


def _encode(
    model: R2Former, count: int, read: Callable[[int, tuple[int, ...]], Image]
) -> ImageFeatures:
    """Return the features of all rows, on the CPU."""
    encoder, chunks = TorchEncoder(model.encoder), []
    for start in range(0, count, ENCODE_BATCH):
        rows = range(start, min(start + ENCODE_BATCH, count))
        images = torch.from_numpy(np.stack([read(row, (0,)) for row in rows])).to(model.device)
        chunks.append(encoder.encode(normalised(images, model.spec.input)).to('cpu'))
    return ImageFeatures.cat(chunks)


def _reranked(
    model: R2Former, queries: ImageFeatures, database: ImageFeatures, ranked: torch.Tensor
) -> list[list[int]]:
    scorer, best = TorchScorer(model.reranker), []
    for row, candidates in enumerate(ranked):
        logits = scorer.score(queries[row], database[candidates], PAIR_BATCH)
        best.append([int(candidates[int((logits[:, 1] - logits[:, 0]).argmax())])])
    return best
