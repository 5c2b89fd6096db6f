# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Lifecycle transitions that say why they fail."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from ..errors import R2FormerError

NodeType = TypeVar('NodeType', bound=LifecycleNode)
Transition = Callable[[NodeType, LifecycleState], TransitionCallbackReturn]


def logged(transition: Transition[NodeType]) -> Transition[NodeType]:
    """Log what a transition raises, which rclpy would swallow, and let the transition fail."""

    def guarded(node: NodeType, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except R2FormerError as error:
            node.get_logger().error(str(error))
        except Exception:
            node.get_logger().error(traceback.format_exc())
        return TransitionCallbackReturn.FAILURE

    return guarded
