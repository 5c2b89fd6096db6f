# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Poses in metres in the node: the camera, what is published, and map -> odom."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from geometry_msgs.msg import TransformStamped
from nodes import FAILURE, SUCCESS
from sensor_msgs.msg import CameraInfo

from r2former_ros.config import Config
from r2former_ros.geometry.poses import BODY_T_OPTICAL, pose_from_yaw
from r2former_ros.records import (
    Belief,
    Frame,
    Hypothesis,
    LoopClosure,
    MetricPose,
    Place,
    Recognition,
    RefinedPose,
    RelativePose,
    State,
)
from r2former_ros.ros import map_transform
from r2former_ros.ros.conversions import (
    hypotheses_from,
    hypotheses_message,
    loop_message,
    loops_from,
    transform_message,
)
from r2former_ros.ros.last_pose import LastPose
from r2former_ros.ros.map_transform import MapTransform
from r2former_ros.ros.seen import Seen

pytestmark = pytest.mark.ros
COVARIANCE = np.diag([0.01, 0.02, 0.03, 1e-3, 2e-3, 3e-3]) ** 2
PLACE = Place(3, 7, pose_from_yaw(10.0, 0.0, 0.0), '')
MEASURED = MetricPose(np.eye(4), COVARIANCE, 'sift', 40, 60, 20)


def seen(at_x_m=10.4, state=State.LOCALIZED, odom=None):
    pose = RefinedPose(pose_from_yaw(at_x_m, 0.3, 0.1), COVARIANCE, 3, MEASURED)
    recognition = Recognition(
        5, state, (Hypothesis(PLACE, 0.9, 0.9, metric=MEASURED),), (), {},
        Belief(PLACE, 0.99, np.eye(3)), accepted=True, pose=pose)
    return Seen(None, Frame(5, np.zeros((2, 2, 3), np.uint8), 'eye'), recognition, None, odom)


def test_hypotheses_say_which_are_metric():
    refused = MetricPose(np.eye(4), COVARIANCE, 'sift', 4, 60, 20, '4 inliers < 20')
    sent = [Hypothesis(PLACE, 0.9, 0.9, metric=one) for one in (MEASURED, refused, None)]
    message = hypotheses_message(sent, 5, 'map')
    assert len(hypotheses_from(message).hypotheses) == 3
    at = next(one.offset for one in message.fields if one.name == 'metric')
    points = np.frombuffer(bytes(message.data), np.uint8).reshape(3, -1)
    assert points[:, at:at + 4].copy().view('<i4').ravel().tolist() == [1, 0, -1]


def test_a_loop_in_metres_goes_over_the_wire():
    relative = RelativePose(pose_from_yaw(1.25, -0.5, 0.3, z=0.1), COVARIANCE)
    (loop,) = loops_from(loop_message(
        LoopClosure(5, Hypothesis(PLACE, 0.9, 0.9), relative=relative), 'map'))
    assert loop.relative.place_T_query == pytest.approx(relative.place_T_query)
    assert loop.relative.sigma_m == pytest.approx(0.03)
    assert loop.relative.sigma_deg == pytest.approx(np.degrees(3e-3))
    (plain,) = loops_from(loop_message(LoopClosure(5, Hypothesis(PLACE, 0.9, 0.9)), 'map'))
    assert plain.relative is None


@pytest.mark.parametrize(('at_x_m', 'published_x_m', 'sigma_m'), [
    (10.4, 10.4, 0.01),
    (90.0, 10.0, 5.0),  # far from where the images before say: the place is published
])
def test_the_measured_pose_is_published_where_it_fits(make_node, at_x_m, published_x_m, sigma_m):
    node = make_node()
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    poses = []
    node.outputs._pose.publish = poses.append
    node.outputs.config = Config()
    node.outputs.publish(seen(at_x_m))
    node.outputs.publish(seen(at_x_m, State.CANDIDATE))
    (message,) = poses
    assert message.pose.pose.position.x == pytest.approx(published_x_m)
    if sigma_m < 1:
        assert message.pose.covariance[0] == pytest.approx(sigma_m**2)
    else:
        assert message.pose.covariance[0] >= sigma_m**2


def test_the_camera_and_its_mounting(make_node):
    node = make_node()
    assert node.trigger_configure() == SUCCESS
    camera = node.configured.camera
    assert camera.mounted('eye') is None
    camera._on_info(CameraInfo(width=4, height=3, distortion_model='plumb_bob'))
    assert camera.usable() is None
    assert camera.mounted('eye').camera.matrix[0, 0] == 0.0
    camera._on_info(CameraInfo(width=4, height=3, distortion_model='plumb_bob',
                               k=[2.0, 0.0, 2.0, 0.0, 2.0, 1.0, 0.0, 0.0, 1.0]))
    assert camera.mounted('eye').base_T_optical == pytest.approx(BODY_T_OPTICAL)
    base_T_eye = pose_from_yaw(0.3, 0.0, 0.2) @ BODY_T_OPTICAL
    camera._on_transforms(SimpleNamespace(transforms=[
        transform_message(base_T_eye, 0, 'base_link', 'eye'), TransformStamped()]))
    node.configured.odometry.child_frame_id = 'base_link'
    assert camera.mounted('eye').base_T_optical == pytest.approx(base_T_eye)


def test_a_mounting_that_is_none_fails_the_transition(make_node):
    assert make_node(**{'refine.base_to_camera': '"1 2 3"'}).trigger_configure() == FAILURE


def test_map_to_odom_follows_the_last_measured_pose(monkeypatch):
    published, odometry = [], SimpleNamespace(frame_id='odom')
    monkeypatch.setattr(map_transform, 'transform_messages', lambda: SimpleNamespace)
    node = SimpleNamespace(create_lifecycle_publisher=lambda *_: SimpleNamespace(
        publish=published.append))
    part = MapTransform(node, Config(), odometry)
    part.take(seen(odom=None))
    assert published == []
    part.take(seen(odom=pose_from_yaw(0.4, 0.3, 0.1)))
    (transform,) = published[0].transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ('map', 'odom')
    assert transform.transform.translation.x == pytest.approx(10.0)
    part.take(seen(state=State.LOST, odom=np.eye(4)))
    assert len(published) == 1


def test_the_last_pose_is_expected_at_the_next_start(make_node, tmp_path):
    path = tmp_path / 'last.json'
    node = make_node(**{'node.last_pose_path': path})
    assert node.trigger_configure() == SUCCESS
    recognizer = node.configured.recognizer
    before = recognizer.filter._belief.extra.max() + recognizer.filter._belief.base
    node.configured.last_pose.take(replace(seen(10.2), recognizer=recognizer))
    recognizer.filter.config = replace(recognizer.filter.config, agreement_radius_m=3.0)
    again = LastPose(node.configured.config, recognizer, node.get_logger())
    belief = recognizer.filter._belief
    assert belief.extra.argmax() == 2  # the place at 10 m
    assert belief.extra[2] + belief.base > before
    for content in ('{"map_id": "other", "map_T_base": [[1, 0, 0, 5]]}', 'not JSON'):
        path.write_text(content)
        assert again._read(recognizer.search.place_map.map_id) is None


def test_tf_without_its_messages_fails_the_transition(make_node, monkeypatch):
    monkeypatch.setattr(map_transform, 'transform_messages', lambda: None)
    assert make_node(**{'node.publish_tf': True}).trigger_configure() == FAILURE
