# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From outcomes to the figures that a report holds."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..geometry.poses import angle_deg, distance_m
from ..records import Place
from .measures import Curve, average_precision, recall_at
from .outcomes import RERANK, RETRIEVAL, Outcome, inside, outside

RECALLS = (1, 5, 10, 20, 100)
PRECISIONS = {'100p': 1.0, '99p': 0.99}


def method_figures(outcomes: Sequence[Outcome], method: str) -> dict[str, float]:
    """
    Return the figures of one method.

    Recall and the curve count the queries whose place is in the map. ``false_accepts@100p`` is
    the share of the other queries that the threshold of ``recall@100p`` would accept.
    """
    known = inside(outcomes)
    ranked = [one.rankings[method].places for one in known]
    positives = [one.query.positives for one in known]
    right, scores = judged(known, method)
    figures = {f'recall@{count}': recall_at(ranked, positives, count) for count in RECALLS}
    figures['auc_pr'] = average_precision(right, scores)
    strangers = np.array([one.rankings[method].score for one in outside(outcomes)])
    for name, precision in PRECISIONS.items():
        threshold, recall = Curve.of(right, scores).operating_point(precision)
        figures[f'recall@{name}'] = recall
        figures[f'false_accepts@{name}'] = _share(strangers >= threshold)
    return figures


def judged(outcomes: Sequence[Outcome], method: str) -> tuple[list[bool], list[float]]:
    """Return for each query whether the first answer is right, and its score."""
    return ([one.right(method) for one in outcomes],
            [one.rankings[method].score for one in outcomes])


def decision_figures(
    outcomes: Sequence[Outcome], places: Mapping[int, Place], min_score: float
) -> dict[str, float]:
    """
    Return what accepting every answer that ``accepts`` takes would mean.

    ``accepted`` and ``precision`` count the queries whose place is in the map,
    ``false_accepts`` the others; errors are those of all accepted queries that have a pose.
    """
    taken = [one for one in outcomes if accepts(one, min_score)]
    known = inside(taken)
    errors = [error for error in (localisation_error(one, places) for one in taken) if error]
    figures = {
        'min_score': min_score,
        'accepted': _ratio(len(known), len(inside(outcomes))),
        'precision': _ratio(sum(one.right(RERANK) for one in known), len(known)),
        'false_accepts': _ratio(len(outside(taken)), len(outside(outcomes))),
    }
    for column, unit in enumerate(('m', 'deg')):
        values = [error[column] for error in errors]
        figures[f'error_median_{unit}'] = _percentile(values, 50)
        figures[f'error_p95_{unit}'] = _percentile(values, 95)
    return figures


def accepts(outcome: Outcome, min_score: float) -> bool:
    """
    Say whether the best reranked answer is accepted.

    The recognizer says so; where its word is not known, the score does.
    """
    if outcome.accepted is not None:
        return outcome.accepted
    ranking = outcome.rankings[RERANK]
    return bool(ranking.places) and ranking.score >= min_score


def localisation_error(
    outcome: Outcome, places: Mapping[int, Place]
) -> tuple[float, float] | None:
    """Return metres and degrees from the query to the best place; None without both poses."""
    ranking, truth = outcome.rankings[RERANK], outcome.query.map_T_camera
    pose = places[ranking.places[0]].map_T_camera if ranking.places else None
    if truth is None or pose is None:
        return None
    return distance_m(pose, truth), angle_deg(pose, truth)


def state_counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Count the states of the queries that the user did not give as negative."""
    counts: dict[str, int] = {}
    for one in outcomes:
        if one.state and not one.query.negative:
            counts[one.state] = counts.get(one.state, 0) + 1
    return counts


def latency_figures(outcomes: Sequence[Outcome], percentile: float) -> dict[str, float]:
    """Return a percentile of the latency of each stage, in milliseconds."""
    stages = dict.fromkeys(stage for one in outcomes for stage in one.latency_ms)
    return {
        stage: _percentile(
            [one.latency_ms[stage] for one in outcomes if stage in one.latency_ms], percentile
        )
        for stage in stages
    }


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == 'darwin' else 2**10)


def finite(tree: Any) -> Any:
    """Replace what JSON cannot hold, NaN and infinity, by None."""
    if isinstance(tree, Mapping):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def table_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the table of a result: a row a measure, a column a method; the first is the head."""
    methods = result['methods']
    rows = [['measure', *(title_of(name) for name in methods)]]
    for measure in methods[RETRIEVAL]:
        values = [figures[measure] for figures in methods.values()]
        if any(value is not None for value in values):
            rows.append([measure, *(number(value) for value in values)])
    return rows


def title_of(method: str) -> str:
    """Return the word by which tables and curves name a method."""
    return 'reranked' if method == RERANK else method


def number(value: float | None, digits: int = 3) -> str:
    """Write a figure, or a dash where there is none."""
    return '-' if value is None else f'{value:.{digits}f}'



def _share(flags: Any) -> float:
    return _ratio(int(np.sum(flags)), len(flags))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float('nan')


def _percentile(values: Sequence[float], percentile: float) -> float:
    return float(np.percentile(values, percentile)) if len(values) else float('nan')
