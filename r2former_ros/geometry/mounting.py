# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a camera is mounted: chains of static transforms, and which axes a frame has."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..errors import ConfigError, PoseError
from ..records import Pose
from .poses import BODY_T_OPTICAL, inverse, pose_from_quaternion

UPRIGHT = 0.7
"""Cosine above which an axis points up."""


class Transforms:
    """Static transforms between frames, connected in any way."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[str, Pose]] = {}

    def add(self, parent: str, child: str, parent_T_child: Pose) -> None:
        """Add a transform; a later one of the same frames replaces it."""
        parent, child = parent.lstrip('/'), child.lstrip('/')
        self._steps.setdefault(parent, {})[child] = parent_T_child
        self._steps.setdefault(child, {})[parent] = inverse(parent_T_child)

    def between(self, target: str, source: str) -> Pose | None:
        """Return target_T_source, by the fewest transforms; None if they are not connected."""
        target, source = target.lstrip('/'), source.lstrip('/')
        found: dict[str, Pose] = {target: np.eye(4)}
        waiting = deque([target])
        while waiting and source not in found:
            at = waiting.popleft()
            for step, pose in self._steps.get(at, {}).items():
                if step not in found:
                    found[step] = found[at] @ pose
                    waiting.append(step)
        return found.get(source) if source in self._steps or source == target else None


def mounted_at(base_T_frame: Pose, name: str) -> Pose:
    """
    Return base_T_optical for the frame of an image.

    REP 103 wants an optical frame there (z forward). A frame whose z axis points up, and whose
    name does not end in ``optical_frame`` or the like, has body axes (x forward).
    """
    if 'optical' in name or base_T_frame[2, 2] < UPRIGHT:
        return base_T_frame
    return base_T_frame @ BODY_T_OPTICAL


def parsed_mounting(text: str, where: str) -> Pose:
    """
    Read "x y z qx qy qz qw" (metres, quaternion) as a transform (4, 4).

    :raises ConfigError: naming where it comes from, if it is anything else.
    """
    try:
        numbers = [float(one) for one in text.replace(',', ' ').split()]
        if len(numbers) != 7:
            raise ValueError(f'{len(numbers)} numbers')
        return pose_from_quaternion(numbers[:3], numbers[3:])
    except (ValueError, PoseError) as error:
        raise ConfigError(f'{where}: {text!r} is not "x y z qx qy qz qw" ({error})') from error
