# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the camera shows anything new: silence, frozen, dark and unusable pictures."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from enum import Enum

import numpy as np

from ..geometry.poses import angle_deg, distance_m
from ..records import Image, Pose

SAMPLE_PX = 4
"""Every fourth row and column is enough to compare pictures: sensor noise is everywhere."""
COVERED_CONTRAST = 3.0
"""Standard deviation of grey levels (of 255) below which a picture shows nothing."""
LASTING_IMAGES, LASTING_S = 3, 1.0
"""What happens to fewer images, or for a shorter time, is no condition of the camera."""
STILL_M, STILL_DEG = 0.02, 0.2
"""A robot that moved less stands still; a simulator then renders the same picture again."""


class Sight(Enum):
    """What the camera delivers."""

    OK = 'ok'
    SILENT = 'silent'
    FROZEN = 'frozen'
    COVERED = 'covered'
    UNUSABLE = 'unusable'


class CameraWatch:
    """
    Follow the images of an active node.

    ``arrived`` is called by the executor, ``look`` and ``unusable`` by the worker. ``clock`` gives
    monotonic seconds; ``received`` says whether any image arrived.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._arrived_s = self._useful_s = self._same_since_s = clock()
        self.received = False
        self._shown = Sight.OK
        self._digest: int | None = None
        self._same_images = self._unusable_images = 0
        self._pose: Pose | None = None

    def arrived(self) -> None:
        """Note that a message arrived."""
        self.received = True
        self._arrived_s = self.clock()

    def look(self, image: Image, odom_T_camera: Pose | None) -> Sight:
        """Compare the next image, uint8 (H, W, 3), with the ones before it."""
        now_s = self.clock()
        sample = np.ascontiguousarray(image[::SAMPLE_PX, ::SAMPLE_PX])
        digest = zlib.crc32(sample.tobytes())
        if digest != self._digest:
            self._digest, self._same_since_s, self._same_images = digest, now_s, 0
            self._pose = odom_T_camera
        self._same_images += 1
        self._unusable_images = 0
        self._shown = self._judge(sample, odom_T_camera, now_s)
        if self._shown is Sight.OK:
            self._useful_s = now_s
        return self._shown

    def unusable(self) -> None:
        """Note that an image could not be decoded."""
        self._unusable_images += 1
        if self._unusable_images >= LASTING_IMAGES and self.blind_s() >= LASTING_S:
            self._shown = Sight.UNUSABLE

    def sight(self, silent_after_s: float) -> Sight:
        """Say what the camera delivers now."""
        silent = self.clock() - self._arrived_s > silent_after_s
        return Sight.SILENT if silent else self._shown

    def blind_s(self) -> float:
        """Return the time since the last image that showed something new, or since the start."""
        return self.clock() - self._useful_s

    def _judge(self, sample: Image, odom_T_camera: Pose | None, now_s: float) -> Sight:
        if float(sample.std()) < COVERED_CONTRAST:
            return Sight.COVERED
        lasting = (self._same_images >= LASTING_IMAGES
                   and now_s - self._same_since_s >= LASTING_S)
        return Sight.FROZEN if lasting and not self._still(odom_T_camera) else Sight.OK

    def _still(self, odom_T_camera: Pose | None) -> bool:
        """Say whether odometry shows that the robot stands still; False without odometry."""
        if odom_T_camera is None or self._pose is None:
            return False
        return (distance_m(self._pose, odom_T_camera) < STILL_M
                and angle_deg(self._pose, odom_T_camera) < STILL_DEG)
