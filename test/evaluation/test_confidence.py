# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Intervals, reliability and sparsification, by hand."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from r2former_ros.evaluation.confidence import Reliability, sparsification, wilson_interval


@pytest.mark.parametrize(('right', 'total'), [(0, 5), (5, 5), (3, 7), (93, 100)])
def test_the_interval_is_that_of_scipy(right, total):
    expected = binomtest(right, total).proportion_ci(0.95, method='wilson')
    assert wilson_interval(right, total) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_without_trials_there_is_no_interval():
    assert all(map(math.isnan, wilson_interval(0, 0)))


def test_reliability_by_hand():
    """Two answers at .05, one of them right; two at 1.0, both right; above 1 counts as 1."""
    reliability = Reliability.of([True, False, True, True], [0.05, 0.05, 1.0, 1.7])
    assert reliability.score.tolist() == pytest.approx([0.05, 1.0])
    assert reliability.right.tolist() == [0.5, 1.0]
    assert reliability.count.tolist() == [2, 2]
    assert reliability.error == pytest.approx(0.5 * 0.45)
    assert math.isnan(Reliability.of([], []).error)


def test_sparsification_leaves_the_lowest_scores_out_first():
    left_out, wrong = sparsification([True, False, True, False], [0.9, 0.8, 0.7, 0.1])
    assert left_out.tolist() == [0.0, 0.25, 0.5, 0.75]
    assert wrong.tolist() == pytest.approx([0.5, 1 / 3, 0.5, 0.0])
    assert np.all(np.diff(sparsification([True, False], [0.1, 0.9])[1]) >= 0)  # a bad order
