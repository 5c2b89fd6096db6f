# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a bag with CameraInfo and /tf_static to a pose in metres, by commands alone."""

import json

import cv2
import numpy as np
import pytest

from r2former_ros.cli import main
from r2former_ros.demo.town import Town, TownCamera
from r2former_ros.geometry.poses import BODY_T_OPTICAL, inverse, pose_from_yaw
from r2former_ros.records import Camera, Frame, StampedPose
from r2former_ros.sources.bag_writer import BagWriter

SMALL = ['--weights', 'tiny', '--set', 'model.image_height=64', '--set',
         'model.image_width=96', '--set', 'refine.keypoints=sift']
TOWN = TownCamera(width_px=480, height_px=360)
BASE_T_CAMERA = pose_from_yaw(0.4, -0.1, 0.2, z=1.6)


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """A bag whose odometry is of the base, and a picture from a metre beside its third frame."""
    folder, town = tmp_path_factory.mktemp('site'), Town(5)
    poses = [one.pose for one in town.poses(0, 70)[10:16]]
    with BagWriter(folder / 'lap') as bag:
        bag.camera_info('/camera_info', 10**9, Camera(TOWN.matrix, 480, 360), 'eye')
        bag.static_transforms(10**9, [('base_link', 'eye', BASE_T_CAMERA @ BODY_T_OPTICAL)])
        for number, pose in enumerate(poses):
            stamp_ns = 10**9 * (number + 1)
            bag.image('/image_raw', Frame(stamp_ns, town.view(pose, camera=TOWN), 'eye'))
            bag.odometry('/odom', StampedPose(stamp_ns, pose @ inverse(BASE_T_CAMERA)))
    beside = poses[2] @ pose_from_yaw(0.3, 0.8, 0.1)
    cv2.imwrite(str(folder / 'query.png'), town.view(beside, camera=TOWN)[..., ::-1])
    return folder, beside @ inverse(BASE_T_CAMERA)


def answer(capsys, folder, *options):
    capsys.readouterr()
    assert main(['localize', str(folder / 'query.png'), '--map', str(folder / 'm.r2map'),
                 '--json', *options, *SMALL]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_bag_becomes_a_map_that_gives_poses_of_the_base(site, capsys):
    folder, map_T_base = site
    assert main(['map', 'build', str(folder / 'm.r2map'), '--bag', str(folder / 'lap'),
                 '--pose-topic', '/odom', *SMALL]) == 0
    assert 'landmarks for 6 places (intrinsics from /camera_info; base_link to eye' \
        in capsys.readouterr().err
    found = answer(capsys, folder)
    error = np.array(found['pose']['map_T_camera'])[:3, 3] - map_T_base[:3, 3]
    assert np.linalg.norm(error) < 0.15
    assert found['pose']['inliers'] >= 20
    assert np.shape(found['pose']['covariance']) == (6, 6)
    fx, fy, (cx, cy) = TOWN.matrix[0, 0], TOWN.matrix[1, 1], TOWN.matrix[:2, 2]
    numbers = [str(one) for one in (fx, fy, cx, cy, 480, 360)]
    same = answer(capsys, folder, '--intrinsics', *numbers, '--base-to-camera',
                  f'0 0 0 {" ".join(map(str, (-0.5, 0.5, -0.5, 0.5)))}')
    at_the_camera = np.array(same['pose']['map_T_camera'])[:3, 3]
    assert np.linalg.norm(at_the_camera - (map_T_base @ BASE_T_CAMERA)[:3, 3]) < 0.15
    numbers[5] = '480'
    refused = answer(capsys, folder, '--intrinsics', *numbers)
    assert refused['pose'] is None
    assert 'aspect ratio' in refused['not_refined']


@pytest.mark.parametrize(('options', 'message'), [
    (['--intrinsics', '0', '0', '1', '1', '4', '3'], 'not calibrated'),
    (['--base-to-camera', '1 2'], 'x y z qx qy qz qw'),
    (['--camera-info', 'none.yaml'], 'none.yaml'),
])
def test_a_bad_camera_is_refused_before_anything_is_done(site, capsys, options, message):
    folder, _ = site
    assert main(['map', 'build', str(folder / 'new.r2map'), '--bag', str(folder / 'lap'),
                 *options, *SMALL]) == 2
    assert message in capsys.readouterr().err
