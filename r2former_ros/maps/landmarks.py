# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How the landmarks of a place are stored, one blob for each kind of keypoint.

A header (version, count, descriptor size, scale sigma), ``base_T_optical`` (3, 4) float64, then
for each landmark x, y, z float32, the sigma of its depth float16, and its descriptor with four
bits a value: 78 bytes for SIFT, 46 for XFeat.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import MapError
from ..records import Landmarks, Pose

VERSION = 1
MOST = 450
"""Landmarks of one kind kept for a place, those of best known depth: 35 kB for SIFT."""
_HEAD = struct.Struct('<HHHf')
_STEPS = {'sift': (12, 0), 'xfeat': (6, 8)}
"""For each kind, what one of the 16 steps is worth, and which step stands for zero."""


@dataclass(frozen=True, eq=False)
class PlaceLandmarks:
    """
    Landmarks and the mounting of the camera that saw them.

    ``base_T_optical`` takes the camera's optical axes to the frame whose pose the map stores.
    """

    landmarks: Landmarks
    base_T_optical: Pose


def encode(place: PlaceLandmarks) -> bytes:
    """Write the best landmarks of one kind."""
    landmarks = place.landmarks
    best = np.sort(np.argsort(landmarks.depth_sigma, kind='stable')[:MOST])
    descriptors = _four_bits(landmarks.descriptors[best], landmarks.kind)
    head = _HEAD.pack(VERSION, len(best), landmarks.descriptors.shape[1], landmarks.scale_sigma)
    return b''.join([
        head,
        place.base_T_optical[:3].astype('<f8').tobytes(),
        landmarks.xyz[best].astype('<f4').tobytes(),
        landmarks.depth_sigma[best].clip(0, 1e4).astype('<f2').tobytes(),
        descriptors.tobytes(),
    ])


def decode(blob: bytes, kind: str) -> PlaceLandmarks:
    """
    Read what ``encode`` wrote.

    :raises MapError: if the blob is of another version, or too short.
    """
    try:
        version, count, dim, scale_sigma = _HEAD.unpack_from(blob)
        if version != VERSION or kind not in _STEPS:
            raise MapError(f'landmarks {kind!r} of version {version} are newer than this program; '
                           'update r2former_ros')
        at = _HEAD.size
        base_T_optical = np.eye(4)
        base_T_optical[:3] = np.frombuffer(blob, '<f8', 12, at).reshape(3, 4)
        xyz = np.frombuffer(blob, '<f4', 3 * count, at + 96).reshape(count, 3)
        at += 96 + 12 * count
        sigma = np.frombuffer(blob, '<f2', count, at).astype(np.float32)
        packed = np.frombuffer(blob, np.uint8, count * dim // 2, at + 2 * count)
    except (struct.error, ValueError) as error:
        raise MapError(f'landmarks of {len(blob)} bytes are cut off') from error
    descriptors = _eight_bits(packed.reshape(count, dim // 2), kind)
    return PlaceLandmarks(Landmarks(kind, xyz, sigma, descriptors, scale_sigma), base_T_optical)


def _four_bits(
    descriptors: NDArray[np.uint8] | NDArray[np.int8], kind: str
) -> NDArray[np.uint8]:
    step, zero = _STEPS[kind]
    steps = (np.rint(descriptors.astype(np.float32) / step) + zero).clip(0, 15).astype(np.uint8)
    return np.asarray(steps[:, ::2] | (steps[:, 1::2] << 4), np.uint8)


def _eight_bits(
    packed: NDArray[np.uint8], kind: str
) -> NDArray[np.uint8] | NDArray[np.int8]:
    step, zero = _STEPS[kind]
    steps = np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), -1)
    values = (steps.astype(np.int16) - zero) * step
    return values.astype(np.int8) if zero else values.astype(np.uint8)
