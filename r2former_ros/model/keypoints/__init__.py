# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pixel-accurate keypoints for poses in metres, behind one protocol."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from ...geometry.correspondences import Pairs
from ...records import Image, Keypoints

__all__ = ['KeypointDetector', 'Keypoints', 'detectors']


class KeypointDetector(Protocol):
    """What finds keypoints and compares them."""

    @property
    def kind(self) -> str:
        """Name of the detector, stored with the landmarks."""

    @property
    def threshold_px(self) -> float:
        """Largest reprojection error of an inlier, for images about 640 px wide."""

    @property
    def sigma_scale(self) -> float:
        """Multiply predicted standard deviations by this: measured, errors over sigma."""

    def detect(self, image: Image) -> Keypoints:
        """Find the strongest keypoints of an image (H, W, 3) uint8 RGB."""

    def match(self, first: NDArray[Any], second: NDArray[Any]) -> Pairs:
        """Match descriptors of queries and of landmarks; return rows of both (K, 2)."""


def detectors(names: str, count: int) -> list[KeypointDetector]:
    """
    Make the detectors of a comma-separated list, in its order.

    :param count: most keypoints of an image.
    :raises WeightsError: if a detector's weights are missing.
    """
    made: list[KeypointDetector] = []
    for name in filter(None, (name.strip() for name in names.split(','))):
        if name == 'sift':
            from .sift import Sift

            made.append(Sift(count))
        else:
            from .xfeat import XFeat

            made.append(XFeat(count))
    return made
