# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Loop closures and poses for other back ends; ``docs/slam.md`` shows each of them in use.

Message packages that may be absent are imported where they are needed.
"""

from __future__ import annotations

from bisect import bisect_left
from importlib import import_module
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from ..config import PoseGraphConfig
from ..errors import ConfigError
from ..geometry.poses import inverse, quaternion_xyzw
from ..records import LoopClosure, Pose, State
from .conversions import header_from, pose_from
from .interface import LATCHED
from .spinning import run

RTABMAP_USER_CLOSURE = 4
"""``rtabmap::Link::kUserClosure``."""


class NodeIds:
    """Ids of another back end's nodes by stamp, to attach loop closures to."""

    def __init__(self, tolerance_ns: int = 500_000_000) -> None:
        self._tolerance_ns = tolerance_ns
        self._stamps: list[int] = []
        self._ids: list[int] = []

    def add(self, stamp_ns: int, node_id: int) -> None:
        """Remember a node; where the clock was set back, forget those before it."""
        if self._stamps and stamp_ns < self._stamps[-1]:
            self._stamps.clear()
            self._ids.clear()
        self._stamps.append(stamp_ns)
        self._ids.append(node_id)

    def at(self, stamp_ns: int) -> int | None:
        """Return the node nearest to a stamp, None if none is within the tolerance."""
        after = bisect_left(self._stamps, stamp_ns)
        near = [(abs(self._stamps[row] - stamp_ns), self._ids[row])
                for row in (after - 1, after) if 0 <= row < len(self._stamps)]
        apart_ns, node_id = min(near, default=(self._tolerance_ns + 1, 0))
        return node_id if apart_ns <= self._tolerance_ns else None


def constraint(loop: LoopClosure, config: PoseGraphConfig) -> tuple[Pose, NDArray[np.float64]]:
    """
    Return the measurement of a loop closure: ``place_T_query`` (4, 4) and covariance (6, 6).

    The covariance is over x, y, z, roll, pitch, yaw, in m^2 and rad^2.
    """
    if loop.relative is not None:
        return loop.relative.place_T_query, loop.relative.covariance
    pose, sigma_deg = np.eye(4), config.loop_sigma_deg
    if loop.view is not None:
        pose[:3, :3], sigma_deg = loop.view.rotation, config.view_sigma_deg
    sigmas = [config.loop_sigma_m] * 3 + [np.radians(sigma_deg)] * 3
    return pose, np.diag(np.square(sigmas))


def pose_graph_edge(
    loop: LoopClosure, ids: NodeIds, config: PoseGraphConfig, *, robot: int = 0
) -> Any | None:
    """
    Make a ``pose_graph_tools_msgs/PoseGraphEdge`` from the place's node to the query's.

    :returns: None if one of them has no node, or the place is in a saved map.
    :raises ConfigError: if the message package is not installed.
    """
    ends = _ends(loop, ids)
    if ends is None:
        return None
    kind = _imported('pose_graph_tools_msgs.msg').PoseGraphEdge
    edge = kind()
    pose, covariance = constraint(loop, config)
    edge.header = header_from(loop.stamp_ns, '')
    edge.key_from, edge.key_to = ends
    edge.robot_from = edge.robot_to = robot
    edge.type = kind.LOOPCLOSE
    edge.pose = pose_from(pose)
    edge.covariance = covariance.ravel().tolist()
    return edge


def rtabmap_request(loop: LoopClosure, ids: NodeIds, config: PoseGraphConfig) -> Any | None:
    """
    Make the request of RTAB-Map's service ``add_link``, from the query's node to the place's.

    :returns: None if one of them has no node, or the place is in a saved map.
    :raises ConfigError: if the message package is not installed.
    """
    ends = _ends(loop, ids)
    if ends is None:
        return None
    request = _imported('rtabmap_msgs.srv').AddLink.Request()
    link = request.link
    place_T_query, covariance = constraint(loop, config)
    query_T_place = inverse(place_T_query)
    link.to_id, link.from_id = ends
    link.type = RTABMAP_USER_CLOSURE
    shift, turn = link.transform.translation, link.transform.rotation
    shift.x, shift.y, shift.z = map(float, query_T_place[:3, 3])
    turn.x, turn.y, turn.z, turn.w = map(float, quaternion_xyzw(query_T_place))
    link.information = np.linalg.inv(covariance).ravel().tolist()
    return request


class InitialPose(Node):
    """
    Hand the first pose after each loss to ``initialpose``, for AMCL and slam_toolbox.

    Only the first, because each message makes them begin again. The pose is the camera's: if that
    is far from the base, publish ``initialpose`` from a node that knows the transform.
    """

    def __init__(self) -> None:
        super().__init__('initial_pose')
        self._lost = True
        self._publisher = self.create_publisher(PoseWithCovarianceStamped, 'initialpose', 1)
        self.create_subscription(
            PoseWithCovarianceStamped, 'localizer/pose', self.on_pose, QoSProfile(depth=10))
        self.create_subscription(String, 'localizer/state', self.on_state, LATCHED)

    def on_state(self, message: String) -> None:
        """Note when the localizer is lost."""
        self._lost = self._lost or message.data == State.LOST.value

    def on_pose(self, message: PoseWithCovarianceStamped) -> None:
        """Forward the first pose; the localizer sends poses only while localized."""
        if self._lost:
            self._lost = False
            self._publisher.publish(message)


def main(args: list[str] | None = None) -> int:
    """Run ``initial_pose`` until it is interrupted."""
    rclpy.init(args=args)
    node = InitialPose()
    try:
        run(node)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _ends(loop: LoopClosure, ids: NodeIds) -> tuple[int, int] | None:
    """Return the nodes of place and query."""
    place, query = ids.at(loop.hypothesis.place.stamp_ns), ids.at(loop.stamp_ns)
    if loop.in_saved_map or place is None or query is None:
        return None
    return place, query


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.split('.')[0]
        raise ConfigError(f'{package} is not installed ({error}): source the workspace that has '
                          'it') from error
