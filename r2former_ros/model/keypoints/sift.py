# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""RootSIFT by OpenCV: exact by day, no weights."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...geometry.correspondences import Pairs, mutual_by_ratio
from ...records import Image, Keypoints

RATIO = 0.85
STEPS = 512
"""Steps a unit: a component of a RootSIFT descriptor above a half is rare, and clipped."""
CONTRAST = 0.02


class Sift:
    """Scale-invariant keypoints with RootSIFT descriptors (N, 128) uint8."""

    kind = 'sift'
    threshold_px = 3.0
    sigma_scale = 1.6

    def __init__(self, count: int) -> None:
        self.count = count
        self._sift = cv2.SIFT.create(nfeatures=count, contrastThreshold=CONTRAST)

    def detect(self, image: Image) -> Keypoints:
        """Find the strongest keypoints of an image (H, W, 3) uint8 RGB."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        found, descriptors = self._sift.detectAndCompute(grey, None)
        if descriptors is None:
            return Keypoints(self.kind, np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
        xy = np.array([one.pt for one in found], np.float32)[: self.count]
        return Keypoints(self.kind, xy, _rooted(descriptors[: self.count]))

    def match(self, first: NDArray[Any], second: NDArray[Any]) -> Pairs:
        """Match descriptors; return rows of both (K, 2)."""
        return mutual_by_ratio(first, second, RATIO)


def _rooted(descriptors: NDArray[Any]) -> NDArray[np.uint8]:
    share = descriptors / descriptors.sum(axis=1, keepdims=True).clip(1e-6)
    return np.asarray(np.rint(STEPS * np.sqrt(share)).clip(0, 255), np.uint8)
