# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Search of places by global descriptor: the only module that imports faiss."""

from __future__ import annotations

from collections.abc import Sequence

import faiss
import numpy as np

from .errors import MapError
from .records import Candidate, Vector


class PlaceIndex:
    """
    Exact search by cosine similarity.

    Descriptors have unit norm, so the order is that of L2 distance, which the paper uses.
    """

    def __init__(self, place_ids: Sequence[int], descriptors: Vector) -> None:
        """
        Build from ids and descriptors (P, D) float32 of unit norm.

        :raises MapError: if their numbers differ.
        """
        if len(place_ids) != len(descriptors):
            raise MapError(f'{len(place_ids)} places but {len(descriptors)} descriptors')
        self._place_ids = list(place_ids)
        self._index = faiss.IndexFlatIP(descriptors.shape[1])
        self._index.add(np.ascontiguousarray(descriptors, np.float32))

    def __len__(self) -> int:
        return len(self._place_ids)

    def add(self, place_id: int, descriptor: Vector) -> None:
        """Add one place, descriptor (D,)."""
        self._index.add(np.ascontiguousarray(descriptor[None], np.float32))
        self._place_ids.append(place_id)

    def search(self, descriptor: Vector, count: int) -> list[Candidate]:
        """Return the most similar places of a descriptor (D,), best first, at most ``count``."""
        count = min(count, len(self))
        if count == 0:
            return []
        similarities, rows = self._index.search(np.asarray(descriptor[None], np.float32), count)
        return [
            Candidate(self._place_ids[row], float(similarity))
            for similarity, row in zip(similarities[0], rows[0], strict=True)
        ]
