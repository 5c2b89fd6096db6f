# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Landmarks and poses from random scenes whose truth is known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from r2former_ros.geometry.absolute_pose import Gates, QueryView, solve
from r2former_ros.geometry.bundle import Prior
from r2former_ros.geometry.cameras import rays_of
from r2former_ros.geometry.correspondences import mutual_by_cosine, mutual_by_ratio
from r2former_ros.geometry.poses import angle_deg, distance_m, inverse
from r2former_ros.geometry.structure import PosedView, landmarks_of
from r2former_ros.records import Camera, Keypoints, Landmarks

WIDTH, HEIGHT, FOCAL_PX = 640, 480, 450.0
CAMERA = Camera(np.array([[FOCAL_PX, 0, 319.5], [0, FOCAL_PX, 239.5], [0, 0, 1]]), WIDTH, HEIGHT)
PRIOR = Prior(0.05, np.radians(0.3))
NOISE_PX = 0.7


def scene(rng, count=400, near=4.0, far=25.0):
    """Points (N, 3) in optical axes of the first camera, and a descriptor for each."""
    depth = rng.uniform(near, far, count)
    xy = rng.uniform([-80, -60], [WIDTH + 80, HEIGHT + 60], (count, 2))
    points = np.column_stack([rays_of(xy, CAMERA) * depth[:, None], depth])
    return points, rng.integers(0, 255, (count, 32)).astype(np.uint8)


def moved(rng, shift_m=1.0, turn_deg=8.0):
    pose = np.eye(4)
    pose[:3, 3] = rng.normal(0, shift_m, 3)
    pose[:3, :3] = Rotation.from_rotvec(np.radians(rng.normal(0, turn_deg, 3))).as_matrix()
    return pose


def pixels(points, place_T_camera, rng, noise_px=NOISE_PX):
    """Pixels (K, 2) float32 of the points in view, with noise, and their rows."""
    seen = (points - place_T_camera[:3, 3]) @ place_T_camera[:3, :3]
    with np.errstate(divide='ignore', invalid='ignore'):
        xy = seen[:, :2] / seen[:, 2:] * FOCAL_PX + [319.5, 239.5]
    inside = (seen[:, 2] > 0.5) & (xy > 0).all(1) & (xy < [WIDTH, HEIGHT]).all(1)
    rows = np.flatnonzero(inside)
    return (xy[rows] + rng.normal(0, noise_px, (len(rows), 2))).astype(np.float32), rows


def view(points, descriptors, place_T_camera, rng, given=None):
    xy, rows = pixels(points, place_T_camera, rng)
    keypoints = Keypoints('sift', xy, descriptors[rows])
    return PosedView.of(keypoints, CAMERA, place_T_camera if given is None else given)


def ratio(first, second):
    return mutual_by_ratio(first, second, 0.85)


def query_of(xy):
    return QueryView(rays_of(xy, CAMERA), xy, WIDTH, HEIGHT, FOCAL_PX)


def drive(rng, points, descriptors, *, error_m=0.0, error_deg=0.0, step_m=1.5):
    """A place and six neighbours along a line; the given poses of the neighbours err."""
    views = []
    for number in (0, -3, -2, -1, 1, 2, 3):
        true = np.eye(4)
        true[:3, 3] = 0.7 * number * step_m, 0, 0.7 * number * step_m
        error = moved(rng, error_m, error_deg) if number else np.eye(4)
        views.append(view(points, descriptors, true, rng, given=true @ error))
    return views[0], views[1:]


def test_matching_is_mutual_and_clear():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 255, (30, 64)).astype(np.uint8)
    order = rng.permutation(30)
    for pairs in (ratio(first, first[order]), mutual_by_cosine(first, first[order], 0.99)):
        assert len(pairs) == 30
        assert (order[pairs[:, 1]] == pairs[:, 0]).all()
    twice = np.concatenate([first, first])
    assert len(ratio(first, twice)) == 0  # the second nearest is as near
    assert len(ratio(first[:0], first)) == len(ratio(first, first[:1])) == 0
    assert len(mutual_by_cosine(first, 255 - first, 0.999)) == 0


@pytest.mark.parametrize('error_m, error_deg', [(0.0, 0.0), (0.05, 0.3)])
def test_landmarks_survive_the_errors_of_the_map(error_m, error_deg):
    rng = np.random.default_rng(1)
    points, descriptors = scene(rng)
    place, neighbours = drive(rng, points, descriptors, error_m=error_m, error_deg=error_deg)
    landmarks = landmarks_of(place, neighbours, ratio, PRIOR)
    by_descriptor = {row.tobytes(): point for row, point in zip(descriptors, points)}
    true = np.array([by_descriptor[row.tobytes()] for row in landmarks.descriptors])
    error = np.linalg.norm(landmarks.xyz - true, axis=1) / true[:, 2]
    assert len(landmarks) > 150
    assert np.median(error) < 0.02
    assert 0 < landmarks.scale_sigma < 0.03


