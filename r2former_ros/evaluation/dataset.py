# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation on a dataset, with the same map and recognizer as on a robot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ..config import Config, to_dict
from ..datasets import PlaceSet
from ..images import read_image
from ..mapping import PosedFrame
from ..model import R2Former
from ..place_map import PlaceMap
from ..recognizer import Recognizer
from ..records import Frame, Recognition
from .measures import average_precision, recall_at, recall_at_full_precision

RECALLS = (1, 5, 10, 20)


@dataclass(frozen=True)
class Ranking:
    """One query's places, best first, as ids, and the score of the first."""

    places: list[int]
    score: float


def database_frames(places: PlaceSet) -> Iterator[PosedFrame]:
    """Read the database images; place id n is row n - 1."""
    for path in places.database:
        yield PosedFrame(Frame(0, read_image(path)), None, str(path))


def recognise_all(
    model: R2Former, map_path: Path, queries: Iterable[Path], config: Config
) -> Iterator[Recognition]:
    """Recognise the query images one by one."""
    with PlaceMap.open(map_path) as place_map:
        recognizer = Recognizer(model, place_map, config)
        for path in queries:
            yield recognizer.recognize(Frame(0, read_image(path)))


def measure(
    recognitions: Sequence[Recognition], places: PlaceSet, model: R2Former, config: Config
) -> dict[str, Any]:
    """
    Return what the JSON of ``r2former evaluate`` holds.

    Recall counts queries that have a right place; so do the curves.
    """
    positives = [{int(row) + 1 for row in rows} for rows in places.same_place]
    stages = {'retrieval': _retrieved, 'rerank': _reranked}
    figures = {
        name: _figures([rank(one) for one in recognitions], positives)
        for name, rank in stages.items()
    }
    return {
        **figures,
        'queries': len(places.queries),
        'database': len(places.database),
        'protocol': 'right if listed in the ground truth, or within 25 m; '
                    'AUC-PR of the best answer as in VPR-Bench',
        'latency_ms': {
            stage: median(one.latency_ms[stage] for one in recognitions)
            for stage in recognitions[0].latency_ms
        },
        'weights': {'fingerprint': model.fingerprint, 'origin': model.origin.text,
                    'trained': model.origin.trained,
                    'reranker_trained': model.origin.reranker_trained},
        'config': to_dict(config),
    }


def _retrieved(recognition: Recognition) -> Ranking:
    candidates = recognition.candidates
    return Ranking([one.place_id for one in candidates], candidates[0].similarity)


def _reranked(recognition: Recognition) -> Ranking:
    """Put the reranked places first, then the other candidates as they were retrieved."""
    first = [one.place.place_id for one in recognition.hypotheses]
    rest = [one.place_id for one in recognition.candidates if one.place_id not in set(first)]
    return Ranking(first + rest, recognition.hypotheses[0].score)


def _figures(rankings: Sequence[Ranking], positives: Sequence[set[int]]) -> dict[str, float]:
    ordered = [ranking.places for ranking in rankings]
    judged = [(ranking.places[0] in wanted, ranking.score)
              for ranking, wanted in zip(rankings, positives, strict=True) if wanted]
    right, scores = [one for one, _ in judged], [score for _, score in judged]
    return {
        **{f'recall@{count}': recall_at(ordered, positives, count) for count in RECALLS},
        'auc_pr': average_precision(right, scores),
        'recall@100p': recall_at_full_precision(right, scores),
    }
