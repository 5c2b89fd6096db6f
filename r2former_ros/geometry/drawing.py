# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A query drawn beside a place, with lines between matched patches (paper, figure 1)."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..records import Image, LocalFeatures, Vector
from .verification import PATCH_TOLERANCE_PX, homography_inliers, matched_patches

GAP_PX = 12
SHOWN_PAIRS = 40
UNVERIFIED_COLOUR = (160, 160, 160)


class DrawnMatch(NamedTuple):
    """The picture (H, W, 3), the number of mutual best pairs, and of those one homography fits."""

    picture: Image
    pairs: int
    inliers: int


def draw_matches(
    query: Image, query_features: LocalFeatures,
    place: Image, place_features: LocalFeatures,
    *, input_px: tuple[int, int], height_px: int,
) -> DrawnMatch:
    """
    Draw two pictures side by side, with lines between patches that are each other's best partner.

    Coloured lines agree with one homography. If none is found, the best pairs are drawn in grey.

    :param input_px: height and width of the model's input.
    :param height_px: height of the drawing.
    """
    pairs = matched_patches(query_features, place_features)
    query_px, place_px = (
        max(input_px) * features.xy[rows]
        for features, rows in ((query_features, pairs[:, 0]), (place_features, pairs[:, 1])))
    fits = homography_inliers(query_px, place_px, PATCH_TOLERANCE_PX)
    sheet, place_x = side_by_side(query, place, height_px)
    drawn = np.flatnonzero(fits) if fits.any() else np.arange(len(pairs))
    drawn = drawn[:: 1 + len(drawn) // SHOWN_PAIRS]
    to_share = 1 / np.array(input_px[::-1])
    starts = query_px[drawn] * to_share * [place_x - GAP_PX, height_px]
    ends = place_px[drawn] * to_share * [sheet.shape[1] - place_x, height_px] + [place_x, 0]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        _line(sheet, start, end, _colour(number) if fits.any() else UNVERIFIED_COLOUR)
    return DrawnMatch(sheet, len(pairs), int(fits.sum()))


def side_by_side(left: Image, right: Image, height_px: int) -> tuple[Image, int]:
    """Return both pictures at one height with a gap, and the column where the right one starts."""
    pictures = [_at_height(left, height_px), _at_height(right, height_px)]
    place_x = pictures[0].shape[1] + GAP_PX
    sheet = np.full((height_px, place_x + pictures[1].shape[1], 3), 255, np.uint8)
    sheet[:, : place_x - GAP_PX] = pictures[0]
    sheet[:, place_x:] = pictures[1]
    return sheet, place_x


def _at_height(image: Image, height_px: int) -> Image:
    width = max(1, round(image.shape[1] * height_px / image.shape[0]))
    resized = cv2.resize(image, (width, height_px), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)


def _line(
    sheet: Image, start: NDArray[np.floating], end: NDArray[np.floating],
    colour: tuple[int, int, int],
) -> None:
    ends = _point(start), _point(end)
    cv2.line(sheet, ends[0], ends[1], colour, 1, cv2.LINE_AA)
    for point in ends:
        cv2.circle(sheet, point, 3, colour, -1, cv2.LINE_AA)


def _colour(number: int) -> tuple[int, int, int]:
    """Return bright colours that differ from their neighbours."""
    hue = np.array([[[number * 47 % 180, 220, 255]]], np.uint8)
    red, green, blue = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def _point(xy: Vector | NDArray[np.floating]) -> tuple[int, int]:
    return round(float(xy[0])), round(float(xy[1]))
