# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The synthetic town: its plan, the laps through it, its geometry and its light."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from r2former_ros.demo.town import DAY, DUSK, LIGHTS, NIGHT, Town, TownCamera, pose_at
from r2former_ros.demo.town.raster import SKY, draw
from r2former_ros.demo.town.streets import make_plan
from r2former_ros.demo.town.surfaces import Mesh, Surface, Texture, plain, wall
from r2former_ros.records import Image

SMALL = TownCamera(width_px=160, height_px=120)
PLACES = 8


@pytest.fixture(scope='module')
def town() -> Town:
    return Town(3)


@pytest.fixture(scope='module')
def laps(town: Town) -> tuple[list[Image], list[Image]]:
    """Eight places by day, and again at dusk from 0.8 m further left."""
    day = town.lap(0, PLACES, light=DAY, camera=SMALL)
    dusk = town.lap(1, PLACES, light=DUSK, camera=SMALL, lateral_offset_m=0.8)
    return [f.image for f, _ in day], [f.image for f, _ in dusk]


def facing_east(*surfaces: Surface) -> np.ndarray:
    """Draw surfaces from the origin, 1 m up, looking along x; the colour buffer."""
    return draw(Mesh(surfaces), SMALL, pose_at(np.array([0.0, 0.0, 1.0]), yaw_rad=0.0)).colour


def wall_ahead(texture: Texture, x_m: float = 10.0, half_m: float = 2.0) -> Surface:
    left, right = np.array([x_m, half_m]), np.array([x_m, -half_m])
    return wall(left, right, bottom_m=0.0, top_m=3.0, texture=texture)


def outlines(image: Image) -> np.ndarray:
    """Describe an image by gradient orientations on a 6 by 8 grid, unit norm."""
    grey = np.log1p(image.mean(axis=2))
    dy, dx = np.gradient(cv2.GaussianBlur(grey, (0, 0), 1.5))
    bins = ((np.arctan2(dy, dx) % np.pi) / np.pi * 8).astype(int) % 8
    size = np.hypot(dx, dy)
    planes = [cv2.resize(size * (bins == b), (8, 6), interpolation=cv2.INTER_AREA)
              for b in range(8)]  # fmt: skip
    cells = np.stack(planes, axis=-1)
    cells = cells / (np.linalg.norm(cells, axis=-1, keepdims=True) + 0.05)
    cells -= cells.mean(axis=(0, 1))
    return np.asarray(cells / np.linalg.norm(cells)).ravel()


def test_same_seed_gives_the_same_pixels(town: Town) -> None:
    pose = town.poses(0, 5)[2].pose
    first = town.view(pose, camera=SMALL, lap=1)
    again = Town(3).view(pose, camera=SMALL, lap=1)
    np.testing.assert_array_equal(first, again)


def test_seeds_give_different_towns(town: Town) -> None:
    plans = [make_plan(np.random.default_rng([seed, 0])) for seed in range(4)]
    assert len({plan.route.round(3).tobytes() for plan in plans}) == 4
    np.testing.assert_array_equal(plans[3].route, town.plan().route)


@pytest.mark.parametrize('seed', range(6))
def test_no_building_stands_in_the_way(seed: int) -> None:
    plan = make_plan(np.random.default_rng([seed, 0]))
    assert len(plan.footprints) > 30
    for footprint in plan.footprints:
        ring = footprint.astype(np.float32).reshape(-1, 1, 2)
        inside_m = [cv2.pointPolygonTest(ring, p, True) for p in plan.route[::3].tolist()]
        assert max(inside_m) < -3.0, 'the route keeps at least 3 m from every house'


@pytest.mark.parametrize('seed', range(6))
def test_loop_is_200_to_350_m_in_even_steps(seed: int) -> None:
    route = make_plan(np.random.default_rng([seed, 0])).route
    steps = np.linalg.norm(np.roll(route, -1, axis=0) - route, axis=1)
    assert 200 < steps.sum() < 350
    assert steps.max() < 1.1 * steps.min(), 'and it closes'


