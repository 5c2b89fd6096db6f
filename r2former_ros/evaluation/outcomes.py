# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Queries and their answers: one record per query, with a ranking per method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..records import Candidate, Hypothesis, Pose

RETRIEVAL, RERANK = 'retrieval', 'rerank'
STORED_PLACES = 20
"""Places of a ranking that a JSON file holds."""


@dataclass(frozen=True)
class Query:
    """
    One query image: its source and the right places.

    ``positives`` are place ids, none if the map does not show the place. ``visible`` limits the
    answers to the first places of the map; None: all. ``negative``: the user says that it is
    outside the map.
    """

    name: str
    stamp_ns: int = 0
    map_T_camera: Pose | None = None
    positives: frozenset[int] = frozenset()
    visible: int | None = None
    negative: bool = False


@dataclass(frozen=True)
class Ranking:
    """Place ids, best first, and the score of the first; minus infinity without any."""

    places: tuple[int, ...]
    score: float = float('-inf')


@dataclass(frozen=True)
class Outcome:
    """
    The answers to one query, by method.

    ``state`` is that of the recognizer after this image, ``accepted`` its decision on this image
    alone; empty and None if unknown. ``latency_ms`` has one entry per stage.
    ``pose`` is the pose measured in metres, in the map frame, None if none was accepted.
    """

    query: Query
    rankings: dict[str, Ranking]
    state: str = ''
    latency_ms: dict[str, float] = field(default_factory=dict)
    accepted: bool | None = None
    pose: Pose | None = field(default=None, compare=False)

    def first_right(self, method: str) -> int | None:
        """Return the rank, from 1, of the first right place, or None."""
        for rank, place_id in enumerate(self.rankings[method].places, 1):
            if place_id in self.query.positives:
                return rank
        return None

    def right(self, method: str) -> bool:
        """Say whether the first answer is right."""
        return self.first_right(method) == 1


def retrieved(candidates: Sequence[Candidate]) -> Ranking:
    """Return the ranking by similarity."""
    if not candidates:
        return Ranking(())
    return Ranking(tuple(one.place_id for one in candidates), candidates[0].similarity)


def reranked(hypotheses: Sequence[Hypothesis], candidates: Sequence[Candidate]) -> Ranking:
    """Put the reranked places first, then the other candidates as they were retrieved."""
    if not hypotheses:
        return Ranking(())
    first = [one.place.place_id for one in hypotheses]
    taken = set(first)
    rest = [one.place_id for one in candidates if one.place_id not in taken]
    return Ranking((*first, *rest), hypotheses[0].score)


def inside(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return queries whose place is in the map; recall and the curves count these."""
    return [one for one in outcomes if one.query.positives]


def outside(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return queries whose place is not in the map; any answer to them is a false accept."""
    return [one for one in outcomes if not one.query.positives]


def to_json(outcome: Outcome) -> dict[str, Any]:
    """Return one outcome as plain values, for ``per_query`` of a report."""
    query = outcome.query
    pose = query.map_T_camera
    return {
        'name': query.name,
        'stamp_ns': query.stamp_ns,
        'xyz_m': None if pose is None else pose[:3, 3].tolist(),
        'negative': query.negative,
        'positives': sorted(query.positives),
        'state': outcome.state,
        'pose': None if outcome.pose is None else outcome.pose.tolist(),
        'answers': {
            method: {
                'places': list(ranking.places[:STORED_PLACES]),
                'score': ranking.score if ranking.places else None,
                'first_right': outcome.first_right(method),
            }
            for method, ranking in outcome.rankings.items()
        },
    }
