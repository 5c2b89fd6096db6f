# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Errors of accepted answers in metres and degrees."""

import numpy as np
import pytest

from r2former_ros.evaluation.outcomes import RERANK, Outcome, Query, Ranking
from r2former_ros.evaluation.pose_errors import lines, median_and_p95_m, pose_errors
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.records import Place

PLACES = {1: Place(1, 0, pose_from_yaw(0, 0, 0), ''), 2: Place(2, 0, None, '')}


def outcome(x_m, pose=None, accepted=True, place=1, known=True):
    true = pose_from_yaw(x_m, 0, np.radians(10)) if known else None
    return Outcome(Query('q', map_T_camera=true), {RERANK: Ranking((place,), 0.9)},
                   accepted=accepted, pose=pose)


def test_places_and_measured_poses_are_judged_apart():
    found = pose_errors([
        outcome(2.0, pose_from_yaw(2.0, 0.1, np.radians(9))),
        outcome(4.0),
        outcome(9.0, accepted=False),
        outcome(3.0, place=2),
        outcome(0.0, known=False),
    ], PLACES)
    assert found['place']['queries'] == 2
    assert found['place']['position_m']['median'] == pytest.approx(3.0)
    assert found['place']['rotation_deg']['median'] == pytest.approx(10.0)
    assert found['place']['off_by_1m'] == 1.0
    assert found['metric']['queries'] == 1
    assert found['metric']['position_m']['p95'] == pytest.approx(0.1)
    assert found['metric']['rotation_deg']['median'] == pytest.approx(1.0)
    assert found['refined']['position_m']['median'] == pytest.approx((0.1 + 4.0) / 2)
    assert median_and_p95_m(found, 'metric') == '0.10, 0.10'
    place, metric, refined = lines(found)
    assert place.startswith('position error, accepted, as a place: median 3.00')
    assert 'measured in metres: median 0.10' in metric
    assert '2 queries' in refined


def test_without_poses_there_is_nothing_to_say():
    assert pose_errors([outcome(0.0, known=False)], PLACES) == {}
    assert lines({}) == []
    nothing = pose_errors([outcome(1.0, accepted=False)], PLACES)
    assert lines(nothing) == []
    assert median_and_p95_m(nothing, 'metric') == ''
