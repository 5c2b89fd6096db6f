# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of what the network looked at: attention, and patches that match (paper figure 1)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ...geometry.verification import homography_inliers, matched_patches
from ...model.preprocess import InputSpec
from ...records import Image, LocalFeatures, Vector
from ..methods.ransac import TOLERANCE_PX

WIDTH_PX, GAP_PX = 360, 12
SHOWN_PAIRS = 40
UNVERIFIED_COLOUR = (160, 160, 160)


def attention_overlay(image: Image, features: LocalFeatures, spec: InputSpec) -> Image:
    """
    Tint the patches of an image by their attention, from the smallest to the largest of them.

    What was not selected is as dark as the smallest.
    """
    shown = _shown(image)
    columns, rows = _grid(features, spec)
    heat = np.zeros((rows, columns), np.float32)
    cell = np.floor(features.xy * max(spec.height, spec.width) / _patch_px(features, spec))
    x, y = cell.astype(int).T
    heat[y.clip(0, rows - 1), x.clip(0, columns - 1)] = _stretched(features.attention)
    size = shown.shape[1], shown.shape[0]
    large = cv2.resize((255 * heat).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    tint = cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.addWeighted(shown, 0.5, tint, 0.5, 0), np.uint8)


def matched_pair(
    query: Image, query_features: LocalFeatures,
    place: Image, place_features: LocalFeatures, spec: InputSpec,
) -> tuple[Image, int, int]:
    """
    Draw two images side by side, lines joining patches that are each other's best partner.

    Coloured lines: one homography explains them. Where none does, the surest pairs are grey.

    :returns: the picture, the number of pairs, and of those the homography explains.
    """
    pairs = matched_patches(query_features, place_features)
    longer_px = max(spec.height, spec.width)
    query_px = query_features.xy[pairs[:, 0]] * longer_px
    place_px = place_features.xy[pairs[:, 1]] * longer_px
    fits = homography_inliers(query_px, place_px, TOLERANCE_PX)
    drawn = np.flatnonzero(fits) if fits.any() else np.arange(len(pairs))
    sheet, scales, offset = _side_by_side(_shown(query), _shown(place), spec)
    for number, row in enumerate(drawn[:: 1 + len(drawn) // SHOWN_PAIRS]):
        colour = _colour(number) if fits.any() else UNVERIFIED_COLOUR
        start = _point(query_px[row] * scales[0])
        end = _point(place_px[row] * scales[1] + np.array([offset, 0]))
        cv2.line(sheet, start, end, colour, 1, cv2.LINE_AA)
        for point in (start, end):
            cv2.circle(sheet, point, 3, colour, -1, cv2.LINE_AA)
    return sheet, len(pairs), int(fits.sum())


def jpeg(image: Image, quality: int = 80) -> bytes:
    """Compress a picture, uint8 (H, W, 3) RGB."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _shown(image: Image) -> Image:
    height = max(1, round(image.shape[0] * WIDTH_PX / image.shape[1]))
    return np.asarray(
        cv2.resize(image, (WIDTH_PX, height), interpolation=cv2.INTER_AREA), np.uint8
    )


def _side_by_side(
    left: Image, right: Image, spec: InputSpec
) -> tuple[Image, list[NDArray[np.float64]], int]:
    """Return a sheet with both, the factors from input pixels to it, and the right one's x."""
    height = max(left.shape[0], right.shape[0])
    sheet = np.full((height, 2 * WIDTH_PX + GAP_PX, 3), 255, np.uint8)
    sheet[: left.shape[0], :WIDTH_PX] = left
    sheet[: right.shape[0], WIDTH_PX + GAP_PX:] = right
    scales = [np.array([WIDTH_PX / spec.width, image.shape[0] / spec.height])
              for image in (left, right)]
    return sheet, scales, WIDTH_PX + GAP_PX


def _stretched(attention: Vector) -> Vector:
    low, high = float(attention.min()), float(attention.max())
    stretched: Vector = (attention - low) / max(high - low, 1e-9)
    return stretched


def _patch_px(features: LocalFeatures, spec: InputSpec) -> float:
    """Tell the patch size from the smallest step between patch centres."""
    steps = np.diff(np.unique(np.round(features.xy * max(spec.height, spec.width))))
    return float(steps[steps > 1].min(initial=min(spec.height, spec.width)))


def _grid(features: LocalFeatures, spec: InputSpec) -> tuple[int, int]:
    patch_px = _patch_px(features, spec)
    return max(1, round(spec.width / patch_px)), max(1, round(spec.height / patch_px))


def _colour(number: int) -> tuple[int, int, int]:
    """Return bright colours that differ from their neighbours."""
    hue = np.array([[[number * 47 % 180, 220, 255]]], np.uint8)
    red, green, blue = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def _point(xy: Vector) -> tuple[int, int]:
    return round(float(xy[0])), round(float(xy[1]))
