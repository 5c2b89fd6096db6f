# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The reason of a decision, with the numbers behind it."""

from dataclasses import replace

import pytest

from r2former_ros.config import DecisionConfig
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.records import Belief, Hypothesis, Place, Recognition, State
from r2former_ros.ros.verdict import verdict_on

CONFIG = DecisionConfig(min_score=0.5, localized_probability=0.9, agreement_frames=3)
PLACES = [Place(i, i, pose_from_yaw(41.0 * i, 0, 0), '') for i in range(2)]


def recognition(score, state=State.LOST, *, accepted=False, probability=0.31):
    """Make a result whose two best places are 41 m apart."""
    hypotheses = tuple(Hypothesis(place, 0.8, score, inliers=4) for place in PLACES)
    return Recognition(7, state, hypotheses, (), belief=Belief(PLACES[0], probability),
                       accepted=accepted)


@pytest.mark.parametrize(('result', 'reason', 'text'), [
    (recognition(0.31), 'low_score',
     'rejected: score 0.31 below 0.50; the best two places are 41 m apart'),
    (recognition(0.91), 'not_verified',
     'rejected: score 0.91, but the geometric check failed with 4 inliers'),
    (recognition(0.91, State.CANDIDATE, accepted=True), 'unconfirmed',
     'accepted place 0 with score 0.91; not confirmed yet: probability 0.31 below 0.90'),
    (recognition(0.91, State.CANDIDATE, accepted=True, probability=0.95), 'unconfirmed',
     'accepted place 0 with score 0.91; not confirmed yet: fewer than 3 images agree'),
    (recognition(0.91, State.LOCALIZED, accepted=True, probability=0.97), 'localized',
     'localized at place 0: probability 0.97'),
    (Recognition(7, State.LOST, (), ()), 'empty_map', 'rejected: the map has no place'),
])
def test_each_outcome_has_a_reason_and_its_numbers(result, reason, text):
    verdict = verdict_on(result, CONFIG)
    assert (verdict.reason, verdict.text) == (reason, text)


@pytest.mark.parametrize(('probability', 'reason', 'text'), [
    (0.31, 'low_probability',
     'rejected: probability 0.31 below 0.80; the best two places are 41 m apart'),
    (float('nan'), 'not_verified',
     'rejected: score 0.91, but the geometric check failed with 4 inliers'),
])
def test_where_a_probability_is_required_the_score_does_not_count(probability, reason, text):
    result = recognition(0.91)
    best, *others = result.hypotheses
    verdict = verdict_on(replace(
        result, required_probability=0.8,
        hypotheses=(replace(best, probability=probability), *others)), CONFIG)
    assert (verdict.reason, verdict.text) == (reason, text)


def test_a_known_probability_is_part_of_the_evidence():
    result = recognition(0.91, State.CANDIDATE, accepted=True)
    best = replace(result.hypotheses[0], probability=0.88)
    verdict = verdict_on(replace(result, hypotheses=(best,)), CONFIG)
    assert verdict.text.startswith('accepted place 0 with score 0.91, probability 0.88;')


def test_places_without_poses_have_no_distance():
    result = recognition(0.31)
    bare = tuple(replace(one, place=replace(one.place, map_T_camera=None))
                 for one in result.hypotheses)
    assert verdict_on(replace(result, hypotheses=bare), CONFIG).text == \
        'rejected: score 0.31 below 0.50'
