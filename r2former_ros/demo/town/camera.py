# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The pinhole camera of the town.

A pose is the body frame of ``records`` (x forward, y left, z up); the optical frame used inside
the renderer has x right, y down, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...records import Pose

Floats = NDArray[np.float64]

OPTICAL_R_BODY: Floats = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], dtype=np.float64)


@dataclass(frozen=True)
class TownCamera:
    """
    An ideal pinhole camera: square pixels, the principal point in the middle of the image.

    ``height_m`` is the height of the lens above the street.
    """

    width_px: int = 640
    height_px: int = 480
    horizontal_fov_deg: float = 78.0
    height_m: float = 1.6

    @property
    def focal_px(self) -> float:
        """Focal length in pixels."""
        return self.width_px / 2 / float(np.tan(np.radians(self.horizontal_fov_deg) / 2))

    @property
    def matrix(self) -> Floats:
        """Intrinsic matrix (3, 3); pixel (0, 0) is the centre of the first pixel."""
        cx, cy = (self.width_px - 1) / 2, (self.height_px - 1) / 2
        return np.array([[self.focal_px, 0, cx], [0, self.focal_px, cy], [0, 0, 1]])

    def project(self, points_m: Floats, map_T_camera: Pose) -> Floats:
        """Project (N, 3) map points in metres to (N, 3): x px, y px, depth in metres."""
        optical = to_optical(points_m, map_T_camera)
        image = optical @ self.matrix.T
        return np.column_stack([image[:, :2] / optical[:, 2:], optical[:, 2]])


def optical_R_map(map_T_camera: Pose) -> Floats:
    """Give the rotation (3, 3) from the map frame into the optical frame."""
    rotation: Floats = OPTICAL_R_BODY @ map_T_camera[:3, :3].T
    return rotation


def to_optical(points_m: Floats, map_T_camera: Pose) -> Floats:
    """Take map points (..., 3) into the optical frame of the camera."""
    moved: Floats = (points_m - map_T_camera[:3, 3]) @ optical_R_map(map_T_camera).T
    return moved


def pose_at(xyz_m: Floats, *, yaw_rad: float, pitch_rad: float = 0.0) -> Pose:
    """Build ``map_T_camera`` at (3,) metres; positive yaw turns left, positive pitch down."""
    cy, sy, cp, sp = np.cos(yaw_rad), np.sin(yaw_rad), np.cos(pitch_rad), np.sin(pitch_rad)
    pose = np.eye(4)
    pose[:3, :3] = [[cy * cp, -sy, cy * sp], [sy * cp, cy, sy * sp], [-sp, 0.0, cp]]
    pose[:3, 3] = xyz_m
    return pose
