# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measures of place recognition, by the definitions of the field."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry.poses import angle_deg
from ..geometry.trajectories import Trajectory
from ..records import Hypothesis, Place, Pose


@dataclass(frozen=True)
class Protocol:
    """
    When a place counts as right for a query.

    The camera was within ``positive_radius_m`` of it and its heading differed by at most
    ``positive_angle_deg``.
    """

    positive_radius_m: float = 25.0
    positive_angle_deg: float = 180.0

    def positives(self, truth: Pose, places: Mapping[int, Place]) -> set[int]:
        """Return the ids of the right places for a query taken at a pose."""
        posed = [(place_id, place.map_T_camera) for place_id, place in places.items()
                 if place.map_T_camera is not None]
        if not posed:
            return set()
        away_m = np.linalg.norm(
            np.array([pose[:3, 3] for _, pose in posed]) - truth[:3, 3], axis=1
        )
        near = [posed[row] for row in np.flatnonzero(away_m <= self.positive_radius_m)]
        return {place_id for place_id, pose in near
                if angle_deg(pose, truth) <= self.positive_angle_deg}

    def __str__(self) -> str:
        """Write the rule for a person."""
        heading = (f'headings differ by at most {self.positive_angle_deg:g} deg'
                   if self.positive_angle_deg < 180 else 'any heading')
        return f'right within {self.positive_radius_m:g} m, {heading}'


@dataclass(frozen=True)
class Answer:
    """What was said to one query, and the ids of the places that would have been right."""

    stamp_ns: int
    truth: Pose
    hypotheses: tuple[Hypothesis, ...]
    positives: frozenset[int]

    @property
    def reranked(self) -> list[int]:
        """Place ids, best score first."""
        return [one.place.place_id for one in self.hypotheses]

    @property
    def retrieved(self) -> list[int]:
        """The same places in the order of retrieval, most similar first."""
        ordered = sorted(self.hypotheses, key=lambda one: -one.similarity)
        return [one.place.place_id for one in ordered]

    @property
    def right(self) -> bool:
        """Say whether the best hypothesis is a right one."""
        return bool(self.hypotheses) and self.reranked[0] in self.positives


def judge(
    said: Mapping[int, Sequence[Hypothesis]],
    truth: Trajectory,
    places: Mapping[int, Place],
    protocol: Protocol,
    tolerance_ns: int = 0,
) -> list[Answer]:
    """
    Set what was said to each query image, by its stamp, against where it was taken.

    Queries whose stamp the trajectory does not cover, with a tolerance, are left out.
    """
    answers = []
    for stamp_ns, hypotheses in sorted(said.items()):
        pose = truth.at(stamp_ns, tolerance_ns)
        if pose is not None:
            positives = frozenset(protocol.positives(pose, places))
            answers.append(Answer(stamp_ns, pose, tuple(hypotheses), positives))
    return answers


def recall_at(
    rankings: Sequence[Sequence[int]], positives: Sequence[Collection[int]], count: int
) -> float:
    """
    Return the share of queries with a right place among the first ``count``.

    Queries without any right place in the database are left out, as in the datasets' protocols.

    :returns: a fraction in [0, 1]; NaN without such a query.
    """
    found = [
        any(one in right for one in ranking[:count])
        for ranking, right in zip(rankings, positives, strict=True) if right
    ]
    return sum(found) / len(found) if found else float('nan')


def recalls(answers: Sequence[Answer], counts: Sequence[int]) -> dict[str, dict[str, float]]:
    """Return recall@N of retrieval and after reranking, as fractions."""
    positives = [answer.positives for answer in answers]
    rankings = {
        'retrieval': [answer.retrieved for answer in answers],
        'rerank': [answer.reranked for answer in answers],
    }
    return {
        stage: {f'recall@{count}': recall_at(ranked, positives, count) for count in counts}
        for stage, ranked in rankings.items()
    }


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
        Return the threshold that accepts most at a precision, and its gain.

        :returns: the threshold, infinite where none has the precision, and the share of all
            queries that are then accepted, and rightly: what a SLAM back end can use.
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
