# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Camera models against OpenCV's own projection, and the states of bad intrinsics."""

import cv2
import numpy as np
import pytest
import yaml

from r2former_ros.errors import ConfigError
from r2former_ros.geometry.cameras import (
    camera_from_json,
    camera_to_json,
    problem_of,
    rays_of,
    read_camera_yaml,
    scaled_to,
)
from r2former_ros.records import Camera

MATRIX = np.array([[400.0, 0, 319.5], [0, 410.0, 239.5], [0, 0, 1]])
RAYS = np.array([[0.0, 0.0], [0.3, -0.2], [-0.5, 0.4]])
DISTORTIONS = {
    'plumb_bob': [-0.2, 0.05, 0.001, -0.002, 0.01],
    'rational_polynomial': [0.1, -0.05, 0.001, 0.002, 0.01, 0.2, 0.02, 0.001],
    'equidistant': [0.05, -0.01, 0.002, 0.001],
}


def projected(camera):
    points = np.column_stack([RAYS, np.ones(len(RAYS))])[:, None]
    nil = np.zeros(3)
    project = cv2.fisheye.projectPoints if camera.model == 'equidistant' else cv2.projectPoints
    return project(points, nil, nil, camera.matrix, camera.distortion)[0][:, 0]


@pytest.mark.parametrize('model', DISTORTIONS)
def test_rays_undo_the_projection(model):
    camera = Camera(MATRIX, 640, 480, np.array(DISTORTIONS[model]), model)
    assert rays_of(projected(camera), camera) == pytest.approx(RAYS, abs=1e-4)


def test_half_the_size_sees_the_same_rays():
    half = scaled_to(Camera(MATRIX, 640, 480), 320, 240)
    # The left edge of the image is at -0.5 px in both sizes.
    edge, middle = rays_of(np.array([[-0.5, -0.5], [159.5, 119.5]]), half)
    assert edge == pytest.approx([(-0.5 - 319.5) / 400, (-0.5 - 239.5) / 410])
    assert middle == pytest.approx([0, 0])


def test_another_aspect_ratio_is_refused():
    with pytest.raises(ConfigError, match='640 x 480 and the image is 640 x 360'):
        scaled_to(Camera(MATRIX, 640, 480), 640, 360)


@pytest.mark.parametrize('change, problem', [
    ({}, ''),
    ({'model': 'omni'}, "distortion model 'omni'"),
    ({'matrix': np.zeros((3, 3))}, 'not calibrated'),
    ({'matrix': MATRIX * np.nan}, 'not finite'),
    ({'width': 0}, 'image size 0 x 480'),
])
def test_bad_intrinsics_are_named(change, problem):
    values = {'matrix': MATRIX, 'width': 640, 'height': 480, **change}
    found = problem_of(Camera(**values))
    assert found.startswith(problem) if not problem else problem in found


def calibration(tmp_path, **changes):
    values = {
        'image_width': 640, 'image_height': 480, 'camera_name': 'head',
        'camera_matrix': {'rows': 3, 'cols': 3, 'data': MATRIX.ravel().tolist()},
        'distortion_model': 'plumb_bob',
        'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': DISTORTIONS['plumb_bob']},
        **changes,
    }
    path = tmp_path / 'head.yaml'
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_calibration_file_is_read(tmp_path):
    camera = read_camera_yaml(calibration(tmp_path))
    assert (camera.width, camera.height, camera.model) == (640, 480, 'plumb_bob')
    assert camera.matrix == pytest.approx(MATRIX)
    again = camera_from_json(camera_to_json(camera))
    assert again.matrix == pytest.approx(MATRIX)
    assert again.distortion == pytest.approx(camera.distortion)


@pytest.mark.parametrize('changes, message', [
    ({'camera_matrix': None}, 'not a camera_calibration file'),
    ({'camera_matrix': {'data': [1.0, 2.0]}}, 'not a camera_calibration file'),
    ({'camera_matrix': {'data': [0.0] * 9}}, 'not calibrated'),
])
def test_a_bad_calibration_file_is_named(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        read_camera_yaml(calibration(tmp_path, **changes))


def test_a_missing_calibration_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match='cannot be read'):
        read_camera_yaml(tmp_path / 'none.yaml')
