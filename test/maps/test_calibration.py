# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Thresholds and probabilities from a map's own places."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeModel, picture, recognizer_on, search_on

from r2former_ros.config import Config, with_values
from r2former_ros.errors import MapError
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.build import MapBuilder, build_map, create_map
from r2former_ros.mapping.calibrate import calibrate
from r2former_ros.maps.calibration import (
    Calibration,
    calibration_of,
    describe_calibration,
    fit_probability,
    log_odds,
    probability_of,
    write_calibration,
)
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.records import Frame, PosedFrame, State

PLACES = 40
ASKED = {'decision.false_accept_rate': 0.1}


def lap(brightness=0.0):
    """Make a drive along x, another picture each ten metres."""
    for i in range(PLACES):
        image = picture(i, brightness=brightness)
        yield PosedFrame(Frame(i, image), pose_from_yaw(10.0 * i, 0, 0), f'{i}')


@pytest.fixture
def site(tmp_path):
    """A map of two laps under different light."""
    path = tmp_path / 'site.r2map'
    build_map(FakeModel(), path, lap(), Config())
    MapBuilder(FakeModel(), Config()).append(path, lap(brightness=12))
    return path


@pytest.fixture
def calibrated(site):
    """The same map, calibrated."""
    with PlaceMap.open(site) as place_map:
        calibration = calibrate(search_on(place_map), false_accept_rate=0.1,
                                radius_m=25.0, near_m=5.0, queries=1000)
    with PlaceMap.open(site, writable=True) as place_map:
        write_calibration(place_map, calibration)
    return site


def made(negatives, positives=(3.0, 4.0)):
    """Make a calibration from log odds."""
    line = fit_probability(negatives, positives)
    return Calibration({}, 9, 25.0, 0.05, sorted(negatives), sorted(positives), 'x', *line)


