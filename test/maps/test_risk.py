# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a second traverse says about the risk on a map."""


import numpy as np
import pytest
from fakes import FakeModel, frames, picture, recognizer_on, search_on
from test_trust import made, on

from r2former_ros.config import Config, with_values
from r2former_ros.errors import MapError
from r2former_ros.mapping.build import build_map
from r2former_ros.mapping.calibrate import assess_traverse
from r2former_ros.maps import judge
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.risk import RATES, assess, certified, interval, risk_of, write_risk
from r2former_ros.records import Frame

DEFAULT = made(on('logit', 1.0), on('logit', 1.0))


def drawn(count, seed=0, wrong_above=0.0):
    """Draw answers that are right as often as they say, but for a share that is wrong."""
    rng = np.random.default_rng(seed)
    said = rng.uniform(0.3, 1.0, count)
    return said, (rng.random(count) < said) & (rng.random(count) >= wrong_above)


def test_no_query_leaves_the_thresholds_of_the_weights():
    risk = assess([], [], DEFAULT, {})
    for rate in (0.1, 0.2):
        assert risk.threshold(rate) == pytest.approx(DEFAULT.threshold(rate), abs=0.006)
    assert all(one.certified is None for one in risk.thresholds)


def test_a_map_with_more_wrong_answers_asks_for_more():
    usual, worse = (assess(*drawn(2000, wrong_above=share), DEFAULT, {}) for share in (0.0, 0.1))
    assert worse.threshold(0.2) > usual.threshold(0.2)
    for one in usual.thresholds:
        assert one.low <= one.wrong / max(one.accepted, 1) <= one.high
    found = next(one for one in usual.thresholds if one.rate == 0.2)
    assert found.wrong / found.accepted == pytest.approx(0.2, abs=0.03)


def test_what_is_certified_holds_in_nine_of_ten_traverses():
    """Answers are right as often as they say: above p the share of wrong ones is (1 - p) / 2."""
    kept = []
    for seed in range(200):
        least = certified(*drawn(300, seed), 0.2)
        kept.append(least is None or (1 - least) / 2 <= 0.2)
    assert np.mean(kept) >= 0.88
    assert certified(*drawn(10), 0.2) is None


def test_the_interval_of_none_and_of_all():
    assert interval(0, 0) == (0.0, 1.0)
    assert interval(0, 20)[1] == pytest.approx(1 - 0.05 ** (1 / 20))
    assert interval(20, 20) == (pytest.approx(0.05 ** (1 / 20)), 1.0)


@pytest.fixture
def site(tmp_path):
    """A map of twelve places."""
    build_map(FakeModel(), tmp_path / 'm.r2map', frames(), Config())
    return tmp_path / 'm.r2map'


def test_a_traverse_moves_the_threshold_of_its_map(site, monkeypatch):
    bank = np.zeros((4, FakeModel().spec.descriptor_dim), np.float16)
    known = made(on('logit', 4.0, -4.0), on('logit', 0.0, 4.0), bank=bank)
    monkeypatch.setattr(judge, 'trust_for', lambda *_: known)
    with PlaceMap.open(site) as place_map:
        risk = assess_traverse(judge.Judge(search_on(place_map)), [*frames(), *frames()], 3.0)
        with pytest.raises(MapError, match='has 12 images with a pose, 20 needed'):
            assess_traverse(judge.Judge(search_on(place_map)), frames(), 3.0)
    assert (risk.queries, risk.right) == (24, 24)
    with PlaceMap.open(site, writable=True) as place_map:
        write_risk(place_map, risk)
        assert risk_of(place_map, Config()) == risk
        assert risk_of(place_map, with_values(Config(), {'rerank.candidates': 5})) is None
        required = recognizer_on(place_map).recognize(Frame(0, picture(4))).required_probability
    assert required == pytest.approx(risk.threshold(0.1)) and required < known.threshold(0.1)
    assert [one.rate for one in risk.thresholds] == list(RATES)


def test_weights_without_a_fitted_probability_are_not_assessed(site):
    with PlaceMap.open(site) as place_map, pytest.raises(MapError, match='no fitted probability'):
        assess_traverse(judge.Judge(search_on(place_map)), frames(), 3.0)