def test_pure_rotation_and_far_points_make_no_landmarks():
    rng = np.random.default_rng(2)
    points, descriptors = scene(rng)
    place = view(points, descriptors, np.eye(4), rng)
    turned = [view(points, descriptors, moved(rng, 0.0, 5.0), rng) for _ in range(3)]
    assert landmarks_of(place, turned, ratio, PRIOR) is None
    far = scene(rng, near=3000.0, far=9000.0)[0]
    place, neighbours = drive(rng, far, descriptors)
    assert landmarks_of(place, neighbours, ratio, PRIOR) is None
    assert landmarks_of(place, [], ratio, PRIOR) is None


def test_mapped_and_solved_from_images_of_points_alone():
    rng = np.random.default_rng(3)
    points, descriptors = scene(rng)
    place, neighbours = drive(rng, points, descriptors, error_m=0.03, error_deg=0.2)
    landmarks = landmarks_of(place, neighbours, ratio, PRIOR)
    true = moved(rng, 0.8, 6.0)
    xy, rows = pixels(points, true, rng)
    pairs = ratio(descriptors[rows], landmarks.descriptors)
    found = solve(query_of(xy), landmarks, pairs, threshold_px=3.0)
    assert Gates().reason(found) == ''
    assert distance_m(found.place_T_query, true) < 0.1
    assert angle_deg(found.place_T_query, true) < 0.5


def random_query(rng, noise_px, outliers, depth_sigma=0.0):
    """Matches of a random scene: landmarks with errors of depth, wrong matches among them."""
    points, _ = scene(rng, rng.integers(80, 300))
    true = moved(rng)
    xy, rows = pixels(points, true, rng, noise_px)
    stretched = 1 / (1 + rng.normal(0, depth_sigma, len(points)))
    landmarks = Landmarks('sift', (points * stretched[:, None]).astype(np.float32),
                          np.full(len(points), depth_sigma, np.float32),
                          np.zeros((len(points), 1), np.uint8))
    wrong = rng.random(len(rows)) < outliers
    rows[wrong] = rng.integers(0, len(points), wrong.sum())
    pairs = np.column_stack([np.arange(len(rows)), rows])
    return solve(query_of(xy), landmarks, pairs, threshold_px=3.0), true


@pytest.mark.parametrize('noise_px, outliers, depth_sigma', [
    (1.0, 0.0, 0.0), (0.7, 0.3, 0.0), (1.0, 0.5, 0.02), (2.0, 0.2, 0.0),
])
def test_the_covariance_holds_the_truth_as_often_as_it_says(noise_px, outliers, depth_sigma):
    rng = np.random.default_rng(4)
    inside, chi_squared_95 = [], {3: 7.815, 6: 12.592}
    for _ in range(120):
        found, true = random_query(rng, noise_px, outliers, depth_sigma)
        turn = Rotation.from_matrix(found.place_T_query[:3, :3] @ true[:3, :3].T).as_rotvec()
        error = np.concatenate([found.place_T_query[:3, 3] - true[:3, 3], turn])
        for size, limit in chi_squared_95.items():
            part = error[:size], found.covariance[:size, :size]
            inside.append((size, part[0] @ np.linalg.solve(part[1], part[0]) < limit))
    for size in chi_squared_95:
        assert 0.90 <= np.mean([held for one, held in inside if one == size]) <= 0.99


def test_matches_of_another_place_are_refused():
    rng = np.random.default_rng(5)
    accepted = 0
    for _ in range(40):
        found, _ = random_query(rng, 1.0, outliers=1.0)
        accepted += found is not None and Gates().reason(found) == ''
    assert accepted == 0


@pytest.mark.parametrize('gates, reason', [
    (Gates(min_inliers=10_000), 'inliers <'),
    (Gates(min_share=0.95), 'matches agree'),
    (Gates(min_cells=49), 'cells of the image'),
    (Gates(max_distance_m=0.01), 'm from the place'),
    (Gates(max_sigma_m=0.0001), 'sigma'),
])
def test_each_check_says_why(gates, reason):
    found, _ = random_query(np.random.default_rng(6), 1.0, outliers=0.3)
    assert reason in gates.reason(found)


def test_nothing_comes_of_nothing():
    landmarks = Landmarks('sift', np.zeros((0, 3), np.float32), np.zeros(0, np.float32),
                          np.zeros((0, 4), np.uint8))
    query = query_of(np.zeros((0, 2), np.float32))
    assert solve(query, landmarks, np.zeros((0, 2), np.intp), threshold_px=3.0) is None
    same = Landmarks('sift', np.ones((30, 3), np.float32), np.zeros(30, np.float32),
                     np.zeros((30, 4), np.uint8))
    pairs = np.column_stack([np.arange(30)] * 2)
    found = solve(query_of(np.full((30, 2), 100, np.float32)), same, pairs, threshold_px=3.0)
    assert found is None or Gates().reason(found)


def test_a_wall_seen_from_two_sides_gives_the_right_pose():
    rng = np.random.default_rng(7)
    points, descriptors = scene(rng, near=8.0, far=8.001)
    place, neighbours = drive(rng, points, descriptors)
    landmarks = landmarks_of(place, neighbours, ratio, PRIOR)
    true = moved(rng, 0.5, 4.0)
    xy, rows = pixels(points, true, rng)
    found = solve(query_of(xy), landmarks, ratio(descriptors[rows], landmarks.descriptors),
                  threshold_px=3.0)
    assert Gates().reason(found) or distance_m(found.place_T_query, true) < 0.15
    assert distance_m(inverse(inverse(true)), true) < 1e-9
