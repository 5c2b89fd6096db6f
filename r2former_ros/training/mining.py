# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which pairs to learn from (paper section 3.3).

Partial mining looks for the hardest negatives among a random part of the database; global mining
among all of it, and takes the first hundred for the reranker. Both ask the descriptors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DatasetError

Rows = NDArray[np.int64]


def nearest_positive(query: torch.Tensor, database: torch.Tensor, positives: Rows) -> int:
    """
    Return the row of the positive that is most similar to the query: the easiest true one.

    :param query: (D,) unit norm; ``database`` (N, D).
    :param positives: rows of the database, at least one.
    """
    similarity = database[torch.from_numpy(positives)] @ query
    return int(positives[int(similarity.argmax())])


def hardest_negatives(
    queries: torch.Tensor, database: torch.Tensor, same_place: Sequence[Rows], count: int
) -> torch.Tensor:
    """
    Return the rows (Q, count) of the database most similar to each query at another place.

    :param same_place: for each query, rows that must not count as another place.
    :raises DatasetError: if a query has fewer than ``count`` other places.
    """
    similarity = queries @ database.T
    for row, near in enumerate(same_place):
        similarity[row, torch.from_numpy(near)] = -torch.inf
    enough = torch.isfinite(similarity).sum(dim=1) >= count
    if not bool(enough.all()):
        raise DatasetError(f'a query has fewer than {count} other places in the database')
    return similarity.topk(count, dim=1).indices


def partial_negatives(
    queries: torch.Tensor, database: torch.Tensor, same_place: Sequence[Rows], count: int,
    *, sample: int, rng: np.random.Generator,
) -> torch.Tensor:
    """Return the hardest negatives (Q, count) among ``sample`` random rows of the database."""
    size = len(database)
    drawn = np.sort(rng.choice(size, min(sample, size), replace=False))
    place_in_sample = np.full(size, -1)
    place_in_sample[drawn] = np.arange(len(drawn))
    near = [place_in_sample[rows] for rows in same_place]
    near = [rows[rows >= 0] for rows in near]
    found = hardest_negatives(queries, database[torch.from_numpy(drawn)], near, count)
    return torch.from_numpy(drawn)[found]