def test_the_threshold_lets_the_wanted_share_of_the_negatives_pass():
    negatives = np.random.default_rng(0).exponential(1.0, 4000).tolist()
    calibration = made(negatives)
    for rate in (0.01, 0.05, 0.1, 0.3):
        share = np.mean(np.array(negatives) >= log_odds(calibration.threshold(rate)))
        assert share == pytest.approx(rate, rel=0.15)
    thresholds = [calibration.threshold(rate) for rate in (0.0001, 0.001, 0.01, 0.1, 0.5)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert log_odds(thresholds[0]) == pytest.approx(-math.log(0.0001), rel=0.1)


def test_log_odds_keep_the_order_near_one_and_stay_finite_at_the_ends():
    assert log_odds(1 - 1e-12) > log_odds(1 - 1e-11)
    assert math.isfinite(log_odds(1.0)) and math.isfinite(log_odds(0.0))
    assert probability_of(log_odds(0.3)) == pytest.approx(0.3)


def test_the_probability_is_the_share_of_right_ones_among_equal_scores():
    rng = np.random.default_rng(1)
    calibration = made(rng.normal(-1, 1, 5000), rng.normal(1, 1, 5000))
    # Two normal densities of variance 1 around -1 and 1 have the log ratio 2 x.
    for odds in (-1.5, 0.0, 0.7):
        probability = calibration.probability(probability_of(odds))
        assert probability == pytest.approx(1 / (1 + math.exp(-2 * odds)), abs=0.02)


def test_foreign_images_pass_at_about_the_wanted_rate_and_known_ones_do(calibrated):
    with PlaceMap.open(calibrated) as place_map:
        calibration = calibration_of(place_map)
        config = with_values(Config(), {**ASKED, 'decision.agreement_frames': 1})
        recognizer = recognizer_on(place_map, config)
        foreign = [recognizer.recognize(Frame(0, picture(1000 + i))) for i in range(200)]
        known = [recognizer.recognize(Frame(0, picture(i, brightness=6))) for i in range(PLACES)]
    assert calibration.positives_from == 'other sessions'
    assert len(calibration.negatives) == len(calibration.positives) == 2 * PLACES
    threshold = recognizer.config.decision.min_score
    assert threshold == calibration.threshold(0.1)
    passed = [one.best.score >= threshold for one in foreign]
    assert 0.05 <= np.mean(passed) <= 0.2
    assert all(one.state is not State.LOST for one in known)
    assert min(one.best.probability for one in known) > 0.9
    assert np.median([one.best.probability for one in foreign]) < 0.2


def test_pictures_from_outside_give_the_threshold_where_there_are_some(site):
    outside = [Frame(0, picture(2000 + i, brightness=60)) for i in range(200)]
    asked = {'false_accept_rate': 0.1, 'near_m': 5.0, 'queries': 60}
    with PlaceMap.open(site) as place_map:
        recognizer = recognizer_on(place_map)
        own = calibrate(recognizer.search, radius_m=25.0, **asked)
        given = calibrate(recognizer.search, radius_m=25.0, outside=outside[::2], **asked)
        scores = [recognizer.recognize(frame).best.score for frame in outside[1::2]]
        # A map without far places can be calibrated so, but not with a handful of pictures.
        assert calibrate(recognizer.search, radius_m=1e3, outside=outside, **asked).negatives == []
        with pytest.raises(MapError, match='only 19 pictures are from outside'):
            calibrate(recognizer.search, radius_m=25.0, outside=outside[:19], **asked)
    assert given.negatives == own.negatives and len(own.negatives) == 60
    assert given.foreign_from == 'pictures from outside'
    threshold = given.threshold(0.1)
    assert 0.05 <= np.mean([score >= threshold for score in scores]) <= 0.2
    # These are too bright for any place, so that their threshold is no bound for far places.
    assert threshold < own.threshold(0.1) and given.accepted_far(threshold) > 0.2


def test_an_empty_map_cannot_be_calibrated_by_pictures_from_outside(tmp_path):
    with create_map(FakeModel(), tmp_path / 'm.r2map', Config()) as place_map, \
            pytest.raises(MapError, match='0 places have some within 5 m'):
        calibrate(search_on(place_map), false_accept_rate=0.1, radius_m=25.0,
                  near_m=5.0, queries=9, outside=[Frame(0, picture(1))])


def test_a_query_meets_the_far_places_alone_whatever_lies_unposed(site):
    unposed = [replace(one, map_T_camera=None) for one in lap()]
    MapBuilder(FakeModel(), Config()).append(site, unposed)
    with PlaceMap.open(site) as place_map:
        search = search_on(place_map)
        queried = []
        calibration = calibrate(search, false_accept_rate=0.1, radius_m=25.0, near_m=5.0,
                                queries=30, on_query=lambda: queried.append(1))
    # The third session shows each place again without saying where: it must not count as far.
    assert len(queried) == len(calibration.negatives) == 30
    assert calibration.negatives[-1] < 2.9


def test_one_lap_is_calibrated_by_its_neighbouring_keyframes(tmp_path):
    build_map(FakeModel(), tmp_path / 'm.r2map', lap(), Config())
    with PlaceMap.open(tmp_path / 'm.r2map') as place_map:
        search = search_on(place_map)
        calibration = calibrate(search, false_accept_rate=0.1, radius_m=25.0, near_m=12.0,
                                queries=30)
        assert calibration.positives_from == 'neighbouring keyframes'
        assert len(calibration.negatives) == 30
        # Nothing scores as high as a place does against itself: it was left out.
        assert calibration.negatives[-1] < 2.9 and calibration.positives[-1] < 2.9
        with pytest.raises(MapError, match='only 0 places have others further than 1000 m'):
            calibrate(search, false_accept_rate=0.1, radius_m=1000.0, near_m=12.0,
                      queries=30)


def test_an_uncalibrated_map_says_so(site):
    with PlaceMap.open(site) as place_map:
        assert describe_calibration(place_map) == 'no (r2former map calibrate)'
        hypothesis = recognizer_on(place_map).recognize(Frame(0, picture(3))).best
        assert math.isnan(hypothesis.probability)
        with pytest.raises(MapError, match='site.r2map: is not calibrated; run r2former map'):
            recognizer_on(place_map, with_values(Config(), ASKED))


def test_a_calibration_counts_only_with_the_settings_it_was_made_with(calibrated):
    other = with_values(Config(), {'rerank.candidates': 5})
    with PlaceMap.open(calibrated) as place_map:
        with pytest.raises(MapError, match=r'calibrated with rerank.candidates=20, not 5'):
            recognizer_on(place_map, with_values(other, ASKED))
        recognizer = recognizer_on(place_map, other)
        assert recognizer.config.decision.min_score == other.decision.min_score
        assert math.isnan(recognizer.recognize(Frame(0, picture(3))).best.probability)


def test_a_map_that_grew_since_is_reported(calibrated, caplog):
    MapBuilder(FakeModel(), Config()).append(calibrated, list(lap())[:1])
    with PlaceMap.open(calibrated) as place_map, caplog.at_level(logging.WARNING):
        recognizer_on(place_map, with_values(Config(), ASKED))
        assert 'with 80 places: do it again' in describe_calibration(place_map)
    assert 'was calibrated with 80 places and has 81' in caplog.text


def test_the_stored_calibration_is_what_was_written(calibrated):
    with PlaceMap.open(calibrated, writable=True) as place_map:
        stored = calibration_of(place_map)
        write_calibration(place_map, replace(stored, false_accept_rate=0.2))
        assert calibration_of(place_map) == replace(stored, false_accept_rate=0.2)
