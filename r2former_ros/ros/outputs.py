# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node publishes about every image: hypotheses, state and pose."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import String

from ..config import Config
from ..decision import pose_covariance
from ..geometry.poses import distance_m
from ..records import Belief, Recognition, State
from .conversions import hypotheses_message, pose_message
from .interface import HYPOTHESES, POSE, STATE, create_publisher
from .seen import Seen


class Outputs:
    """The publishers of results."""

    def __init__(self, node: LifecycleNode) -> None:
        self.config = Config()
        self._said: State | None = None
        self._hypotheses = create_publisher(node, HYPOTHESES)
        self._pose = create_publisher(node, POSE)
        self._state = create_publisher(node, STATE)

    def publish(self, seen: Seen) -> None:
        """Publish hypotheses and state, and the pose while localized."""
        recognition = seen.recognition
        first = recognition.hypotheses[: self.config.node.hypotheses]
        self._hypotheses.publish(
            hypotheses_message(first, recognition.stamp_ns, self.config.map.frame_id))
        self.say_state(recognition.state)
        if recognition.state is State.LOCALIZED and recognition.belief is not None:
            self._publish_pose(recognition, recognition.belief)

    def say_state(self, state: State, *, again: bool = False) -> None:
        """Publish the state if it has changed, or in any case with ``again``."""
        if again or state is not self._said:
            self._said = state
            self._state.publish(String(data=state.value))

    def _publish_pose(self, recognition: Recognition, belief: Belief) -> None:
        """Publish the measured pose if it is near the most probable place, else that place's."""
        pose, stamp_ns = belief.place.map_T_camera, recognition.stamp_ns
        if pose is not None:
            covariance = pose_covariance(belief, self.config.decision)
            measured = recognition.pose
            if measured is not None and distance_m(measured.map_T_base, pose) <= max(
                    self.config.decision.agreement_radius_m, self.config.refine.max_distance_m):
                pose, covariance = measured.map_T_base, measured.covariance
            self._pose.publish(pose_message(pose, covariance, stamp_ns, self.config.map.frame_id))
