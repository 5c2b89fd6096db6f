# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A map of a rendered street, with landmarks; queries beside it get their pose in metres."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from fakes import FakeModel

from r2former_ros.config import Config, with_values
from r2former_ros.demo.town import Town, TownCamera
from r2former_ros.geometry.poses import BODY_T_OPTICAL, distance_m, inverse, pose_from_yaw
from r2former_ros.mapping.build import MapBuilder, build_map
from r2former_ros.mapping.landmarks import neighbours_of
from r2former_ros.mapping.reencode import reencode_map
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.refine import PoseRefiner
from r2former_ros.maps.search import PlaceSearch
from r2former_ros.maps.sessions import Source
from r2former_ros.recognizer import Recognizer
from r2former_ros.records import Camera, Frame, Hypothesis, MountedCamera, PosedFrame

TOWN = TownCamera(width_px=480, height_px=360)
INTRINSICS = Camera(TOWN.matrix, 480, 360)
CAMERA = MountedCamera(INTRINSICS, BODY_T_OPTICAL)
SETTINGS = with_values(Config(), {'refine.keypoints': 'sift', 'refine.keypoint_count': 600})
AT = 3
"""Row of the place that the queries stand beside."""


@pytest.fixture(scope='module')
def street():
    """Seven keyframes, and a query a metre to the side that looks 8 degrees to the right."""
    town = Town(5)
    poses = [one.pose for one in town.poses(0, 70)[10:17]]
    frames = [
        PosedFrame(Frame(number, town.view(pose, camera=TOWN), 'camera'), pose, f'{number}.png')
        for number, pose in enumerate(poses)
    ]
    beside = poses[AT] @ pose_from_yaw(0.4, -1.0, np.radians(-8))
    return frames, beside, town.view(beside, camera=TOWN, lap=1)


def built(tmp_path, frames, camera=CAMERA):
    path = tmp_path / 'street.r2map'
    summary = build_map(FakeModel(), path, [replace(one, camera=camera) for one in frames],
                        SETTINGS)
    return path, summary


@pytest.fixture(scope='module')
def mapped(street, tmp_path_factory):
    path, summary = built(tmp_path_factory.mktemp('map'), street[0])
    assert (summary.added, summary.landmarks, summary.no_landmarks) == (7, 7, '')
    return path


def refined(path, image, camera=None, config=SETTINGS, rows=(AT,)):
    with PlaceMap.open(path) as place_map:
        places = list(place_map.places().values())
        hypotheses = [Hypothesis(places[row], 0.9, 0.9) for row in rows]
        return PoseRefiner(place_map, config.refine).refine(image, hypotheses, camera)


def test_a_query_beside_the_map_gets_its_pose(street, mapped):
    _, beside, image = street
    found = refined(mapped, image)
    assert found.reason == ''
    assert distance_m(found.pose.map_T_base, beside) < 0.15
    assert found.hypotheses[0].metric.accepted
    error = found.pose.map_T_base[:3, 3] - beside[:3, 3]
    covariance = found.pose.covariance[:3, :3]
    assert error @ np.linalg.solve(covariance, error) < 30


def test_the_recognizer_returns_it(street, mapped):
    _, beside, image = street
    with PlaceMap.open(mapped) as place_map:
        recognizer = Recognizer(PlaceSearch(FakeModel(), place_map, SETTINGS))
        recognizer.use(with_values(SETTINGS, {'refine.hypotheses': 7}))
        found = recognizer.recognize(Frame(0, image))
        assert distance_m(found.pose.map_T_base, beside) < 0.15
        assert found.latency_ms['refine'] > 0
        recognizer.use(with_values(SETTINGS, {'refine.hypotheses': 0}))
        assert recognizer.recognize(Frame(0, image)).pose is None


def test_the_camera_s_mounting_moves_the_pose_to_the_base(street, mapped):
    """The query's robot carries the same camera half a metre ahead of its base, turned left."""
    _, beside, image = street
    base_T_camera = pose_from_yaw(0.5, 0.1, 0.4, z=0.3)
    camera = MountedCamera(INTRINSICS, base_T_camera @ BODY_T_OPTICAL)
    found = refined(mapped, image, camera)
    assert distance_m(found.pose.map_T_base, beside @ inverse(base_T_camera)) < 0.2


def test_another_camera_may_localize(street, mapped):
    _, beside, _ = street
    other = TownCamera(width_px=400, height_px=320, horizontal_fov_deg=65.0)
    camera = MountedCamera(Camera(other.matrix, 400, 320), BODY_T_OPTICAL)
    found = refined(mapped, Town(5).view(beside, camera=other, lap=1), camera)
    assert distance_m(found.pose.map_T_base, beside) < 0.2


@pytest.mark.parametrize(('camera', 'reason'), [
    (MountedCamera(Camera(np.zeros((3, 3)), 480, 360), BODY_T_OPTICAL), 'not calibrated'),
    (MountedCamera(replace(INTRINSICS, width=480, height=480), BODY_T_OPTICAL), 'aspect ratio'),
    (MountedCamera(replace(INTRINSICS, model='omni'), BODY_T_OPTICAL), 'distortion model'),
])
def test_a_bad_camera_gives_a_reason_and_no_pose(street, mapped, camera, reason):
    found = refined(mapped, street[2], camera)
    assert found.pose is None
    assert reason in found.reason


def test_the_wrong_place_is_refused(street, mapped):
    other = Town(6)
    image = other.view(other.poses(0, 70)[30].pose, camera=TOWN)
    found = refined(mapped, image, rows=range(7))
    assert found.pose is None
    assert found.reason


def test_without_intrinsics_or_parallax_there_are_no_landmarks(street, tmp_path):
    frames, _, image = street
    path, summary = built(tmp_path, frames[:2], camera=None)
    assert summary.landmarks == 0
    assert refined(path, image, rows=(0,)).reason == 'the map holds no landmarks'
    at_rest = tmp_path / 'rest'
    at_rest.mkdir()
    _, summary = built(at_rest, [frames[0], replace(frames[0], source='again')])
    assert summary.landmarks == 0
    cropped = MountedCamera(replace(INTRINSICS, height=200), BODY_T_OPTICAL)
    wrong = tmp_path / 'wrong'
    wrong.mkdir()
    assert 'aspect ratio' in built(wrong, frames[:2], camera=cropped)[1].no_landmarks


def test_reencoding_adds_them_from_the_source_images(street, tmp_path):
    frames, beside, image = street
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for one in frames:
        cv2.imwrite(str(folder / one.source), one.frame.image[..., ::-1])
    old, new = tmp_path / 'old.r2map', tmp_path / 'new.r2map'
    MapBuilder(FakeModel(), SETTINGS, source=Source('images', str(folder))).new(old, frames)
    summary = reencode_map(FakeModel(), old, new, SETTINGS, camera=CAMERA)
    assert (summary.from_source, summary.landmarks) == (7, 7)
    assert distance_m(refined(new, image).pose.map_T_base, beside) < 0.15
    again = tmp_path / 'again.r2map'
    assert reencode_map(FakeModel(), new, again, SETTINGS).landmarks == 7


def test_neighbours_look_the_same_way_and_are_near():
    poses = [pose_from_yaw(4.0 * number, 0, 0) for number in range(30)]
    poses[16] = pose_from_yaw(64.0, 0, np.pi)
    assert sorted(neighbours_of(poses, 15)) == [10, 12, 13, 14, 17, 18, 20]
    assert sorted(neighbours_of(poses, 0)) == [1, 2, 3, 5]
