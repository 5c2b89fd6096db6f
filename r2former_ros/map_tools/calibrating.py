# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Scores for a calibration, from the map alone, on the same path as live images.

Each place is a query. Against the places far from it, its best score is what a foreign image may
reach; against those near it, from another session where there is one, what a known image reaches.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..calibration import Calibration, fit_probability, log_odds, score_settings
from ..errors import MapError
from ..model import ImageFeatures
from ..recognizer import Recognizer
from ..records import Hypothesis
from ..sessions import session_of, sessions_of

MIN_SCORES = 20


def calibrate(
    recognizer: Recognizer,
    *,
    false_accept_rate: float,
    radius_m: float,
    near_m: float,
    queries: int,
    on_query: Callable[[], object] = lambda: None,
) -> Calibration:
    """
    Compare places of the map with each other.

    :param radius_m: places further apart than this show nothing in common.
    :param near_m: places nearer than this show the same.
    :param queries: at most so many places, evenly spread, are used as queries.
    :raises MapError: if fewer than 20 places have others far from them, or near.
    """
    pairs = _Pairs(recognizer, radius_m, near_m)
    negatives: list[float] = []
    positives: list[float] = []
    for place_id in pairs.spread(queries):
        query = recognizer.stored(place_id)
        for rows, scores in ((pairs.far(place_id), negatives), (pairs.near(place_id), positives)):
            best = _best(recognizer, query, rows)
            if best is not None:
                scores.append(log_odds(best.score))
        on_query()
    if min(len(negatives), len(positives)) < MIN_SCORES:
        raise MapError(
            f'{recognizer.place_map.location}: only {len(negatives)} places have others further '
            f'than {radius_m:g} m and {len(positives)} have some within {near_m:g} m, {MIN_SCORES}'
            ' needed; change --radius or --near, or calibrate a larger map'
        )
    slope, intercept = fit_probability(negatives, positives)
    return Calibration(
        settings=score_settings(recognizer.config), places=len(recognizer.places),
        radius_m=radius_m, false_accept_rate=false_accept_rate, negatives=sorted(negatives),
        positives=sorted(positives), positives_from=pairs.positives_from,
        slope=slope, intercept=intercept,
    )


class _Pairs:
    """Which places of a map show the same, and which nothing in common."""

    def __init__(self, recognizer: Recognizer, radius_m: float, near_m: float) -> None:
        posed = [(place_id, place.map_T_camera)
                 for place_id, place in recognizer.places.items()
                 if place.map_T_camera is not None]
        self.ids = np.array([place_id for place_id, _ in posed], np.int64)
        self.positions = np.array([pose[:3, 3] for _, pose in posed]).reshape(-1, 3)
        names = sessions_of(recognizer.place_map)
        self.sessions = np.array([session_of(names, one).name for one in self.ids.tolist()])
        self.radius_m, self.near_m = radius_m, near_m
        crossing = any(self._of_others(place_id).any() for place_id in self.ids)
        self.positives_from = 'other sessions' if crossing else 'neighbouring keyframes'

    def spread(self, count: int) -> list[int]:
        """Return at most so many places, evenly spread over the map."""
        rows = np.linspace(0, len(self.ids) - 1, min(count, len(self.ids))).round().astype(int)
        return [int(self.ids[row]) for row in rows]

    def far(self, place_id: int) -> set[int]:
        """Return the places that show nothing of what this one shows."""
        return set(self.ids[self._distances(place_id) > self.radius_m].tolist())

    def near(self, place_id: int) -> set[int]:
        """Return the places that show the same."""
        if self.positives_from == 'other sessions':
            return set(self.ids[self._of_others(place_id)].tolist())
        near = self._distances(place_id) <= self.near_m
        return set(self.ids[near & (self.ids != place_id)].tolist())

    def _of_others(self, place_id: int) -> NDArray[np.bool_]:
        own = self.sessions[np.searchsorted(self.ids, place_id)]
        near = self._distances(place_id) <= self.near_m
        return np.asarray(near & (self.sessions != own))

    def _distances(self, place_id: int) -> NDArray[np.float64]:
        own = self.positions[np.searchsorted(self.ids, place_id)]
        return np.asarray(np.linalg.norm(self.positions - own, axis=1))


def _best(recognizer: Recognizer, query: ImageFeatures, allowed: set[int]) -> Hypothesis | None:
    """Retrieve and rerank among some places only."""
    if not allowed:
        return None
    wanted = recognizer.config.retrieval.candidates
    others = len(recognizer.places) - len(allowed)
    found = recognizer.index.search(query.descriptor_of(0), wanted + others)
    candidates = [one for one in found if one.place_id in allowed][:wanted]
    hypotheses = recognizer.rerank(query, candidates)
    return max(hypotheses, key=lambda one: one.score, default=None)
