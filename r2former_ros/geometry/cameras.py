# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Camera models: from pixels to rays, other image sizes, and where intrinsics are read from.

Pixel (0, 0) is the centre of the first pixel. A ray is x / z and y / z in optical axes (x right,
y down, z forward).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from ..errors import ConfigError
from ..records import Camera

FISHEYE, PINHOLE = 'equidistant', ('plumb_bob', 'rational_polynomial', '')
ASPECT_TOLERANCE = 0.02
"""Image sizes whose aspect ratios differ by more are different pictures, not scaled ones."""

Points = NDArray[np.float64]


def supports(camera: Camera) -> bool:
    """Return whether the camera's distortion model is one of ours."""
    return camera.model == FISHEYE or camera.model in PINHOLE


def problem_of(camera: Camera) -> str:
    """Say why a camera cannot be used, empty where it can."""
    if not supports(camera):
        return f'distortion model {camera.model!r} is not one of plumb_bob, ' \
               'rational_polynomial, equidistant'
    if camera.width <= 0 or camera.height <= 0:
        return f'image size {camera.width} x {camera.height} is not positive'
    if not (np.isfinite(camera.matrix).all() and np.isfinite(camera.distortion).all()):
        return 'intrinsics are not finite'
    if camera.matrix[0, 0] <= 0 or camera.matrix[1, 1] <= 0:
        return 'focal length is not positive: the camera is not calibrated'
    return ''


def scaled_to(camera: Camera, width: int, height: int) -> Camera:
    """
    Return the camera for images of another size of the same field of view.

    :raises ConfigError: if the aspect ratio differs, as it does for a cropped image.
    """
    if (width, height) == (camera.width, camera.height):
        return camera
    across, down = width / camera.width, height / camera.height
    if abs(math.log(across / down)) > ASPECT_TOLERANCE:
        raise ConfigError(
            f'intrinsics are for {camera.width} x {camera.height} and the image is {width} x '
            f'{height}: of another aspect ratio, so they cannot be scaled; calibrate at this size'
        )
    # The corner of the image, not the centre of its first pixel, stays where it is.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    scale = np.diag([across, down, 1.0])
    matrix = np.linalg.inv(half) @ scale @ half @ camera.matrix
    return Camera(matrix, width, height, camera.distortion, camera.model)


def rays_of(xy: NDArray[Any], camera: Camera) -> Points:
    """Undistort pixels (N, 2) to rays (N, 2) float64; NaN where the model cannot be inverted."""
    if len(xy) == 0:
        return np.zeros((0, 2))
    undistort = cv2.fisheye.undistortPoints if camera.model == FISHEYE else cv2.undistortPoints
    points = np.asarray(xy, np.float64)[:, None]
    found = undistort(points, camera.matrix, np.asarray(camera.distortion, np.float64))
    rays = np.array(found[:, 0], np.float64)
    rays[np.abs(rays).max(axis=1) > 1e3] = np.nan  # what OpenCV returns beyond the image circle
    return rays


def mean_focal_px(camera: Camera) -> float:
    """Return the mean of the two focal lengths, in pixels."""
    return float(camera.matrix[0, 0] + camera.matrix[1, 1]) / 2


def camera_from_info(
    *, k: Any, d: Any, width: int, height: int, model: str
) -> Camera:
    """Make a camera from the fields of ``sensor_msgs/CameraInfo``."""
    distortion = np.asarray(d, np.float64).ravel()
    if model == FISHEYE:
        distortion = np.resize(distortion, 4) if distortion.size else np.zeros(4)
    matrix = np.asarray(k, np.float64).reshape(3, 3)
    return Camera(matrix, int(width), int(height), distortion, model)


def read_camera_yaml(path: str | Path) -> Camera:
    """
    Read the file that ``camera_calibration`` writes.

    :raises ConfigError: naming file and key, if it is not such a file or holds no calibration.
    """
    try:
        values = yaml.safe_load(Path(path).read_text())
        camera = camera_from_info(
            k=values['camera_matrix']['data'],
            d=values['distortion_coefficients']['data'],
            width=values['image_width'],
            height=values['image_height'],
            model=values.get('distortion_model', 'plumb_bob'),
        )
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f'{path}: cannot be read ({error})') from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f'{path}: is not a camera_calibration file ({error!r})') from error
    return checked(camera, str(path))


def checked(camera: Camera, where: str) -> Camera:
    """
    Return the camera.

    :raises ConfigError: naming where it comes from, if it cannot be used.
    """
    problem = problem_of(camera)
    if problem:
        raise ConfigError(f'{where}: {problem}')
    return camera


def camera_to_json(camera: Camera) -> dict[str, Any]:
    """Return what JSON can hold, with the names of ``sensor_msgs/CameraInfo``."""
    return {
        'width': camera.width,
        'height': camera.height,
        'distortion_model': camera.model,
        'k': np.asarray(camera.matrix).ravel().tolist(),
        'd': np.asarray(camera.distortion).ravel().tolist(),
    }


def camera_from_json(values: dict[str, Any]) -> Camera:
    """Undo ``camera_to_json``."""
    return camera_from_info(k=values['k'], d=values['d'], width=values['width'],
                            height=values['height'], model=values['distortion_model'])
