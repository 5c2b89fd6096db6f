# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Loop closures in metres: on the drive's own landmarks, on a saved map, and in the graph."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeModel

from r2former_ros.config import Config, with_values
from r2former_ros.demo.town import Town, TownCamera
from r2former_ros.geometry.poses import BODY_T_OPTICAL, distance_m, inverse, pose_from_yaw
from r2former_ros.mapping.build import create_map
from r2former_ros.maps.search import PlaceSearch
from r2former_ros.records import (
    Camera,
    Frame,
    Hypothesis,
    MetricPose,
    MountedCamera,
    Place,
    PosedFrame,
    RefinedPose,
    RelativePose,
    StampedPose,
)
from r2former_ros.slam.loop_closure import LoopCloser
from r2former_ros.slam.metric_loops import relative_to

TOWN = TownCamera(width_px=480, height_px=360)
CAMERA = MountedCamera(Camera(TOWN.matrix, 480, 360), BODY_T_OPTICAL)
SETTINGS = with_values(Config(), {
    'loop_closure.exclusion_s': 10.0, 'loop_closure.exclusion_m': 0.0,
    'loop_closure.agreement_keyframes': 1, 'loop_closure.verify': False,
    'loop_closure.min_score': 0.5, 'refine.keypoints': 'sift', 'refine.keypoint_count': 500,
})
NOISE = np.diag([0.01, 0.02, 0.03, 1e-4, 2e-4, 3e-4]) ** 2


@pytest.mark.parametrize('calibrated', [True, False])
def test_a_keyframe_beside_the_drive_is_measured(tmp_path, calibrated):
    town = Town(5)
    poses = [one.pose for one in town.poses(0, 70)[10:25]]
    beside = poses[1] @ pose_from_yaw(0.2, -0.5, -0.05)
    with create_map(FakeModel(), tmp_path / 'drive.r2map', SETTINGS) as place_map:
        closer = LoopCloser(PlaceSearch(FakeModel(), place_map, SETTINGS), SETTINGS)
        camera = CAMERA if calibrated else None
        for number, pose in enumerate([*poses, beside]):
            frame = Frame(number * 10**9, town.view(pose, camera=TOWN), 'camera')
            result = closer.offer(PosedFrame(frame, pose, f'{number}', camera))
        closer.finish()
        kinds = place_map.landmark_kinds()
    (loop,) = result.loops
    assert kinds == (['sift'] if calibrated else [])
    if not calibrated:
        assert loop.relative is None
        return
    true = inverse(loop.hypothesis.place.map_T_camera) @ beside
    assert distance_m(loop.relative.place_T_query, true) < 0.15
    assert 0 < loop.relative.sigma_m < 0.3


def test_a_pose_on_the_map_becomes_relative_to_the_best_place():
    map_T_place, map_T_query = pose_from_yaw(3, 4, np.pi / 2), pose_from_yaw(3, 5, np.pi / 2)
    place = Place(7, 0, map_T_place, '')
    measured = MetricPose(np.eye(4), NOISE, 'sift', 50, 60, 20)
    found = relative_to(Hypothesis(place, 1.0, 1.0), RefinedPose(map_T_query, NOISE, 7, measured))
    # A metre along y of the map is a metre ahead of the place, which looks along y.
    assert found.place_T_query[:3, 3] == pytest.approx([1, 0, 0])
    assert np.sqrt(np.diag(found.covariance)[:3]) == pytest.approx([0.02, 0.01, 0.03])
    assert found.sigma_m == pytest.approx(0.03)
    unknown = Hypothesis(replace(place, map_T_camera=None), 1.0, 1.0)
    assert relative_to(unknown, RefinedPose(map_T_query, NOISE, 7, measured)) is None
    assert relative_to(Hypothesis(place, 1.0, 1.0), None) is None


def test_the_graph_believes_metres_more_than_a_place():
    """A drive out and back whose odometry drifts sideways; one loop says where it really is."""
    pytest.importorskip('gtsam')
    from r2former_ros.slam.pose_graph import LoopMeasurement, PoseGraph

    ends = {}
    truth = RelativePose(pose_from_yaw(0.0, 1.0, np.pi), np.diag([0.02] * 3 + [0.002] * 3) ** 2)
    for name, relative in (('metric', truth), ('near', None)):
        config = with_values(Config(), {'pose_graph.min_support': 0,
                                        'pose_graph.gate_sigmas': 20.0})
        graph = PoseGraph(config.pose_graph)
        out = [pose_from_yaw(2.0 * i, 0, 0) for i in range(10)]
        back = [pose_from_yaw(18.0 - 2.0 * i, 1.0 + 0.06 * i, np.pi) for i in range(10)]
        for i, pose in enumerate([*out, *back]):
            graph.add_odometry(StampedPose(i * 10**9, pose))
        assert graph.add_loop(LoopMeasurement(0, 19 * 10**9, truth.place_T_query[:3, :3],
                                              relative))
        ends[name] = graph.trajectory()[-1].pose[1, 3]
    assert ends['metric'] == pytest.approx(1.0, abs=0.15)
    assert abs(ends['near'] - 1.0) > 0.3
