# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which pairs to learn from (paper section 3.3).

Partial mining takes the hardest negatives from a random sample of the database, global mining
draws from the hardest of the whole database. ``Miner`` encodes what they compare, shared among
the processes of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from ..errors import DatasetError
from ..model import R2Former
from ..model.preprocess import normalised
from ..records import Image
from .data.image_store import Rows
from .data.sources import Seed, Source
from .recipe import Recipe

Read = Callable[[int, Seed], Image]
QUERIES_AT_ONCE = 256
ENCODE_BATCH = 16


@dataclass(frozen=True)
class Descriptors:
    """Unit vectors (N, D) of some rows of the database, in ascending order of rows."""

    rows: Rows
    vectors: torch.Tensor

    def positions(self, rows: Rows) -> Rows:
        """Return the positions of rows in here; rows that are missing are left out."""
        found = np.searchsorted(self.rows, rows)
        inside = found < len(self.rows)
        inside[inside] = self.rows[found[inside]] == np.asarray(rows)[inside]
        return found[inside]

    def part(self, rows: Rows) -> Descriptors:
        """Return only some of the rows, ascending."""
        return Descriptors(rows, self.vectors[torch.from_numpy(self.positions(rows))])


def nearest_positive(query: torch.Tensor, database: Descriptors, positives: Rows) -> int:
    """
    Return the row of the positive that is most similar to the query.

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
    Draw ``count`` of the ``hardest`` negatives of each query, (Q, count).

    A query with fewer other places draws from all of them.
    """
    fewest = min(len(database.rows) - len(database.positions(near)) for near in same_place)
    pool = hardest_negatives(queries, database, same_place, max(count, min(hardest, fewest)))
    return np.asarray(rng.permuted(pool, axis=1)[:, :count])


def hard_share(
    queries: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, margin: float
) -> float:
    """
    Return the share of triplets whose loss is above zero, so that they are learned from.

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


@dataclass(frozen=True)
class MinedPairs:
    """Queries in the order of training, each with the rows of a positive and of negatives."""

    queries: list[int]
    database: list[list[int]]
    hard_share: float
    """Share of the triplets with a loss above zero."""


class Miner:
    """Mine pairs with the current weights; every process mines the same."""

    def __init__(self, fabric: Fabric, model: R2Former, source: Source, recipe: Recipe) -> None:
        self.fabric, self.model, self.source, self.recipe = fabric, model, source, recipe
        self._whole: Descriptors | None = None

    def mine(self, step: int, count: int) -> MinedPairs:
        """
        Draw queries for the next steps, each with a positive and hard negatives.

        :raises DatasetError: if a query has too few other places.
        """
        places, recipe = self.source.places, self.recipe
        rng = np.random.default_rng([recipe.seed, step])
        drawn = _draws(len(places.queries), count, rng)
        if recipe.mining == 'random':
            return self._at_random(drawn, rng)
        sample = np.sort(rng.permutation(len(places.database))[: recipe.sample])
        database = self._database(drawn, sample, step)
        asked, inverse = np.unique(drawn, return_inverse=True)
        queries = self._encode(asked, self.source.query, step)[torch.from_numpy(inverse)]
        near = [places.same_place[row] for row in drawn]
        positives = [nearest_positive(query, database, places.positives[row])
                     for query, row in zip(queries, drawn, strict=True)]
        if recipe.negatives == 0:
            negatives = np.zeros((len(drawn), 0), np.int64)
        elif recipe.mining == 'global':
            negatives = draw_negatives(queries, database, near, recipe.negatives,
                                       hardest=recipe.hardest, rng=rng)
        else:
            negatives = hardest_negatives(queries, database.part(sample), near, recipe.negatives)
        share = self._hard_share(queries, database, positives, negatives)
        return MinedPairs(drawn.tolist(), np.column_stack([positives, negatives]).tolist(), share)

    def _at_random(self, drawn: Rows, rng: np.random.Generator) -> MinedPairs:
        """Pair each query with any of its positives, and with anything else."""
        places, count, database = self.source.places, self.recipe.negatives, []
        everything = np.arange(len(places.database))
        for row in drawn:
            others = np.setdiff1d(everything, places.same_place[row])
            if len(others) < count:
                raise DatasetError(f'a query has fewer than {count} other places to learn from')
            negatives = rng.choice(others, count, replace=False).tolist()
            database.append([int(rng.choice(places.positives[row])), *negatives])
        return MinedPairs(drawn.tolist(), database, float('nan'))

    def _database(self, drawn: Rows, sample: Rows, step: int) -> Descriptors:
        """Encode what mining compares: the whole database, or a sample and the positives."""
        if self.recipe.mining == 'partial':
            wanted = [sample, *(self.source.places.positives[row] for row in drawn)]
            rows = np.unique(np.concatenate(wanted))
            return Descriptors(rows, self._encode(rows, self.source.candidate, step))
        frozen = self.recipe.stage == 'rerank' and self.source.augment == 'none'
        if self._whole is None or not frozen:
            rows = np.arange(len(self.source.places.database))
            self._whole = Descriptors(rows, self._encode(rows, self.source.candidate, step))
        return self._whole

    @torch.inference_mode()
    def _encode(self, rows: Rows, read: Read, step: int) -> torch.Tensor:
        """Return descriptors (N, D) of rows; each process encodes its share."""
        self.model.eval()
        world, rank = self.fabric.world_size, self.fabric.global_rank
        share = np.resize(rows, -(-len(rows) // world) * world)[rank::world]
        chunks = []
        for start in range(0, len(share), ENCODE_BATCH):
            images = [read(int(row), [self.recipe.seed, step])
                      for row in share[start : start + ENCODE_BATCH]]
            pixels = torch.from_numpy(np.stack(images)).to(self.fabric.device)
            with self.fabric.autocast():
                features = self.model.encoder(normalised(pixels, self.model.spec.input))
            chunks.append(features.descriptor.float())
        together: Any = self.fabric.all_gather(torch.cat(chunks))
        if world > 1:  # (world, N / world, D)
            together = together.transpose(0, 1).flatten(0, 1)
        found: torch.Tensor = together[: len(rows)].cpu()
        return found

    def _hard_share(
        self, queries: torch.Tensor, database: Descriptors, positives: list[int], negatives: Rows
    ) -> float:
        if not negatives.size:
            return float('nan')
        near = database.vectors[torch.from_numpy(database.positions(np.array(positives)))]
        far = database.vectors[torch.from_numpy(database.positions(negatives.ravel()))]
        far = far.view(*negatives.shape, -1)
        return hard_share(queries, near, far, self.recipe.margin)


def _draws(total: int, count: int, rng: np.random.Generator) -> Rows:
    """Return ``count`` rows of ``total``: all of them once in random order, then all again."""
    rounds = -(-count // total)
    return np.concatenate([rng.permutation(total) for _ in range(rounds)])[:count]
