# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Judge the hypotheses that a live node published, as outcomes like those of an offline run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ..config import Config
from ..errors import ImageError
from ..geometry.trajectories import Trajectory
from ..maps.place_map import PlaceMap
from ..maps.search import PlaceSearch
from ..model import Model
from ..records import Candidate, Frame, Hypothesis, Place
from .ground_truth import Protocol
from .outcomes import RERANK, RETRIEVAL, Outcome, Query, reranked, retrieved


def ranked_count(config: Config) -> int:
    """Return how many hypotheses the node ranks per image, to let it publish all of them."""
    return config.rerank.effective.candidates or config.retrieval.candidates


def candidates_of(
    model: Model, map_path: str | Path, frames: Iterable[Frame], config: Config
) -> dict[int, Sequence[Candidate]]:
    """
    Retrieve candidates for frames in this process, by stamp.

    The node publishes what it reranked, and chooses that by more than similarity; so the ranking
    of retrieval cannot be told from its hypotheses. Frames that cannot be encoded are left out.
    """
    found: dict[int, Sequence[Candidate]] = {}
    with PlaceMap.open(map_path) as place_map:
        search = PlaceSearch(model, place_map, config)
        for frame in frames:
            try:
                found[frame.stamp_ns] = search.retrieve(search.encode(search.prepare(frame)))
            except ImageError:  # the node has counted it as bad
                continue
    return found


def judge(
    said: Mapping[int, Sequence[Hypothesis]],
    candidates: Mapping[int, Sequence[Candidate]],
    truth: Trajectory,
    places: Mapping[int, Place],
    protocol: Protocol,
    *,
    tolerance_ns: int = 0,
    name_of: Callable[[int], str] = str,
) -> list[Outcome]:
    """
    Compare the hypotheses for each query with its true pose, matched by stamp.

    Queries without a pose at their stamp are left out.

    :param said: published hypotheses by stamp, best first.
    :param candidates: what retrieval found, by stamp.
    :param tolerance_ns: how far before the first or after the last pose a stamp may be.
    :param name_of: the name of the query with a stamp.
    """
    outcomes = []
    for stamp_ns, hypotheses in sorted(said.items()):
        pose = truth.at(stamp_ns, tolerance_ns)
        if pose is not None:
            query = Query(name_of(stamp_ns), stamp_ns, pose, protocol.positives(pose, places))
            found = candidates.get(stamp_ns, ())
            outcomes.append(Outcome(query, {
                RETRIEVAL: retrieved(found), RERANK: reranked(hypotheses, found)}))
    return outcomes
