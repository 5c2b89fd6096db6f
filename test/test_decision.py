# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The filter over places: when it is localized, when lost, and how sure of the position."""

import numpy as np
import pytest

from r2former_ros import decision as decision_module
from r2former_ros.config import Config, with_values
from r2former_ros.decision import PlaceFilter, pose_covariance
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.maps.table import PlaceTable
from r2former_ros.records import Belief, Hypothesis, Place, State

STEP_M = 3.0
PLACES = [Place(i, 0, pose_from_yaw(STEP_M * i, 0.0, 0.0), '') for i in range(200)]
UNPOSED = [Place(i, 0, None, '') for i in range(200)]
RNG_SEED = 7


def make_filter(places=PLACES, **changes):
    """Make a filter with some settings changed."""
    values = {f'decision.{name}': value for name, value in changes.items()}
    return PlaceFilter(PlaceTable.of(places), with_values(Config(), values).decision)


def see(decision, *rows, score=0.95, odometry=None, min_score=0.5):
    """Show an image that names places, and return state and belief."""
    hypotheses = [Hypothesis(decision._places.at(row), 0.9, score) for row in rows]
    return decision.decide(
        hypotheses, [odds(score) / odds(min_score)] * len(hypotheses), odometry)


def odds(probability):
    """Return p / (1 - p)."""
    return probability / max(1 - probability, 1e-15)


def drive(decision, rows, **more):
    """Show an image at each of the places in turn, and return the states."""
    return [look(decision, row, **more)[0] for row in rows]


def look(decision, row, **more):
    """Show an image that names a place and its neighbours, as real ones do."""
    return see(decision, row, *range(row - 2, row), *range(row + 1, row + 3), **more)


@pytest.mark.parametrize('places', [PLACES, UNPOSED])
@pytest.mark.parametrize('frames', [2, 3, 6])
def test_localized_needs_so_many_images_that_agree(places, frames):
    states = drive(make_filter(places, agreement_frames=frames), range(40, 50))
    assert states[: frames - 1] == [State.CANDIDATE] * (frames - 1)
    first = states.index(State.LOCALIZED)
    assert first <= frames + 2
    assert set(states[first:]) == {State.LOCALIZED}


@pytest.mark.parametrize('followed', [512, 10])
def test_an_expected_position_helps_but_never_localizes_alone(monkeypatch, followed):
    monkeypatch.setattr(decision_module, 'ACTIVE_PLACES', followed)
    plain, expecting = make_filter(), make_filter()
    expecting.expect(np.array([STEP_M * 40, 0.0, 0.0]))
    assert expecting._belief.sum() == pytest.approx(plain._belief.sum())
    assert see(expecting)[0] is State.LOST
    expecting.expect(np.array([STEP_M * 40, 0.0, 0.0]))
    (_, with_prior), (_, without) = look(expecting, 40), look(plain, 40)
    assert with_prior.probability > without.probability
    expecting.expect(np.array([STEP_M * 40, 0.0, 0.0]))
    assert look(expecting, 120)[1].place.place_id == 120
    expecting.expect(np.array([-500.0, 0.0, 0.0]))  # nothing is near
    assert look(expecting, 40)[1].probability == pytest.approx(without.probability)


def test_images_that_name_places_apart_never_localize():
    rows = [2 + 61 * i % 196 for i in range(196)]  # no two of four in a row are near
    assert State.LOCALIZED not in drive(make_filter(), rows)


@pytest.mark.parametrize('step_m', [0.0, STEP_M])
def test_being_named_counts_again_as_the_camera_moves(step_m):
    """The scores say nothing; standing still, neither does the same scene again."""
    decision = make_filter()
    for step in range(60):
        odometry = pose_from_yaw(step_m * step, 0.0, 0.0)
        state, belief = look(decision, 50 + step * bool(step_m), odometry=odometry, score=0.5)
    assert (state is State.LOCALIZED) == (step_m > 0)
    assert (belief.probability > 0.9) == (step_m > 0)


def test_the_way_back_is_as_long_on_a_large_map():
    """Chance names a place more rarely there."""
    firsts = []
    for count in (200, 5000):
        places = [Place(i, 0, pose_from_yaw(STEP_M * i, 0.0, 0.0), '') for i in range(count)]
        states = drive(make_filter(places), range(40, 60), score=0.8)
        firsts.append(states.index(State.LOCALIZED))
    assert abs(firsts[1] - firsts[0]) <= 1


def test_one_outlier_moves_neither_state_nor_place():
    decision = make_filter()
    drive(decision, range(40, 46))
    state, belief = look(decision, 150)
    assert state is State.LOCALIZED
    assert abs(belief.place.place_id - 46) <= 3


@pytest.mark.parametrize('with_odometry', [False, True])
def test_a_kidnapped_robot_is_lost_and_found_again(with_odometry):
    def odometry(step):
        return pose_from_yaw(STEP_M * step, 0.0, 0.0) if with_odometry else None

    decision = make_filter()
    for step, row in enumerate([*range(20, 30), *range(150, 165)]):
        state, belief = look(decision, row, odometry=odometry(step))
        if step == 9:
            assert state is State.LOCALIZED
        if step in (11, 12):
            assert state in (State.LOST, State.CANDIDATE)
    assert state is State.LOCALIZED and abs(belief.place.place_id - 164) <= 2


