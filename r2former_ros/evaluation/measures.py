# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measures of place recognition by the field's definitions, and their values over outcomes."""

from __future__ import annotations

import resource
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.poses import angle_deg, distance_m
from ..records import Place
from .confidence import wilson_interval
from .outcomes import RERANK, Outcome, inside, outside

RECALLS = (1, 5, 10, 20, 100)
PRECISIONS = {'100p': 1.0, '99p': 0.99}


def recall_at(
    rankings: Sequence[Sequence[int]], positives: Sequence[Collection[int]], count: int
) -> float:
    """
    Return the share of queries with a right place among the first ``count``.

    Queries without a right place in the database are skipped, as in the datasets' protocols.

    :returns: a fraction in [0, 1]; NaN without such a query.
    """
    found = [
        any(one in right for one in ranking[:count])
        for ranking, right in zip(rankings, positives, strict=True) if right
    ]
    return sum(found) / len(found) if found else float('nan')


@dataclass(frozen=True)
class Curve:
    """
    The precision-recall curve of the best answers, over falling thresholds.

    As in VPR-Bench: an answer is accepted if its score reaches the threshold, precision counts
    the right ones among the accepted, recall the accepted ones among all right ones. Equal scores
    are accepted together. ``thresholds``, ``accepted`` and ``true``, each (T,), count answers;
    ``total`` is the number of all of them.
    """

    thresholds: NDArray[np.float64]
    accepted: NDArray[np.intp]
    true: NDArray[np.intp]
    total: int

    @classmethod
    def of(cls, right: Sequence[bool], scores: Sequence[float]) -> Curve:
        """Sort the best answers by their scores."""
        labels, values = np.asarray(right, bool), np.asarray(scores, np.float64)
        order = np.argsort(-values, kind='stable')
        labels, values = labels[order], values[order]
        last_of_equals = np.append(values[1:] != values[:-1], True)[:len(values)]
        return cls(
            values[last_of_equals],
            np.arange(1, len(labels) + 1)[last_of_equals],
            np.cumsum(labels)[last_of_equals],
            len(labels),
        )

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of right ones among the accepted (T,)."""
        return np.asarray(self.true / self.accepted, np.float64)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of accepted ones among the right (T,); NaN if none is right."""
        right = self.true[-1] if len(self.true) else 0
        return np.asarray(self.true / right if right else np.full(len(self.true), np.nan))

    def operating_point(self, precision: float) -> tuple[float, float]:
        """
        Return the lowest threshold that reaches a precision, and the share of correct accepts.

        :returns: the threshold, infinite if none reaches the precision, and the share of all
            queries that it accepts correctly: what a SLAM back end can use.
        """
        if not self.total:
            return float('inf'), float('nan')
        fit = np.flatnonzero(self.precision >= precision)
        if not len(fit) or not self.true[fit[-1]]:
            return float('inf'), 0.0
        return float(self.thresholds[fit[-1]]), float(self.true[fit[-1]] / self.total)


def average_precision(right: Sequence[bool], scores: Sequence[float]) -> float:
    """
    Return the area under the precision-recall curve of the best answers (top-1 AUC-PR).

    It is the sum of precision times gain in recall, as in VPR-Bench and in scikit-learn's
    ``average_precision_score``.

    :returns: a fraction in [0, 1]; NaN if no answer is right.
    """
    curve = Curve.of(right, scores)
    if not any(right):
        return float('nan')
    return float((np.diff(curve.recall, prepend=0) * curve.precision).sum())


def method_measures(outcomes: Sequence[Outcome], method: str) -> dict[str, float]:
    """
    Return the measures of one method, by name.

    Recall and the curve count the queries whose place is in the map. ``false_accepts@100p`` is
    the share of the other queries that the threshold of ``recall@100p`` would accept.
    """
    known = inside(outcomes)
    ranked = [one.rankings[method].places for one in known]
    positives = [one.query.positives for one in known]
    right, scores = judged(known, method)
    values = {f'recall@{count}': recall_at(ranked, positives, count) for count in RECALLS}
    values['auc_pr'] = average_precision(right, scores)
    strangers = np.array([one.rankings[method].score for one in outside(outcomes)])
    for name, precision in PRECISIONS.items():
        threshold, recall = Curve.of(right, scores).operating_point(precision)
        values[f'recall@{name}'] = recall
        values[f'false_accepts@{name}'] = _share(strangers >= threshold)
    return values


def recall_intervals(outcomes: Sequence[Outcome], method: str) -> dict[str, list[float]]:
    """Return the 95 % interval of each recall@N of a method."""
    known = inside(outcomes)
    ranks = [one.first_right(method) for one in known]
    return {
        f'recall@{count}': list(wilson_interval(
            sum(rank is not None and rank <= count for rank in ranks), len(known)))
        for count in RECALLS
    }


def judged(outcomes: Sequence[Outcome], method: str) -> tuple[list[bool], list[float]]:
    """Return for each query whether the first answer is right, and its score."""
    return ([one.right(method) for one in outcomes],
            [one.rankings[method].score for one in outcomes])


def decision_measures(
    outcomes: Sequence[Outcome], places: Mapping[int, Place], min_score: float
) -> dict[str, float]:
    """
    Return the consequences of accepting every answer that passes ``accepts``.

    ``accepted`` and ``precision`` count the queries whose place is in the map,
    ``false_accepts`` the others; errors are those of all accepted queries that have a pose.
    """
    taken = [one for one in outcomes if accepts(one, min_score)]
    known = inside(taken)
    errors = [error for error in (localisation_error(one, places) for one in taken) if error]
    values = {
        'min_score': min_score,
        'accepted': _ratio(len(known), len(inside(outcomes))),
        'precision': _ratio(sum(one.right(RERANK) for one in known), len(known)),
        'false_accepts': _ratio(len(outside(taken)), len(outside(outcomes))),
    }
    for column, unit in enumerate(('m', 'deg')):
        of_unit = [error[column] for error in errors]
        values[f'error_median_{unit}'] = _percentile(of_unit, 50)
        values[f'error_p95_{unit}'] = _percentile(of_unit, 95)
    return values


def accepts(outcome: Outcome, min_score: float) -> bool:
    """
    Say whether the best reranked answer is accepted.

    The recognizer decides; if its decision is unknown, the score does.
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
    """Count the states, without the queries that the user gave as negative."""
    counts: dict[str, int] = {}
    for one in outcomes:
        if one.state and not one.query.negative:
            counts[one.state] = counts.get(one.state, 0) + 1
    return counts


def latency_percentiles(outcomes: Sequence[Outcome], percentile: float) -> dict[str, float]:
    """Return a percentile of the latency of each stage, in milliseconds."""
    stages = dict.fromkeys(stage for one in outcomes for stage in one.latency_ms)
    return {
        stage: _percentile(
            [one.latency_ms[stage] for one in outcomes if stage in one.latency_ms], percentile
        )
        for stage in stages
    }


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == 'darwin' else 2**10)


def _share(flags: Any) -> float:
    return _ratio(int(np.sum(flags)), len(flags))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float('nan')


def _percentile(values: Sequence[float], percentile: float) -> float:
    return float(np.percentile(values, percentile)) if len(values) else float('nan')
