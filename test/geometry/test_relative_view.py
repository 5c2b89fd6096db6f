# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rotation and direction between two rendered views of a scene whose geometry is known."""

import cv2
import numpy as np
import pytest

from r2former_ros.geometry.cameras import supports
from r2former_ros.geometry.poses import BODY_T_OPTICAL, angle_deg, pose_from_yaw
from r2former_ros.geometry.relative_view import relative_view
from r2former_ros.records import Camera, LocalFeatures

HEIGHT, WIDTH, FOCAL_PX = 240, 320, 260.0
MATRIX = np.array([[FOCAL_PX, 0, WIDTH / 2], [0, FOCAL_PX, HEIGHT / 2], [0, 0, 1]])
INPUT = (192, 256)
SIDE = 16


def scene():
    """Make two textured walls at different depths: pixels of the place, and metres to them."""
    texture = np.random.default_rng(0).integers(0, 255, (HEIGHT // 4, WIDTH // 4), np.uint8)
    image = cv2.GaussianBlur(cv2.resize(texture, (WIDTH, HEIGHT)), (0, 0), 1.5)
    depth_m = np.where(np.arange(WIDTH) < WIDTH // 2, 6.0, 14.0)[None].repeat(HEIGHT, 0)
    return image, depth_m + 0.02 * np.arange(HEIGHT)[:, None]


def seen_from(place_T_query, image, depth_m, x, y):
    """Return pixels in the query's view of points (N,) of the place's view."""
    rays = np.stack([(x - WIDTH / 2) / FOCAL_PX, (y - HEIGHT / 2) / FOCAL_PX, np.ones_like(x)])
    body = BODY_T_OPTICAL[:3, :3]
    points = body @ (rays * depth_m)
    moved = place_T_query[:3, :3].T @ (points - place_T_query[:3, 3:])
    seen = body.T @ moved
    return FOCAL_PX * seen[0] / seen[2] + WIDTH / 2, FOCAL_PX * seen[1] / seen[2] + HEIGHT / 2


def render(place_T_query):
    """Draw the query's view by moving the pixels of the place's, and match its patches."""
    image, depth_m = scene()
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    u, v = seen_from(place_T_query, image, depth_m.ravel(), x.ravel(), y.ravel())
    # Backward map by a few fixed-point steps would need the query's depth; splatting is enough.
    query, weight = np.zeros((HEIGHT + 2, WIDTH + 2)), np.full((HEIGHT + 2, WIDTH + 2), 1e-9)
    fine_u, fine_v = np.clip(u, 0, WIDTH), np.clip(v, 0, HEIGHT)
    for du in (0, 1):
        for dv in (0, 1):
            left, top = np.floor(fine_u).astype(int), np.floor(fine_v).astype(int)
            share = np.abs(1 - du - fine_u + left) * np.abs(1 - dv - fine_v + top)
            np.add.at(query, (top + dv, left + du), share * image.ravel())
            np.add.at(weight, (top + dv, left + du), share)
    picture = (query / weight)[:HEIGHT, :WIDTH].astype(np.uint8)
    return (jpeg(picture), jpeg(image)), patches(place_T_query, image, depth_m)


def patches(place_T_query, image, depth_m):
    """Make features that match as a model's would: each true point at the centre of its patch."""
    rows, columns = np.mgrid[24:HEIGHT - 24:16, 24:WIDTH - 24:16]
    x, y = columns.ravel().astype(float), rows.ravel().astype(float)
    u, v = seen_from(place_T_query, image, depth_m[rows.ravel(), columns.ravel()], x, y)
    inside = (u > 8) & (u < WIDTH - 8) & (v > 8) & (v < HEIGHT - 8)
    descriptors = np.random.default_rng(1).standard_normal((len(x), 64)).astype(np.float32)
    to_input = np.array(INPUT[::-1]) / (WIDTH, HEIGHT)
    sides = []
    for px in (np.stack([u, v], 1), np.stack([x, y], 1)):
        quantised = np.floor(px * to_input / 4) * 4 + 2
        sides.append(LocalFeatures((quantised[inside] / max(INPUT)).astype(np.float32),
                                   np.ones(inside.sum(), np.float32), descriptors[inside]))
    return tuple(sides)


def jpeg(image):
    """Compress a grey picture."""
    return cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


@pytest.mark.parametrize(('x_m', 'y_m', 'turn_deg'), [
    (0.0, 0.8, 0.0), (0.6, -0.5, 3.0), (0.0, -0.8, -4.0),
])
def test_rotation_and_direction_of_a_known_step(x_m, y_m, turn_deg):
    truth = pose_from_yaw(x_m, y_m, np.radians(turn_deg))
    thumbnails, features = render(truth)
    # Intrinsics of the full image, twice as large as the thumbnail.
    camera = Camera(np.diag([2.0, 2.0, 1.0]) @ MATRIX, 2 * WIDTH, 2 * HEIGHT)
    view = relative_view(thumbnails, features, INPUT, camera)
    assert view.inliers > 50
    assert angle_deg(np.block([[view.rotation, np.zeros((3, 1))], [0, 0, 0, 1]]), truth) < 1.5
    direction = truth[:3, 3] / np.linalg.norm(truth[:3, 3])
    assert np.degrees(np.arccos(view.direction @ direction)) < 15.0


def test_nothing_is_said_without_pictures_or_matches():
    thumbnails, features = render(pose_from_yaw(0.0, 0.8, 0.0))
    camera = Camera(MATRIX, WIDTH, HEIGHT)
    assert relative_view((b'', thumbnails[1]), features, INPUT, camera) is None
    smaller = jpeg(np.zeros((60, 80), np.uint8))
    assert relative_view((smaller, thumbnails[1]), features, INPUT, camera) is None
    few = tuple(LocalFeatures(*(a[:5] for a in vars(one).values())) for one in features)
    assert relative_view(thumbnails, few, INPUT, camera) is None


@pytest.mark.parametrize(('model', 'known'), [
    ('plumb_bob', True), ('rational_polynomial', True), ('equidistant', True), ('omni', False),
])
def test_distortion_models(model, known):
    assert supports(Camera(MATRIX, WIDTH, HEIGHT, np.zeros(4), model)) == known
