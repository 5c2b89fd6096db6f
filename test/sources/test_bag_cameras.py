# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Intrinsics and mounting of a camera from a bag."""

from dataclasses import replace

import numpy as np
import pytest

from r2former_ros.errors import ConfigError
from r2former_ros.geometry.mounting import Transforms, mounted_at, parsed_mounting
from r2former_ros.geometry.poses import BODY_T_OPTICAL, inverse, pose_from_yaw
from r2former_ros.records import Camera, Frame, StampedPose
from r2former_ros.sources.bag_cameras import camera_of_bag, info_topic_of
from r2former_ros.sources.bag_writer import BagWriter
from r2former_ros.sources.bags import Bag

CAMERA = Camera(np.array([[300.0, 0, 160], [0, 310, 120], [0, 0, 1]]), 320, 240,
                np.array([0.1, 0.0, 0.0, 0.0]), 'equidistant')
MAST_T_CAMERA = pose_from_yaw(0.1, 0.0, 0.3) @ BODY_T_OPTICAL
BASE_T_MAST = pose_from_yaw(0.2, 0.0, 0.0, z=1.1)


def written(tmp_path, camera=CAMERA, transforms=True, image_frame='head_optical_frame'):
    path = tmp_path / 'bag'
    with BagWriter(path) as bag:
        bag.image('/head/image_raw', Frame(1, np.zeros((24, 32, 3), np.uint8), image_frame))
        bag.odometry('/odom', StampedPose(1, np.eye(4)))
        if camera is not None:
            bag.camera_info('/head/camera_info', 1, camera, image_frame)
        if transforms:
            bag.static_transforms(1, [('base_link', 'mast', BASE_T_MAST),
                                      ('mast', 'head_optical_frame', MAST_T_CAMERA)])
    return path


def found(path, pose_topic='/odom'):
    with Bag(path) as bag:
        return camera_of_bag(bag, '/head/image_raw', pose_topic)


def test_intrinsics_and_the_chain_of_static_transforms(tmp_path):
    camera, mounting, text = found(written(tmp_path))
    assert camera.matrix == pytest.approx(CAMERA.matrix)
    assert (camera.model, camera.width, camera.height) == ('equidistant', 320, 240)
    assert mounting == pytest.approx(BASE_T_MAST @ MAST_T_CAMERA)
    assert 'base_link to head_optical_frame' in text


@pytest.mark.parametrize(('transforms', 'pose_topic'), [(False, '/odom'), (True, None)])
def test_without_a_chain_the_mounting_is_unknown(tmp_path, transforms, pose_topic):
    camera, mounting, text = found(written(tmp_path, transforms=transforms), pose_topic)
    assert camera is not None
    assert mounting is None
    assert 'those of the camera' in text


@pytest.mark.parametrize(('camera', 'text'), [
    (None, 'no CameraInfo on /head/camera_info'),
    (replace(CAMERA, matrix=np.zeros((3, 3))), 'not calibrated'),
])
def test_a_camera_that_cannot_be_used_is_named(tmp_path, camera, text):
    assert found(written(tmp_path, camera))[0] is None
    assert text in found(written(tmp_path / 'again', camera))[2]


@pytest.mark.parametrize(('image', 'info'), [
    ('/head/image_raw', '/head/camera_info'), ('/image/compressed', '/camera_info'),
])
def test_camera_info_is_next_to_the_image(image, info):
    assert info_topic_of(image) == info


def test_transforms_connect_either_way():
    transforms = Transforms()
    transforms.add('base', 'mast', BASE_T_MAST)
    transforms.add('/mast', 'camera', MAST_T_CAMERA)
    assert transforms.between('camera', 'base') == pytest.approx(
        inverse(BASE_T_MAST @ MAST_T_CAMERA))
    assert transforms.between('base', 'base') == pytest.approx(np.eye(4))
    assert transforms.between('base', 'wheel') is None


def test_a_frame_in_body_axes_is_turned():
    body = pose_from_yaw(1.0, 2.0, 0.4)
    assert mounted_at(body, 'camera_link') == pytest.approx(body @ BODY_T_OPTICAL)
    optical = body @ BODY_T_OPTICAL
    assert mounted_at(optical, 'camera_link') == pytest.approx(optical)


def test_a_mounting_is_read_from_text():
    assert parsed_mounting('1, 2, 3 0 0 0 2', 'x')[:3, 3].tolist() == [1, 2, 3]
    for text in ('1 2 3', '1 2 3 0 0 0 0', 'a b c d e f g'):
        with pytest.raises(ConfigError, match='x y z qx qy qz qw'):
            parsed_mounting(text, 'refine.base_to_camera')
