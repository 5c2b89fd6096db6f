# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a run takes its images from: labelled places, or views of images without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ..datasets import PlaceSet
from ..images import InputSpec, preprocess, read_image
from ..records import Image
from .augment import AugmentConfig, make_view


class Source(Protocol):
    """Images by row, and which rows show the same place; ``seed`` fixes what is drawn."""

    places: PlaceSet

    def query(self, row: int, seed: Sequence[int]) -> Image:
        """Return a query image."""

    def database(self, row: int, seed: Sequence[int]) -> Image:
        """Return a database image."""


class LabelledSource:
    """The images of a dataset as they are."""

    def __init__(self, places: PlaceSet) -> None:
        self.places = places.with_positives_only()

    def query(self, row: int, seed: Sequence[int]) -> Image:
        """Read a query image."""
        return read_image(self.places.queries[row])

    def database(self, row: int, seed: Sequence[int]) -> Image:
        """Read a database image."""
        return read_image(self.places.database[row])


class ViewSource:
    """Every image is a place; query and database see it in different random views."""

    def __init__(
        self, images: Sequence[Path], size: tuple[int, int],
        views: AugmentConfig | None = None,
    ) -> None:
        rows = tuple(np.array([row]) for row in range(len(images)))
        self.places = PlaceSet(tuple(images), tuple(images), rows, rows)
        self._size, self._views = size, views or AugmentConfig()

    def query(self, row: int, seed: Sequence[int]) -> Image:
        """Draw a view."""
        return self._view(row, [*seed, 0])

    def database(self, row: int, seed: Sequence[int]) -> Image:
        """Draw another view."""
        return self._view(row, [*seed, 1])

    def _view(self, row: int, seed: Sequence[int]) -> Image:
        image = read_image(self.places.database[row])
        rng = np.random.default_rng([*seed, row])
        return make_view(image, self._size, self._views, rng).image


def load_batch(
    source: Source, spec: InputSpec, queries: Sequence[int], database: Sequence[Sequence[int]],
    seed: Sequence[int],
) -> torch.Tensor:
    """
    Load queries, each with its positive and negatives.

    :param database: for each query the row of a positive, then those of negatives.
    :returns: normalised images (B, 1 + rows, 3, H, W).
    """
    groups = []
    for query, rows in zip(queries, database, strict=True):
        images = [source.query(query, seed), *(source.database(row, seed) for row in rows)]
        groups.append(torch.cat([preprocess(image, spec) for image in images]))
    return torch.stack(groups)
