# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Scores for a calibration, from the map itself and from pictures of elsewhere.

Places of the map, evenly spread, are queries. Against the places far from it, the best score of
one is what an image may reach that the same camera takes where there is no map; against those near
it, from another session where there is one, what a known image reaches. All are ranked as live
images are, but retrieved exactly. The work grows with the number of queries, hardly with the map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..errors import MapError
from ..geometry.poses import distance_m
from ..maps.calibration import Calibration, fit_probability, log_odds, score_settings
from ..maps.index import descriptors_of
from ..maps.judge import Judge
from ..maps.risk import Risk, assess
from ..maps.search import PlaceSearch
from ..maps.sessions import sessions_of
from ..records import Candidate, Frame, PosedFrame, Vector

MIN_SCORES = 20
Rows = NDArray[np.intp]


def calibrate(
    search: PlaceSearch,
    *,
    false_accept_rate: float,
    radius_m: float,
    near_m: float,
    queries: int,
    outside: Iterable[Frame] = (),
    on_query: Callable[[], object] = lambda: None,
) -> Calibration:
    """
    Compare places of the map with each other, and pictures from outside with the map.

    :param radius_m: places further apart than this show nothing in common.
    :param near_m: places nearer than this show the same.
    :param queries: at most so many places, evenly spread, are used as queries.
    :param outside: pictures of none of its places; they, if any, give threshold and probability.
    :raises MapError: if fewer than 20 places have others near them, or far; far ones are not
        needed with 20 pictures from outside, which are the least.
    """
    sample = _Sample.of(search, radius_m=radius_m, near_m=near_m, count=queries)
    vectors = descriptors_of(search.place_map, search.places)[1]
    negatives: list[float] = []
    positives: list[float] = []
    for row, far, near in sample:
        similarity = vectors @ vectors[row]
        negatives += _best_odds(search, row, far, similarity)
        positives += _best_odds(search, row, near, similarity)
        on_query()
    foreign = []
    for frame in outside if len(positives) >= MIN_SCORES else ():
        foreign.append(outside_odds(search, frame))
        on_query()
    if min(len(foreign or negatives), len(positives)) < MIN_SCORES:
        known = f'{len(foreign)} pictures are from outside' if foreign else \
            f'{len(negatives)} places have others further than {radius_m:g} m'
        known += f' and {len(positives)} places have some within {near_m:g} m'
        raise _too_few(search, known)
    slope, intercept = fit_probability(foreign or negatives, positives)
    return Calibration(
        settings=score_settings(search.config), places=len(search.places),
        radius_m=radius_m, false_accept_rate=false_accept_rate, negatives=sorted(negatives),
        positives=sorted(positives), positives_from=sample.positives_from,
        slope=slope, intercept=intercept, outside=sorted(foreign),
    )


def assess_traverse(
    judge: Judge,
    traverse: Iterable[PosedFrame],
    near_m: float,
    on_query: Callable[[], object] = lambda: None,
) -> Risk:
    """
    Ask a map for the images of a second traverse, whose poses are in its frame.

    :param near_m: an answer within this distance is right.
    :raises MapError: if the weights have no fitted probability, or fewer than 20 images a pose.
    """
    search, said, right = judge.search, [], []
    if judge.trust is None:
        raise MapError(f'{search.place_map.location}: its weights ({search.model.origin.text}) '
                       'have no fitted probability to assess; fit one with benchmarks/trust.py')
    for posed in traverse:
        if posed.map_T_camera is None:
            continue
        query = search.encode(search.prepare(posed.frame))
        _, trusted = search.verify(query, search.rerank(query, search.retrieve(query)))
        found = judge.judge(query, trusted).probabilities
        place = trusted[0].place.map_T_camera if trusted else None
        said.append(float(found[0]) if len(found) else 0.0)
        right.append(place is not None and distance_m(place, posed.map_T_camera) <= near_m)
        on_query()
    if len(said) < MIN_SCORES:
        raise MapError(f'{search.place_map.location}: the traverse has {len(said)} images with a '
                       f'pose, {MIN_SCORES} needed')
    return assess(said, right, judge.trust, score_settings(search.config))


def _too_few(search: PlaceSearch, known: str) -> MapError:
    """Say that there are fewer scores than a calibration needs, and what to do."""
    return MapError(
        f'{search.place_map.location}: only {known}, {MIN_SCORES} needed',
        'change the radii, give more pictures from outside, or calibrate a larger map'
    )


@dataclass(frozen=True)
class _Sample:
    """
    Places that are queries, as rows of the map, and the places that count for them.

    ``posed`` (P,) are those with a pose, ``around`` and ``near`` of a query its rows within the
    one and the other radius.
    """

    rows: Rows
    posed: NDArray[np.bool_]
    around: list[Rows]
    near: list[Rows]
    positives_from: str

    @classmethod
    def of(
        cls, search: PlaceSearch, *, radius_m: float, near_m: float, count: int
    ) -> _Sample:
        """Take at most so many places, evenly spread over the map."""
        places = search.places
        posed = places.with_pose()
        known = np.flatnonzero(posed)
        if not len(known):
            return cls(known, posed, [], [], 'neighbouring keyframes')
        spread = np.linspace(0, len(known) - 1, min(count, len(known))).round().astype(int)
        rows, tree = known[spread], cKDTree(places.positions[known])
        around, close = (
            [known[found] for found in tree.query_ball_point(places.positions[rows], distance)]
            for distance in (radius_m, near_m)
        )
        firsts = [one.first_place_id for one in sessions_of(search.place_map)]
        session = np.searchsorted(firsts, places.ids, 'right').clip(1)  # as session_of
        others = [found[session[found] != session[row]] for row, found in zip(rows, close)]
        if any(map(len, others)):
            return cls(rows, posed, around, others, 'other sessions')
        same = [found[found != row] for row, found in zip(rows, close)]
        return cls(rows, posed, around, same, 'neighbouring keyframes')

    def __iter__(self) -> Iterator[tuple[int, Rows, Rows]]:
        """Yield the row of each query, the rows far from it, and those near it."""
        for row, around, near in zip(self.rows.tolist(), self.around, self.near):
            far = self.posed.copy()
            far[around] = False
            yield row, np.flatnonzero(far), near


def outside_odds(search: PlaceSearch, frame: Frame) -> float:
    """Return the log odds of the best score that a picture reaches on the map."""
    query = search.encode(search.prepare(frame))
    return log_odds(search.rerank(query, search.retrieve(query))[0].score)


def _best_odds(
    search: PlaceSearch, row: int, allowed: Rows, similarity: Vector
) -> list[float]:
    """Rerank the most similar of some rows for a row; return the best score, or nothing."""
    if not len(allowed):
        return []
    ids, values = search.places.ids, similarity[allowed]
    count = min(search.config.retrieval.candidates, len(allowed))
    best = np.argpartition(-values, count - 1)[:count]
    best = best[np.argsort(-values[best], kind='stable')]
    candidates = [Candidate(int(ids[allowed[one]]), float(values[one])) for one in best]
    hypotheses = search.rerank(search.features.of([int(ids[row])]), candidates)
    return [log_odds(hypotheses[0].score)]
