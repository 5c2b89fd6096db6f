# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Loop closures as messages of other back ends.

Their packages are not on PyPI: stand-ins have the fields of the published definitions and no
others, so that a wrong name fails.
"""

import sys
from types import ModuleType

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from geometry_msgs.msg import PoseWithCovarianceStamped, Transform
from std_msgs.msg import String

from r2former_ros.config import PoseGraphConfig
from r2former_ros.errors import ConfigError
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.records import Hypothesis, LoopClosure, Place, View
from r2former_ros.ros.bridges import (
    InitialPose,
    NodeIds,
    constraint,
    pose_graph_edge,
    rtabmap_request,
)
from r2former_ros.ros.replay.live import own_domain

pytestmark = pytest.mark.ros
CONFIG = PoseGraphConfig()


class Edge:
    """Stand in for ``pose_graph_tools_msgs/msg/PoseGraphEdge``."""

    __slots__ = ('covariance', 'header', 'key_from', 'key_to', 'pose', 'robot_from', 'robot_to',
                 'type')
    LOOPCLOSE = 1


class Link:
    """Stand in for ``rtabmap_msgs/msg/Link``."""

    __slots__ = ('from_id', 'information', 'to_id', 'transform', 'type')

    def __init__(self):
        self.transform = Transform()


class AddLink:
    """Stand in for ``rtabmap_msgs/srv/AddLink``."""

    class Request:
        """Hold a link."""

        __slots__ = ('link',)

        def __init__(self):
            self.link = Link()


@pytest.fixture
def packages(monkeypatch):
    """Put the stand-ins where the packages would be."""
    for name, content in (('pose_graph_tools_msgs.msg', {'PoseGraphEdge': Edge}),
                          ('rtabmap_msgs.srv', {'AddLink': AddLink})):
        top, module = ModuleType(name.split('.')[0]), ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, top.__name__, top)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def ids():
    """Ids of nodes, one a second."""
    ids = NodeIds()
    for second in range(100):
        ids.add(second * 10**9, 1000 + second)
    return ids


def loop(turn_rad=None, place_s=10.2, query_s=59.9, **changes):
    """Make a loop closure, with a relative rotation where a turn is given."""
    place = Place(7, round(place_s * 1e9), np.eye(4), '')
    view = None if turn_rad is None else View(
        pose_from_yaw(0, 0, turn_rad)[:3, :3], np.array([1.0, 0, 0]), 40)
    return LoopClosure(
        round(query_s * 1e9), Hypothesis(place, 0.9, 0.95, 33), view=view, **changes)


def test_what_is_near_in_time_is_the_node(ids):
    assert [ids.at(round(s * 1e9)) for s in (0, 10.4, 10.6, 99.5)] == [1000, 1010, 1011, 1099]
    assert ids.at(round(99.6e9)) is None
    assert NodeIds().at(0) is None


def test_a_view_makes_the_rotation_sure():
    pose, covariance = constraint(loop(), CONFIG)
    assert np.array_equal(pose, np.eye(4))
    assert covariance[0, 0] == pytest.approx(9.0)
    turned, better = constraint(loop(turn_rad=0.3), CONFIG)
    assert np.allclose(turned, pose_from_yaw(0, 0, 0.3))
    assert better[5, 5] == pytest.approx(np.radians(3.0) ** 2)
    assert better[5, 5] < covariance[5, 5]


def test_an_edge_goes_from_the_place_to_the_query(packages, ids):
    edge = pose_graph_edge(loop(turn_rad=0.3), ids, CONFIG, robot=2)
    assert (edge.key_from, edge.key_to, edge.robot_from, edge.robot_to) == (1010, 1060, 2, 2)
    assert edge.type == Edge.LOOPCLOSE and edge.header.stamp.sec == 59
    assert edge.pose.orientation.z == pytest.approx(np.sin(0.15))
    assert np.reshape(edge.covariance, (6, 6))[0, 0] == pytest.approx(9.0)


def test_a_link_goes_from_the_query_to_the_place(packages, ids):
    link = rtabmap_request(loop(turn_rad=0.3), ids, CONFIG).link
    assert (link.from_id, link.to_id, link.type) == (1060, 1010, 4)
    assert link.transform.rotation.z == pytest.approx(-np.sin(0.15))
    assert np.reshape(link.information, (6, 6))[0, 0] == pytest.approx(1 / 9.0)


@pytest.mark.parametrize('make', [pose_graph_edge, rtabmap_request])
def test_what_has_no_node_makes_nothing(packages, ids, make):
    assert make(loop(query_s=200.0), ids, CONFIG) is None
    assert make(loop(in_saved_map=True), ids, CONFIG) is None


@pytest.mark.parametrize(('make', 'package'), [
    (pose_graph_edge, 'pose_graph_tools_msgs'), (rtabmap_request, 'rtabmap_msgs')])
def test_an_absent_package_is_named(monkeypatch, ids, make, package):
    for name in (package, f'{package}.msg', f'{package}.srv'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=f'{package} is not installed'):
        make(loop(), ids, CONFIG)


def test_the_initial_pose_is_sent_once_after_each_loss():
    with own_domain():
        node = InitialPose()
        sent = []
        node._publisher.publish = sent.append
        poses = [PoseWithCovarianceStamped() for _ in range(4)]
        node.on_pose(poses[0])
        node.on_pose(poses[1])
        node.on_state(String(data='candidate'))
        node.on_pose(poses[2])
        node.on_state(String(data='lost'))
        node.on_state(String(data='localized'))
        node.on_pose(poses[3])
        node.destroy_node()
    assert [id(one) for one in sent] == [id(poses[0]), id(poses[3])]
