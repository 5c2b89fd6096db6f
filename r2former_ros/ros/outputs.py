# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node says of every image: hypotheses, state and pose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import String

from ..config import Config
from ..decision import pose_covariance
from ..model import ImageFeatures
from ..records import Belief, Frame, Pose, Recognition, State
from .conversions import hypotheses_message, pose_message
from .interface import HYPOTHESES, POSE, STATE, create_publisher


@dataclass(frozen=True, eq=False)
class Seen:
    """One image that was recognised, as every consumer gets it, in the worker thread."""

    frame: Frame
    recognition: Recognition
    features: ImageFeatures
    odom_T_camera: Pose | None


Consumer = Callable[[Seen], None]


class Outputs:
    """The publishers of what was recognised."""

    def __init__(self, node: LifecycleNode) -> None:
        self.config = Config()
        self._said: State | None = None
        self._hypotheses = create_publisher(node, HYPOTHESES)
        self._pose = create_publisher(node, POSE)
        self._state = create_publisher(node, STATE)

    def publish(self, seen: Seen) -> None:
        """Say where the camera is; the pose only when localized."""
        recognition = seen.recognition
        first = recognition.hypotheses[: self.config.node.hypotheses]
        self._hypotheses.publish(
            hypotheses_message(first, recognition.stamp_ns, self.config.map.frame_id))
        self.say_state(recognition.state)
        if recognition.state is State.LOCALIZED and recognition.belief is not None:
            self._publish_pose(recognition.belief, recognition.stamp_ns)

    def say_state(self, state: State, *, again: bool = False) -> None:
        """Publish the state if it has changed, or again for a new beginning."""
        if again or state is not self._said:
            self._said = state
            self._state.publish(String(data=state.value))

    def _publish_pose(self, belief: Belief, stamp_ns: int) -> None:
        pose = belief.place.map_T_camera
        if pose is not None:
            covariance = pose_covariance(belief, self.config.decision)
            self._pose.publish(pose_message(pose, covariance, stamp_ns, self.config.map.frame_id))
