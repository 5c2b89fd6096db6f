# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Geometric checks of a query against a place by the local features of both."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .records import LocalFeatures, Vector

FEWEST_MATCHES = 4
"""A homography needs four correspondences."""
CONFIDENCE = 0.999
ITERATIONS = 2000


def matched_patches(query: LocalFeatures, place: LocalFeatures) -> NDArray[np.intp]:
    """
    Pair the patches that are each other's best partner by the cosine of their descriptors.

    :returns: (M, 2): rows of the query's features and of the place's, the surest pair first.
    """
    correlation = _unit_rows(query.descriptors) @ _unit_rows(place.descriptors).T  # (Nq, Np)
    partner = correlation.argmax(axis=1)  # (Nq,)
    rows = np.flatnonzero(correlation.argmax(axis=0)[partner] == np.arange(len(partner)))
    surest = np.argsort(-correlation[rows, partner[rows]], kind='stable')
    return np.stack([rows, partner[rows]], axis=1)[surest]


def homography_inliers(
    query_px: Vector, place_px: Vector, tolerance_px: float
) -> NDArray[np.bool_]:
    """
    Say which of M correspondences one homography explains (USAC with MAGSAC++ scoring).

    :param query_px: (M, 2) in pixels, as is ``place_px``: OpenCV fails on coordinates below one.
    :returns: (M,) bool, all False where no homography was found.
    """
    none = np.zeros(len(query_px), bool)
    if len(query_px) < FEWEST_MATCHES:
        return none
    _, mask = cv2.findHomography(
        np.asarray(query_px, np.float64), np.asarray(place_px, np.float64), cv2.USAC_MAGSAC,
        tolerance_px, maxIters=ITERATIONS, confidence=CONFIDENCE,
    )
    return none if mask is None else mask.ravel().astype(bool)


def _unit_rows(rows: Vector) -> Vector:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Vector = rows / np.maximum(length, 1e-12)
    return unit
