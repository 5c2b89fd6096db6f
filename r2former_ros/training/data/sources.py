# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training images: labelled places, or views of unlabelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...errors import DatasetError
from ...records import Image
from ...sources.datasets import PlaceSet
from ..augment import AUGMENTS, Matrix, View, make_view
from .image_store import Images, Size, store_pictures
from .pools import SAME_PLACE_FRAMES, clips_of

Seed = Sequence[int]
NEIGHBOUR_FRAMES = 1
"""Frames of one clip up to this far apart are positives of each other."""


@dataclass(frozen=True)
class Batch:
    """
    Queries, each with its positive and K negatives: uint8 (B, 2 + K, H, W, 3).

    ``ignored`` (B, B, 1 + K): images of the batch that may show a query's place too.
    ``positive_T_query`` (B, 3, 3): from the query's pixels to the positive's, where both are
    views of one image; otherwise NaN.
    """

    images: torch.Tensor
    ignored: torch.Tensor
    positive_T_query: torch.Tensor

    def part(self, rows: slice) -> Batch:
        """Return some of the queries, with what belongs to them."""
        return Batch(self.images[rows], self.ignored[rows, rows], self.positive_T_query[rows])


@dataclass(frozen=True)
class Source:
    """
    Images by row and which of them show the same place.

    :param augment: strength of the changes to each image, a name in ``AUGMENTS``.
    :param query_augment: the same for queries; empty: as ``augment``.
    """

    places: PlaceSet
    queries: Images
    database: Images
    size: Size
    augment: str = 'none'
    query_augment: str = ''

    def query(self, row: int, seed: Seed) -> Image:
        """Return a query image (H, W, 3); the seed fixes what is drawn."""
        return self._query(row, seed).image

    def candidate(self, row: int, seed: Seed) -> Image:
        """Return an image of the database (H, W, 3)."""
        return self._candidate(row, seed).image

    def batch(
        self, queries: Sequence[int], database: Sequence[Sequence[int]], seed: Seed
    ) -> Batch:
        """
        Load queries, each with the rows of its positive and its negatives.

        With augmentation, every second query is mirrored together with its images.
        """
        mirrored = np.random.default_rng([*seed, *queries]).random(len(queries)) < 0.5
        mirrored &= AUGMENTS[self.augment] is not None
        views = [
            [self._query(query, seed, mirror),
             *(self._candidate(row, seed, mirror) for row in rows)]
            for query, rows, mirror in zip(queries, database, mirrored, strict=True)
        ]
        images = np.stack([[view.image for view in group] for group in views])
        ignored = [np.isin(database, self.places.same_place[query]) for query in queries]
        moves = [self._positive_T_query(group, query, rows[0])
                 for group, query, rows in zip(views, queries, database, strict=True)]
        return Batch(torch.from_numpy(images), torch.from_numpy(np.stack(ignored)),
                     torch.from_numpy(np.stack(moves)).float())

    def _positive_T_query(self, group: Sequence[View], query: int, positive: int) -> Matrix:
        if self.queries is not self.database or query != positive:
            return np.full((3, 3), np.nan)
        return group[1].view_T_source @ np.linalg.inv(group[0].view_T_source)

    def _query(self, row: int, seed: Seed, mirror: bool = False) -> View:
        augment = self.query_augment or self.augment
        return self._look(self.queries[row], augment, [*seed, 0, row], mirror)

    def _candidate(self, row: int, seed: Seed, mirror: bool = False) -> View:
        return self._look(self.database[row], self.augment, [*seed, 1, row], mirror)

    def _look(self, image: Image, augment: str, seed: Seed, mirror: bool) -> View:
        strength = AUGMENTS[augment]
        if strength is not None:
            return make_view(image, self.size, strength, np.random.default_rng(seed), flip=mirror)
        view = View(image, np.eye(3))
        return view.mirrored() if mirror else view


def labelled_source(
    places: PlaceSet, folder: Path, size: Size, *, augment: str = 'none', antialias: bool = True,
    limit_mb: float,
) -> Source:
    """
    Make a source of a dataset's picture files.

    :param folder: where decoded images are kept, up to the limit.
    :raises DatasetError: if no query has a positive.
    """
    places = places.with_positives_only()
    if not places.queries:
        raise DatasetError('no query has a positive: nothing to learn from')
    queries, database = (
        store_pictures(paths, folder, size, antialias=antialias, limit_mb=limit_mb)
        for paths in (places.queries, places.database)
    )
    return Source(places, queries, database, size, augment)


def unlabelled_source(
    paths: Sequence[Path], folder: Path, size: Size, *, augment: str, query_augment: str = '',
    antialias: bool = True, limit_mb: float,
) -> Source:
    """
    Make a source in which every image is a place, seen in two random views.

    Adjacent frames of a clip (names ending in ``_frame_<number>``) are positives too; those a
    little further away are never negatives.

    :raises DatasetError: if views would not differ.
    """
    if AUGMENTS[augment] is None:
        kinds = ', '.join(name for name, kind in AUGMENTS.items() if kind)
        raise DatasetError(f'images without labels need augment: {kinds}')
    images = store_pictures(paths, folder, size, antialias=antialias, limit_mb=limit_mb)
    return Source(clip_places(paths), images, images, size, augment, query_augment)


def clip_places(paths: Sequence[Path]) -> PlaceSet:
    """Make every image a place of its own, together with nearby frames of its clip."""
    clip, frame = clips_of(paths)
    apart = [np.where(clip == clip[row], abs(frame - frame[row]), np.inf)
             for row in range(len(paths))]
    same, near = (tuple(np.flatnonzero(one <= reach) for one in apart)
                  for reach in (NEIGHBOUR_FRAMES, SAME_PLACE_FRAMES))
    return PlaceSet(tuple(paths), tuple(paths), same, near)