def test_lap_is_closed_and_keeps_its_speed(town: Town) -> None:
    poses = town.poses(0, 120, speed_mps=5.0)
    at = np.array([p.pose[:3, 3] for p in poses])
    steps = np.linalg.norm(np.roll(at, -1, axis=0) - at, axis=1)
    stamps = np.array([p.stamp_ns for p in poses])
    speed = steps[:-1] / np.diff(stamps) * 1e9
    assert steps[-1] == pytest.approx(steps.mean(), rel=0.1), 'the last frame leads to the first'
    assert speed == pytest.approx(np.full(119, 5.0), rel=0.12)
    assert town.poses(1, 120, speed_mps=5.0)[0].stamp_ns > stamps[-1]


def test_poses_are_rotations_that_look_along_the_drive(town: Town) -> None:
    poses = [p.pose for p in town.poses(0, 200)]
    for here, ahead in zip(poses, poses[1:]):
        np.testing.assert_allclose(here[:3, :3] @ here[:3, :3].T, np.eye(3), atol=1e-12)
        step = ahead[:3, 3] - here[:3, 3]
        assert here[:3, 0] @ step / np.linalg.norm(step) > 0.97


def test_lateral_offset_is_to_the_left(town: Town) -> None:
    middle, moved = town.poses(0, 40), town.poses(0, 40, lateral_offset_m=0.7)
    for a, b in zip(middle, moved):
        shift = a.pose[:3, :3].T @ (b.pose[:3, 3] - a.pose[:3, 3])
        # The wander turns the camera by up to about 2 degrees against the route.
        np.testing.assert_allclose(shift, [0.0, 0.7, 0.0], atol=0.05)


def test_frames_are_rgb_uint8_of_the_asked_size(town: Town) -> None:
    frame, pose = next(town.lap(0, 4, camera=TownCamera(width_px=96, height_px=64)))
    assert frame.image.shape == (64, 96, 3)
    assert frame.image.dtype == np.uint8
    assert frame.image.std() > 20
    assert frame.stamp_ns == pose.stamp_ns
    sky, street = frame.image[2].mean(axis=0), frame.image[-3].mean(axis=0)
    assert sky[2] > sky[0] and sky.mean() > street.mean(), 'RGB: the sky of a day is blue above'


def test_wall_lies_where_the_pinhole_formula_says() -> None:
    colour = facing_east(wall_ahead(plain((255, 0, 0))))
    rows, columns = np.nonzero(colour[..., 0])
    focal = 80 / np.tan(np.radians(78 / 2))
    assert columns.min() == pytest.approx(79.5 - focal * 2 / 10, abs=1)
    assert columns.max() == pytest.approx(79.5 + focal * 2 / 10, abs=1)
    assert rows.min() == pytest.approx(59.5 - focal * 2 / 10, abs=1), 'the top is 2 m above'
    assert rows.max() == pytest.approx(59.5 + focal * 1 / 10, abs=1), 'the foot is 1 m below'


def test_projection_agrees_with_the_drawing() -> None:
    pose = pose_at(np.array([1.0, -2.0, 1.4]), yaw_rad=0.2, pitch_rad=0.05)
    buffers = draw(Mesh([wall_ahead(plain((9, 9, 9)))]), SMALL, pose)
    corner = SMALL.project(np.array([[10.0, 2.0, 3.0]]), pose)[0]
    rows, columns = np.nonzero(buffers.surface == 0)
    assert columns.min() == pytest.approx(corner[0], abs=1)
    top = rows[columns <= columns.min() + 1].min()
    assert top == pytest.approx(corner[1], abs=2)
    depth = 1 / buffers.inverse_depth[rows[columns == columns.min()], columns.min()]
    assert depth == pytest.approx(np.full(len(depth), corner[2]), rel=0.03)


