# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Loop closure with a stand-in model: what is compared, accepted and kept."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeModel, picture, recognizer_on

from r2former_ros.config import Config, with_values
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.build import build_map, create_map
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.search import PlaceSearch
from r2former_ros.records import Frame, Hypothesis, Place, PosedFrame
from r2former_ros.slam.loop_closure import LoopCloser, LoopFilter

PLACES = 16
STEP_M = 4.0
SETTINGS = {
    'loop_closure.exclusion_s': 5.0, 'loop_closure.exclusion_m': 0.0,
    'loop_closure.agreement_keyframes': 2, 'loop_closure.verify': False,
    'loop_closure.min_score': 0.8,  # where the stand-in's scores are
}


def drive(laps=2, places=PLACES, offset_m=0.0):
    """Yield the frames of laps over the same places on a circle; each lap under other light."""
    radius_m = STEP_M / (2 * np.sin(np.pi / places))
    for i in range(laps * places):
        angle = 2 * np.pi * i / places
        pose = pose_from_yaw(
            radius_m * np.cos(angle) + offset_m, radius_m * np.sin(angle), angle + np.pi / 2)
        image = picture(i % places, brightness=6.0 * (i // places))
        yield PosedFrame(Frame(i * 10**9, image), pose, f'{i}')


@pytest.fixture
def make_closer(tmp_path):
    """Make a loop closer on a new map, with settings changed by dotted name."""
    maps = []

    def make(model=None, **changes):
        config = with_values(Config(), {**SETTINGS, **changes})
        model = model or FakeModel()
        maps.append(create_map(model, tmp_path / f'{len(maps)}.r2map', config))
        return LoopCloser(PlaceSearch(model, maps[-1], config), config)

    yield make
    for one in maps:
        one.close()


def loops_of(closer, frames):
    """Return (query, place) by their order in the drive, for each accepted loop closure."""
    results = [closer.offer(posed) for posed in frames]
    return [(result.place_id - 1, loop.hypothesis.place.place_id - 1)
            for result in results if result for loop in result.loops]


def test_a_second_lap_closes_on_the_first_once_two_keyframes_agree(make_closer):
    loops = loops_of(make_closer(), drive())
    assert loops == [(i, i - PLACES) for i in range(PLACES + 1, 2 * PLACES)]


def test_a_loop_shorter_than_the_exclusion_is_told_once(make_closer, caplog):
    with caplog.at_level(logging.WARNING):
        loops_of(make_closer(**{'loop_closure.exclusion_m': STEP_M * (PLACES - 1)}), drive())
        assert not caplog.records
        closer = make_closer(**{'loop_closure.exclusion_m': STEP_M * (PLACES + 1)})
        assert loops_of(closer, drive()) == []
    (record,) = caplog.records
    assert 'is not closed: loop_closure.exclusion_m' in record.getMessage()


def test_one_lap_closes_nothing(make_closer):
    assert loops_of(make_closer(), drive(laps=1)) == []


def test_after_a_reset_of_the_clock_loops_close_among_the_keyframes_after_it(make_closer):
    """Stamps of the laps before say nothing any more, so no loop closure names one of them."""
    frames = list(drive(laps=1))
    again = [replace(posed, frame=replace(posed.frame, stamp_ns=posed.frame.stamp_ns + 5))
             for posed in drive(laps=2)]
    loops = loops_of(make_closer(), [*frames, *again])
    assert loops == [(i, i - PLACES) for i in range(2 * PLACES + 1, 3 * PLACES)]


def test_frames_that_overtake_each_other_are_no_reset(make_closer):
    late = [replace(posed, frame=replace(posed.frame, stamp_ns=posed.frame.stamp_ns - 10**8))
            for posed in drive(laps=1)]
    loops = loops_of(make_closer(), [*drive(laps=1), late[-1], *list(drive())[PLACES:]])
    assert len(loops) == PLACES - 1


@pytest.mark.parametrize(('exclusion', 'none_before'), [
    ({'loop_closure.exclusion_s': 20.0}, 2 * PLACES),
    ({'loop_closure.exclusion_m': STEP_M * (PLACES + 1)}, 2 * PLACES),
    ({'loop_closure.exclusion_m': STEP_M * (PLACES - 1)}, PLACES),
])
def test_what_was_seen_just_now_is_no_loop_closure(make_closer, exclusion, none_before):
    loops = loops_of(make_closer(**exclusion), drive())
    assert all(query >= none_before for query, _ in loops)
    assert bool(loops) == (none_before == PLACES)


def test_an_image_is_encoded_once_and_only_keyframes_are(make_closer):
    model = FakeModel()
    closer = make_closer(model, **{'map.keyframe_interval_s': 2.0})
    results = [closer.offer(posed) for posed in drive(laps=1)]
    assert [result is None for result in results] == [False, True] * (PLACES // 2)
    assert model.calls == len(closer.past.place_map) == len(closer.past.index) == PLACES // 2


def test_the_grown_map_is_a_map_like_any_other(make_closer, tmp_path):
    closer = make_closer()
    loops_of(closer, drive(laps=1))
    assert closer.past.place_map.copy_to(tmp_path / 'copy.r2map') == PLACES
    with PlaceMap.open(tmp_path / 'copy.r2map') as place_map:
        assert list(place_map.problems()) == []
        recognition = recognizer_on(place_map).recognize(Frame(0, picture(7)))
    assert recognition.best.place.source == '7'


def test_a_saved_map_is_closed_on_from_the_first_lap(make_closer, tmp_path):
    build_map(FakeModel(), tmp_path / 'saved.r2map', drive(laps=1, offset_m=500.0), Config())
    closer = make_closer()
    with PlaceMap.open(tmp_path / 'saved.r2map') as place_map:
        saved = recognizer_on(place_map)
        for posed in list(drive(laps=1))[:4]:
            known = saved.recognize(posed.frame).hypotheses
            result = closer.offer(posed, saved=saved.search, known=known)
        (loop,) = result.loops
    assert loop.in_saved_map and loop.stamp_ns == 3 * 10**9
    assert loop.hypothesis.place.source == '3'
    assert loop.hypothesis.place.map_T_camera[0, 3] > 400.0


def test_verification_counts_the_inliers_of_what_is_reported(make_closer):
    closer = make_closer(**{'loop_closure.verify': True, 'verification.min_inliers': 4})
    results = [closer.offer(posed) for posed in drive()]
    inliers = [loop.hypothesis.inliers for result in results for loop in result.loops]
    assert inliers and min(inliers) >= 4


def hypothesis(x_m, score=0.97, inliers=50, place_id=1):
    """Make a hypothesis at a position along x."""
    pose = None if x_m is None else pose_from_yaw(x_m, 0, 0)
    return Hypothesis(Place(place_id, 0, pose, ''), 0.9, score, inliers)


@pytest.mark.parametrize(('third', 'moved_m', 'accepted'), [
    (hypothesis(8.0), 2.0, True),
    (hypothesis(30.0), 2.0, False),
    (hypothesis(30.0), 26.0, True),
    (hypothesis(8.0, score=0.7), 2.0, False),
    (hypothesis(8.0, inliers=14), 2.0, False),
    (None, 2.0, False),
])
def test_places_in_a_row_must_lie_as_the_robot_moved(third, moved_m, accepted):
    config = with_values(Config(), {'loop_closure.agreement_keyframes': 3})
    rule = LoopFilter(config.loop_closure, min_inliers=15)
    assert not rule.accepts(hypothesis(0.0), pose_from_yaw(0, 0, 0))
    assert not rule.accepts(hypothesis(4.0), pose_from_yaw(0, 4, 0))
    assert rule.accepts(third, pose_from_yaw(0, 4 + moved_m, 0)) == accepted
    assert rule.accepts(hypothesis(9.0), pose_from_yaw(0, 5 + moved_m, 0)) == (
        accepted and third.place.map_T_camera[0, 3] < 10)


def test_places_without_poses_agree_by_their_order():
    config = with_values(Config(), {'loop_closure.agreement_keyframes': 2})
    rule = LoopFilter(config.loop_closure, min_inliers=15)
    assert not rule.accepts(hypothesis(None, place_id=5), None)
    assert rule.accepts(hypothesis(None, place_id=6), None)
    assert not rule.accepts(hypothesis(None, place_id=60), None)
