# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Probabilities from signals: the models, what they are made from, and what is accepted."""

import math

import numpy as np
import pytest
from fakes import FakeModel, frames, picture, recognizer_on

from r2former_ros.config import Config, with_values
from r2former_ros.errors import WeightsError
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.build import build_map
from r2former_ros.maps import judge, trust
from r2former_ros.maps.calibration import probability_of
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.trust import Logistic, Trust, fit_logistic, signals_of, trust_for
from r2former_ros.records import Frame, Hypothesis, Place

BANK = np.eye(6, dtype=np.float16)


def hypothesis(x_m, odds, similarity=0.5):
    """Make a hypothesis at a position along x."""
    pose = None if x_m is None else pose_from_yaw(x_m, 0, 0)
    return Hypothesis(Place(1, 0, pose, ''), similarity, probability_of(odds))


def on(name, weight, intercept=0.0):
    """Make a model of one signal."""
    return Logistic((name,), (0.0,), (1.0,), (weight,), intercept)


def made(in_map, right, fingerprint='fake000000000000', bank=BANK):
    """Make a file's content."""
    return Trust(fingerprint, in_map, right, ((0.05, 0.9), (0.1, 0.8), (0.3, 0.4)), bank)


def test_the_signals_of_three_hypotheses_by_hand():
    said = [hypothesis(0, 2.0, 0.9), hypothesis(5, 1.0, 0.8), hypothesis(50, -1.0, 0.6)]
    query, place = np.zeros(6, np.float32), np.full(6, 0.5, np.float32)
    query[2] = 0.7
    found = signals_of(said, query, place, BANK, radius_m=10.0)
    shares = np.exp(np.array([2.0, 1.0, -1.0]) / trust.TEMPERATURE)
    assert found['logit'] == pytest.approx(2.0) and found['gap'] == pytest.approx(3.0)
    assert found['deviation'] == pytest.approx(np.std([2.0, 1.0, -1.0]))
    assert found['mass'] == pytest.approx(shares[:2].sum() / shares.sum())
    assert found['similarity_gap'] == pytest.approx(0.3)
    assert found['bank'] == pytest.approx(0.2, abs=1e-3)
    assert found['hubness'] == pytest.approx(0.5)
    alone = signals_of(said[:2], query, place, BANK, radius_m=10.0)
    assert alone['gap'] == trust.FARTHEST_GAP and alone['mass'] == pytest.approx(1.0)


def test_places_without_poses_are_the_same_by_their_order():
    said = [Hypothesis(Place(number, 0, None, ''), 0.5, 0.5) for number in (7, 9, 10)]
    assert trust.same_place(said, 10.0).tolist() == [
        [True, True, False], [True, True, True], [False, True, True]]


def test_the_fit_finds_the_odds_that_made_the_labels():
    rng = np.random.default_rng(0)
    signals = rng.normal(3.0, 2.0, (20_000, 2))
    labels = rng.random(20_000) < 1 / (1 + np.exp(-(signals[:, 0] - 3)))
    model = fit_logistic(('logit', 'mass'), signals, labels.astype(float), np.ones(20_000))
    for logit in (0.0, 3.0, 5.0):
        said = model({'logit': logit, 'mass': 2.0})
        assert said == pytest.approx(1 / (1 + math.exp(3 - logit)), abs=0.02)


def test_a_place_shares_its_probability_and_the_rest_is_divided():
    said = [hypothesis(0, 1.0), hypothesis(5, 0.9), hypothesis(50, 0.5), hypothesis(90, 0.0)]
    confidence = made(on('logit', 0.0, 2.0), on('logit', 0.0, 1.0)).confidence(
        said, {'logit': 1.0}, radius_m=10.0)
    best = probability_of(2.0) * probability_of(1.0)
    assert confidence.probability == pytest.approx(best)
    found = confidence.probabilities
    assert found[0] == found[1] == pytest.approx(best) and found[2] > found[3]
    assert found[1:].sum() == pytest.approx(probability_of(2.0))
    assert confidence.evidence == pytest.approx(found / (1 - probability_of(2.0)))


