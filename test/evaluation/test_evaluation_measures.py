# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of a report, by hand and against scikit-learn."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from r2former_ros.evaluation.measures import (
    Curve,
    average_precision,
    decision_measures,
    latency_percentiles,
    method_measures,
    state_counts,
)
from r2former_ros.evaluation.outcomes import RERANK, RETRIEVAL, Outcome, Query, Ranking
from r2former_ros.evaluation.report.result import finite
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.records import Place

PLACES = {i: Place(i, i, pose_from_yaw(10.0 * i, 0, 0), '') for i in range(1, 7)}


def outcome(name, truth, retrieval, rerank, score, *, at=None, state='candidate'):
    """Make an outcome; ``truth`` names the right places, ``at`` where the query was."""
    pose = None if at is None else pose_from_yaw(*at)
    return Outcome(
        Query(name, map_T_camera=pose, positives=frozenset(truth)),
        {RETRIEVAL: Ranking(tuple(retrieval), 0.9), RERANK: Ranking(tuple(rerank), score)},
        state, {'encode': 10.0 * score, 'rerank': 1.0},
    )


OUTCOMES = [
    outcome('a', [1], [2, 1, 3], [1, 2, 3], 0.9, at=(11, 0, 0), state='localized'),
    outcome('b', [2], [2, 3, 1], [2, 1, 3], 0.7, at=(20, 4, math.pi / 2)),
    outcome('c', [3], [1, 2, 3], [1, 3, 2], 0.6, at=(30, 0, 0)),  # wrong, 20 m off
    outcome('d', [4], [1, 2, 3], [2, 1, 3], 0.3, at=(40, 0, 0), state='lost'),  # wrong, refused
    outcome('x', [], [1, 2, 3], [1, 2, 3], 0.8),
    outcome('y', [], [1, 2, 3], [1, 2, 3], 0.2, state=''),  # not known: by the score
]


@pytest.mark.parametrize('seed', range(5))
def test_average_precision_and_the_curve_are_those_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    right = random.random(60) < 0.4
    scores = random.normal(size=60) + right
    scores = scores.round(1) if seed % 2 else scores  # with ties
    assert average_precision(right, scores) == pytest.approx(
        average_precision_score(right, scores), abs=1e-12)
    curve = Curve.of(right, scores)
    precision, recall, thresholds = precision_recall_curve(right, scores)
    np.testing.assert_allclose(curve.thresholds, thresholds[::-1])
    np.testing.assert_allclose(curve.precision, precision[-2::-1])
    np.testing.assert_allclose(curve.recall, recall[-2::-1])


def test_figures_of_a_method_by_hand():
    figures = method_measures(OUTCOMES, RERANK)
    assert figures['recall@1'] == 0.5  # a and b of the four that the map shows
    assert figures['recall@5'] == figures['recall@100'] == 0.75
    assert figures['auc_pr'] == 1.0
    assert figures['recall@100p'] == 0.5  # threshold 0.7 takes a and b, and x of the strangers
    assert figures['false_accepts@100p'] == 0.5
    assert method_measures(OUTCOMES, RETRIEVAL)['recall@1'] == 0.25
    assert method_measures(OUTCOMES, RETRIEVAL)['recall@100p'] == 0.0  # all scores are equal
    assert method_measures(OUTCOMES, RETRIEVAL)['false_accepts@100p'] == 0.0
    nobody = method_measures(OUTCOMES[4:], RERANK)
    assert math.isnan(nobody['recall@1']) and math.isnan(nobody['auc_pr'])


def test_the_operating_point_may_pass_a_wrong_answer_on_its_way():
    right = [False] + [True] * 99 + [False]
    scores = np.linspace(1, 0, 101)
    threshold, share = Curve.of(right, scores).operating_point(0.99)
    assert threshold == pytest.approx(scores[99]) and share == pytest.approx(99 / 101)
    assert Curve.of(right, scores).operating_point(1.0) == (math.inf, 0.0)
    assert Curve.of([], []).operating_point(1.0)[0] == math.inf


def test_figures_of_the_decision_by_hand():
    figures = decision_measures(OUTCOMES, PLACES, 0.5)
    assert figures['accepted'] == 0.75 and figures['false_accepts'] == 0.5
    assert figures['precision'] == pytest.approx(2 / 3)
    # a is 1 m off, b 4 m and 90 degrees, c named place 1 at 20 m; x has no pose.
    assert figures['error_median_m'] == pytest.approx(4.0)
    assert figures['error_p95_m'] == pytest.approx(18.4)
    assert figures['error_median_deg'] == pytest.approx(0.0)
    assert figures['error_p95_deg'] == pytest.approx(81.0)
    assert state_counts(OUTCOMES) == {'localized': 1, 'candidate': 3, 'lost': 1}


def test_latency_by_stage_and_what_json_cannot_hold():
    assert latency_percentiles(OUTCOMES, 50) == {'encode': pytest.approx(6.5), 'rerank': 1.0}
    tree = finite({'a': math.nan, 'b': [math.inf, 1.5], 'c': 'x'})
    assert json.dumps(tree, allow_nan=False) == '{"a": null, "b": [null, 1.5], "c": "x"}'
