# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which pairs to learn from (paper section 3.3).

Partial mining looks for the hardest negatives among a random part of the database; global mining
draws from the hardest of all of it. Both ask the descriptors. What both look at is a
``Descriptors``: a part of the database, by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DatasetError

Rows = NDArray[np.int64]
QUERIES_AT_ONCE = 256


@dataclass(frozen=True)
class Descriptors:
    """Unit vectors (N, D) of some rows of the database, rows ascending."""

    rows: Rows
    vectors: torch.Tensor

    def positions(self, rows: Rows) -> Rows:
        """Return where some of the rows are in here; those that are not are left out."""
        found = np.searchsorted(self.rows, rows)
        inside = found < len(self.rows)
        inside[inside] = self.rows[found[inside]] == np.asarray(rows)[inside]
        return found[inside]

    def part(self, rows: Rows) -> Descriptors:
        """Return only some of the rows, ascending."""
        return Descriptors(rows, self.vectors[torch.from_numpy(self.positions(rows))])


def nearest_positive(query: torch.Tensor, database: Descriptors, positives: Rows) -> int:
    """
    Return the row of the positive that is most similar to the query: the easiest true one.

    :param query: (D,) unit norm.
    :param positives: rows of the database, at least one, all in ``database``.
    """
    positions = database.positions(positives)
    similarity = database.vectors[torch.from_numpy(positions)] @ query
    return int(database.rows[positions[int(similarity.argmax())]])


def hardest_negatives(
    queries: torch.Tensor, database: Descriptors, same_place: Sequence[Rows], count: int
) -> Rows:
    """
    Return the rows (Q, count) most similar to each query (Q, D) at another place.

    :param same_place: for each query, rows that must not count as another place.
    :raises DatasetError: if a query has fewer than ``count`` other places.
    """
    found = [
        _hardest(queries[start : start + QUERIES_AT_ONCE], database,
                 same_place[start : start + QUERIES_AT_ONCE], count)
        for start in range(0, len(queries), QUERIES_AT_ONCE)
    ]
    return np.concatenate(found)


def draw_negatives(
    queries: torch.Tensor, database: Descriptors, same_place: Sequence[Rows], count: int,
    *, hardest: int, rng: np.random.Generator,
) -> Rows:
    """
    Return ``count`` random ones (Q, count) of the ``hardest`` negatives of each query.

    Where a query has not so many other places, all of them are drawn from.
    """
    fewest = min(len(database.rows) - len(database.positions(near)) for near in same_place)
    pool = hardest_negatives(queries, database, same_place, max(count, min(hardest, fewest)))
    return np.asarray(rng.permuted(pool, axis=1)[:, :count])


def hard_share(
    queries: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, margin: float
) -> float:
    """
    Return the share of triplets that the triplet loss learns from: it is above zero.

    :param queries: (Q, D) unit norm; ``positives`` likewise; ``negatives`` (Q, K, D).
    """
    near = (queries - positives).norm(dim=-1, keepdim=True)
    far = (queries[:, None] - negatives).norm(dim=-1)
    return float((near - far + margin > 0).float().mean())


def _hardest(
    queries: torch.Tensor, database: Descriptors, same_place: Sequence[Rows], count: int
) -> Rows:
    similarity = queries @ database.vectors.T
    for row, near in enumerate(same_place):
        similarity[row, torch.from_numpy(database.positions(near))] = -torch.inf
    enough = torch.isfinite(similarity).sum(dim=1) >= count
    if not bool(enough.all()):
        raise DatasetError(f'a query has fewer than {count} other places to learn from')
    return np.asarray(database.rows[similarity.topk(count, dim=1).indices.numpy()])