def test_a_file_gives_back_what_was_saved(tmp_path):
    saved = made(on('logit', 0.5, 0.25), on('mass', 2.0))
    saved.save(tmp_path / 'mine.trust.safetensors')
    for weights in (tmp_path / 'mine.safetensors', tmp_path / 'mine.pth'):
        found = trust_for('fake000000000000', weights)
        assert (found.in_map, found.right, found.thresholds) == (
            saved.in_map, saved.right, saved.thresholds)
        assert np.array_equal(found.bank, BANK)
        assert trust_for('other', weights) is None
    (tmp_path / 'bad.trust.safetensors').write_bytes(b'no')
    with pytest.raises(WeightsError, match='bad.trust.safetensors: cannot be read'):
        trust_for('fake000000000000', tmp_path / 'bad.safetensors')


def test_the_threshold_lies_between_the_measured_rates():
    known = made(on('logit', 1.0), on('logit', 1.0))
    assert known.threshold(0.1) == pytest.approx(0.8)
    assert known.threshold(0.075) == pytest.approx(0.85)
    assert known.threshold(0.001) == 0.9 and known.threshold(0.4) == 0.5


@pytest.fixture
def place_map(tmp_path):
    """A map of twelve places, open."""
    build_map(FakeModel(), tmp_path / 'm.r2map', frames(), Config())
    with PlaceMap.open(tmp_path / 'm.r2map') as opened:
        yield opened


@pytest.fixture
def trusted(monkeypatch):
    """Coefficients for the stand-in model: the score decides whether an image is in the map."""
    bank = np.zeros((4, FakeModel().spec.descriptor_dim), np.float16)
    known = made(on('logit', 4.0, -4.0), on('logit', 0.0, 4.0), bank=bank)
    monkeypatch.setattr(judge, 'trust_for', lambda *_: known)
    return known


def test_the_probability_decides_where_it_is_known(place_map, trusted):
    recognizer = recognizer_on(place_map)
    seen = recognizer.recognize(Frame(0, picture(4)))
    foreign = recognizer.recognize(Frame(0, picture(999)))
    assert seen.accepted and not foreign.accepted
    assert seen.required_probability == pytest.approx(trusted.threshold(0.1))
    assert seen.best.probability > 0.95 and foreign.best.probability < 0.5
    recognizer.use(with_values(recognizer.config, {
        'decision.false_discovery_rate': 0.0, 'decision.min_score': 0.0}))
    by_score = recognizer.recognize(Frame(0, picture(999)))
    assert by_score.accepted and math.isnan(by_score.required_probability)
    assert by_score.best.probability == pytest.approx(foreign.best.probability)


def test_without_coefficients_the_score_decides(place_map):
    recognizer = recognizer_on(place_map)
    seen = recognizer.recognize(Frame(0, picture(4)))
    assert seen.accepted and math.isnan(seen.required_probability)
    assert math.isnan(seen.best.probability)


def test_two_thresholds_for_two_jobs(place_map):
    """The filter may take as evidence what is not accepted by itself."""
    recognizer = recognizer_on(place_map)
    score = recognizer.recognize(Frame(0, picture(4, brightness=12))).best.score
    recognizer.use(with_values(Config(), {
        'decision.min_score': (1 + score) / 2, 'decision.evidence_score': score / 2}))
    recognizer.filter.reset()
    found = recognizer.recognize(Frame(0, picture(4, brightness=12)))
    assert not found.accepted and found.state.value == 'candidate'


def test_signals_need_scores_of_the_reranker(place_map, trusted):
    recognizer = recognizer_on(place_map, with_values(Config(), {'rerank.candidates': 0}))
    assert math.isnan(recognizer.recognize(Frame(0, picture(4))).best.probability)


def test_a_measured_pose_speaks_for_its_place(place_map, trusted):
    search = recognizer_on(place_map).search
    query = search.encode(search.prepare(Frame(0, picture(4))))
    hypotheses = search.rerank(query, search.retrieve(query))
    judged = judge.Judge(search)
    plain, measured = (judged.judge(query, hypotheses, one)
                       for one in (None, hypotheses[-1].place.place_id))
    assert measured.evidence[-1] == pytest.approx(judge.MEASURED_RATIO * plain.evidence[-1])
    assert plain.probabilities[-1] < measured.probabilities[-1] < 1
    assert measured.probabilities[0] == plain.probabilities[0]
