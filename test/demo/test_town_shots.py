# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from r2former_ros.demo import town_shots
from r2former_ros.demo.town import Town, TownCamera, pose_at
from r2former_ros.demo.town_shots import partners_by_depth, shots_of_town

SIZE = (96, 128)


def view(town, along_m, aside_m=0.0, yaw_deg=0.0):
    point, heading = town.on_route(along_m)
    left = np.array([-np.sin(heading), np.cos(heading)])
    pose = pose_at(np.array([*(point + aside_m * left), 1.6]),
                   yaw_rad=heading + np.radians(yaw_deg))
    camera = TownCamera(width_px=SIZE[1], height_px=SIZE[0])
    return town_shots._View(pose, camera, *town.view_with_depth(pose, camera=camera))


def test_patches_have_themselves_as_partners_in_the_same_view():
    one = view(Town(1), 40.0)
    partners = partners_by_depth(one, one, SIZE)
    own = np.array([[x, y] for y in range(6) for x in range(8)])
    on_the_town = np.isfinite(partners[:, 0])
    assert on_the_town.sum() > 20
    np.testing.assert_allclose(partners[on_the_town], own[on_the_town], atol=1e-6)
    assert np.isinf(partners).any()  # the sky
    assert np.isnan(partners[:, 0]).mean() < 0.1  # edges


def test_turning_to_the_left_moves_patches_to_the_right():
    town = Town(1)
    partners = partners_by_depth(view(town, 40.0), view(town, 40.0, yaw_deg=15.0), SIZE)
    seen = np.isfinite(partners[:, 0])
    own = np.array([[x, y] for y in range(6) for x in range(8)])
    assert seen.sum() > 10
    assert (partners[seen, 0] - own[seen, 0] > 0.8).all()


def test_queries_see_what_their_places_show(monkeypatch):
    monkeypatch.setattr(town_shots, 'PLACES', 30)
    monkeypatch.setattr(town_shots, 'QUERIES', 12)
    shots = list(shots_of_town(2, SIZE))
    queries = [shot for shot in shots if shot.positive is not None]
    assert len(shots) - len(queries) == 60
    assert len(queries) > 4
    for shot in queries:
        place = shots[shot.positive]
        assert np.hypot(*np.subtract(shot.place_m, place.place_m)) <= town_shots.NEAR_M
        assert np.isfinite(shot.partners[:, 0]).mean() >= town_shots.LEAST_COMMON
        assert shot.group == place.group == 'town 2'
        assert shot.image.shape == (*SIZE, 3)


@pytest.mark.parametrize('aside_m', [0.0, 2.0])
def test_what_another_view_hides_has_no_partner(aside_m):
    town = Town(1)
    here, behind = view(town, 40.0, aside_m), view(town, 40.0, yaw_deg=180.0)
    assert not np.isfinite(partners_by_depth(here, behind, SIZE)).any()