def test_from_localized_the_way_leads_over_lost():
    decision = make_filter()
    states = drive(decision, [*range(20, 30), *range(150, 160)])
    left = next(i for i in range(10, 20) if states[i] is not State.LOCALIZED)
    assert states[left] is State.LOST


def test_a_place_that_jumps_is_lost_however_probable():
    decision = make_filter(keep_probability=0.0)
    assert drive(decision, [*range(20, 30)])[-1] is State.LOCALIZED
    assert State.LOST in drive(decision, [*range(150, 160)])


def test_leaving_the_map_is_lost_and_stays_lost():
    decision = make_filter()
    drive(decision, range(20, 30))
    states = [see(decision, *rows, score=0.1)[0]
              for rows in np.random.default_rng(RNG_SEED).integers(0, 200, (30, 5))]
    assert State.LOCALIZED not in states[3:] and State.CANDIDATE not in states
    assert states[-1] is State.LOST


def test_odometry_carries_the_place_through_images_that_say_little():
    """Twenty metres a step: without odometry the belief cannot follow."""
    places = [Place(i, 0, pose_from_yaw(5.0 * i, 0.0, 0.0), '') for i in range(100)]
    found = []
    for use in (True, False):
        decision = make_filter(places, odometry_error_percent=5.0)
        for step in range(12):
            odometry = pose_from_yaw(20.0 * step, 5.0, 0.0) if use else None
            if step < 6:
                look(decision, 10 + 4 * step, odometry=odometry)
            else:  # every place is as likely as being outside the map
                state, belief = see(decision, *range(100), odometry=odometry, score=0.5)
        found.append((state, abs(belief.place.place_id - 54) <= 2))
    assert found[0] == (State.LOCALIZED, True)
    assert found[1] != found[0]


def test_the_score_counts_against_the_smallest_one():
    low = drive(make_filter(), range(40, 50), score=0.7, min_score=0.8)
    high = drive(make_filter(), range(40, 50), score=0.7, min_score=0.1)
    assert State.LOCALIZED not in low and high[-1] is State.LOCALIZED


def test_a_reset_forgets_and_an_empty_map_is_lost():
    decision = make_filter()
    drive(decision, range(40, 50))
    decision.reset()
    assert see(decision, 50)[0] is State.CANDIDATE
    assert make_filter([]).decide([], []) == (State.LOST, None)


def test_probabilities_stay_probabilities():
    decision = make_filter()
    for row in np.random.default_rng(RNG_SEED).integers(0, 200, 300):
        _, belief = see(decision, row, score=float(row) / 200)
        assert decision._belief.extra.min() >= 0 and decision._belief.sum() <= 1 + 1e-9
        assert 0 <= belief.probability <= 1 + 1e-9


@pytest.mark.parametrize('with_odometry', [False, True])
def test_a_large_map_is_followed_in_part_as_it_would_be_whole(monkeypatch, with_odometry):
    places = [Place(i, 0, pose_from_yaw(STEP_M * i, 0.0, 0.0), '') for i in range(1500)]
    drives, followed = [], []
    for most in (1500, 512):
        monkeypatch.setattr('r2former_ros.decision.ACTIVE_PLACES', most)
        decision, rng = make_filter(places), np.random.default_rng(RNG_SEED)
        drives.append([
            see(decision, row, *rng.choice(1500, 3, replace=False),
                score=rng.uniform(0.8, 0.99),
                odometry=pose_from_yaw(STEP_M * step, 0.0, 0.0) if with_odometry else None)
            for step, row in enumerate([*range(40, 60), *range(1000, 1020)])])
        followed.append(len(decision._belief.rows))
    for (state, whole), (other, part) in zip(*drives, strict=True):
        assert other is state and part.place == whole.place
        assert part.probability == pytest.approx(whole.probability, abs=1e-3)
        assert part.covariance_m2 == pytest.approx(whole.covariance_m2, rel=1e-2, abs=1e-6)
    assert State.LOCALIZED in {state for state, _ in drives[0]}
    assert followed[0] == 1500 and followed[1] < 1000


def test_the_covariance_grows_with_the_spread_and_is_never_small():
    decision = make_filter()
    drive(decision, range(40, 50))
    sure = see(decision, 50)[1].covariance_m2
    unsure = see(decision, *range(50, 70, 2))[1].covariance_m2
    assert unsure[0, 0] > sure[0, 0] >= STEP_M**2
    assert sure[1, 1] == pytest.approx(STEP_M**2)
    config = Config().decision
    covariance = pose_covariance(Belief(PLACES[0], 1.0, sure), config)
    assert covariance[0, 0] == pytest.approx(25.0 + sure[0, 0])
    assert (np.linalg.eigvalsh(covariance) > 0).all()
    assert np.diag(pose_covariance(Belief(UNPOSED[0], 1.0), config))[:3].tolist() == [25.0] * 3