def test_textures_are_not_mirrored() -> None:
    red_then_green: Image = np.zeros((8, 8, 4), np.uint8)
    red_then_green[:, :4, 0] = red_then_green[:, 4:, 1] = 200
    red_then_green[:4, :, 2] = 200
    colour = facing_east(wall_ahead(Texture(lambda: red_then_green)))
    rows, columns = np.nonzero(colour.any(axis=2))
    left, right = colour[rows[0] + 2, columns.min() + 3], colour[rows[0] + 2, columns.max() - 3]
    assert left[0] > 150 > left[1] and right[1] > 150 > right[0]
    assert left[2] > 150 > colour[rows[-1] - 2, columns.min() + 3][2], 'row 0 is the top'


def test_near_wall_hides_the_far_one_in_either_order() -> None:
    far, near = wall_ahead(plain((255, 0, 0)), 20.0, 9.0), wall_ahead(plain((0, 255, 0)), 10.0)
    for order in ((far, near), (near, far)):
        middle = facing_east(*order)[60, 80]
        np.testing.assert_array_equal(middle[:3], [0, 255, 0])


def test_wall_that_passes_the_camera_is_clipped() -> None:
    beside = wall(np.array([-5.0, 2.0]), np.array([30.0, 2.0]), bottom_m=0.0, top_m=3.0,
                  texture=plain((255, 0, 0)))  # fmt: skip
    colour = facing_east(beside)
    assert colour[60, :60, 0].all(), 'it fills the left of the image up to its far end'
    assert not colour[:, 82:, 0].any(), 'and nothing to the right'


def test_turning_left_moves_the_view_right(town: Town) -> None:
    base = town.poses(0, 5)[1].pose
    turn = pose_at(np.zeros(3), yaw_rad=0.1)
    turned = base.copy()
    turned[:3, :3] = base[:3, :3] @ turn[:3, :3]
    before, after = (town.view(p, camera=SMALL).mean(axis=2)[40:80] for p in (base, turned))
    expected_px = round(SMALL.focal_px * np.tan(0.1))
    errors = {d: np.abs(after[:, 30 + d : 130 + d] - before[:, 30:130]).mean()
              for d in (-expected_px, 0, expected_px)}  # fmt: skip
    assert min(errors, key=errors.__getitem__) == expected_px


def test_streets_have_no_holes(town: Town) -> None:
    mesh = town._mesh(0)
    for pose in town.poses(0, PLACES):
        buffers = draw(mesh, SMALL, pose.pose)
        assert not (buffers.surface[68:] == SKY).any(), 'below the horizon there is always ground'


def test_lights_differ_in_brightness(town: Town) -> None:
    pose = town.poses(0, 5)[1].pose
    mean = {n: town.view(pose, light=li, camera=SMALL).mean() for n, li in LIGHTS.items()}
    assert mean['night'] < 0.7 * mean['dusk'] < 0.7 * mean['day']
    assert mean['dusk'] < mean['overcast']


def test_windows_shine_at_night(town: Town) -> None:
    pose = town.poses(0, 5)[1].pose
    dark = town.view(pose, light=NIGHT, camera=SMALL)
    assert np.percentile(dark, 50) < 70 and dark.max() > 200


def test_cars_and_people_change_between_laps_but_not_between_calls(town: Town) -> None:
    poses = [p.pose for p in town.poses(0, 4)]
    laps = [[draw(town._mesh(lap), SMALL, pose).colour for pose in poses] for lap in (0, 1, 0)]
    changed = [float((a != b).any(axis=2).mean()) for a, b in zip(laps[0], laps[1])]
    assert 0.002 < np.mean(changed) < 0.4, 'some of the picture changes, most does not'
    np.testing.assert_array_equal(laps[0], laps[2])


def test_place_looks_more_like_itself_than_like_others(
    laps: tuple[list[Image], list[Image]],
) -> None:
    day, dusk = (np.array([outlines(image) for image in lap]) for lap in laps)
    similarity = day @ dusk.T
    same, others = np.diag(similarity), similarity[~np.eye(PLACES, dtype=bool)]
    assert same.mean() > others.mean() + 0.2
    assert (similarity.argmax(axis=1) == np.arange(PLACES)).mean() >= 0.75
