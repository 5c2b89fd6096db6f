# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every consumer receives for a recognized image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..model import ImageFeatures
from ..recognizer import Recognizer
from ..records import Frame, Pose, Recognition


@dataclass(frozen=True, eq=False)
class Seen:
    """One recognized image, handed to each consumer in the worker thread."""

    recognizer: Recognizer
    frame: Frame
    recognition: Recognition
    features: ImageFeatures
    odom_T_camera: Pose | None


Consumer = Callable[[Seen], None]
