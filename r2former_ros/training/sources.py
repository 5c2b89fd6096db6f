# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a run takes its images from: labelled places, or views of images without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..datasets import PlaceSet
from ..errors import DatasetError
from ..records import Image
from .augment import AUGMENTS, make_view
from .image_store import Images, Size, store_pictures
from .views import SAME_PLACE_FRAMES, clips_of

Seed = Sequence[int]


@dataclass(frozen=True)
class Batch:
    """
    Queries, each with its positive and K negatives: uint8 (B, 2 + K, H, W, 3).

    ``ignored`` (B, B, 1 + K): images of the batch that may show a query's place too.
    """

    images: torch.Tensor
    ignored: torch.Tensor

    def part(self, rows: slice) -> Batch:
        """Return some of the queries, with what belongs to them."""
        return Batch(self.images[rows], self.ignored[rows, rows])


@dataclass(frozen=True)
class Source:
    """
    Images by row and which of them show the same place.

    :param augment: how strongly each look at an image is changed, by a name in ``AUGMENTS``.
    """

    places: PlaceSet
    queries: Images
    database: Images
    size: Size
    augment: str = 'none'

    def query(self, row: int, seed: Seed) -> Image:
        """Return a query image (H, W, 3); the seed fixes what is drawn."""
        return self._look(self.queries[row], [*seed, 0, row])

    def candidate(self, row: int, seed: Seed) -> Image:
        """Return an image of the database (H, W, 3)."""
        return self._look(self.database[row], [*seed, 1, row])

    def batch(
        self, queries: Sequence[int], database: Sequence[Sequence[int]], seed: Seed
    ) -> Batch:
        """Load queries, each with the rows of its positive and its negatives."""
        groups = [
            np.stack([self.query(query, seed), *(self.candidate(row, seed) for row in rows)])
            for query, rows in zip(queries, database, strict=True)
        ]
        ignored = [np.isin(database, self.places.same_place[query]) for query in queries]
        return Batch(torch.from_numpy(np.stack(groups)), torch.from_numpy(np.stack(ignored)))

    def _look(self, image: Image, seed: Seed) -> Image:
        strength = AUGMENTS[self.augment]
        if strength is None:
            return image
        return make_view(image, self.size, strength, np.random.default_rng(seed)).image


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
    paths: Sequence[Path], folder: Path, size: Size, *, augment: str, antialias: bool = True,
    limit_mb: float,
) -> Source:
    """
    Make a source in which every image is a place, seen in two random views.

    Frames of one clip that are close (names ending in ``_frame_<number>``) are never taken for
    other places.

    :raises DatasetError: if views would not differ.
    """
    if AUGMENTS[augment] is None:
        raise DatasetError('images without labels need augment: mild, night or strong')
    clip, frame = clips_of(paths)
    rows = np.arange(len(paths))
    near = [np.flatnonzero((clip == clip[row]) & (abs(frame - frame[row]) <= SAME_PLACE_FRAMES))
            for row in rows]
    places = PlaceSet(tuple(paths), tuple(paths), tuple(rows[:, None]), tuple(near))
    images = store_pictures(paths, folder, size, antialias=antialias, limit_mb=limit_mb)
    return Source(places, images, images, size, augment)
