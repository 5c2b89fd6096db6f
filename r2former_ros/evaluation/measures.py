# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measures of place recognition, by the definitions of the field."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry import angle_deg
from ..records import Hypothesis, Place, Pose
from ..trajectories import Trajectory


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
        posed = {place_id: place.map_T_camera for place_id, place in places.items()}
        return {
            place_id for place_id, pose in posed.items()
            if pose is not None
            and float(np.linalg.norm(pose[:3, 3] - truth[:3, 3])) <= self.positive_radius_m
            and angle_deg(pose, truth) <= self.positive_angle_deg
        }


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
) -> list[Answer]:
    """
    Set what was said to each query image, by its stamp, against where it was taken.

    Queries whose stamp the trajectory does not cover are left out.
    """
    answers = []
    for stamp_ns, hypotheses in sorted(said.items()):
        pose = truth.at(stamp_ns)
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


def average_precision(right: Sequence[bool], scores: Sequence[float]) -> float:
    """
    Return the area under the precision-recall curve of the best answers (top-1 AUC-PR).

    As in VPR-Bench: an answer is accepted if its score reaches a threshold, precision counts the
    right ones among the accepted, recall the accepted ones among all right ones. The area is
    the sum of precision times gain in recall over falling thresholds, equal scores together.

    :returns: a fraction in [0, 1]; NaN if no answer is right.
    """
    labels, values = np.asarray(right, bool), np.asarray(scores, np.float64)
    if not labels.any():
        return float('nan')
    order = np.argsort(-values, kind='stable')
    labels, values = labels[order], values[order]
    last_of_equals = np.append(values[1:] != values[:-1], True)
    true = np.cumsum(labels)[last_of_equals]
    accepted = np.arange(1, len(labels) + 1)[last_of_equals]
    gained = np.diff(true, prepend=0) / labels.sum()
    return float((gained * true / accepted).sum())


def recall_at_full_precision(right: Sequence[bool], scores: Sequence[float]) -> float:
    """
    Return the share of all queries that are accepted, and rightly, before the first wrong one.

    It is what a SLAM back end can use without any check of its own.
    """
    labels, values = np.asarray(right, bool), np.asarray(scores, np.float64)
    if not len(labels):
        return float('nan')
    highest_wrong = values[~labels].max(initial=-np.inf)
    return float((labels & (values > highest_wrong)).mean())
