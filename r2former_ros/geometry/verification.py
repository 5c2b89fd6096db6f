# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Geometric checks of a query against a place by the local features of both."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..config import VerificationConfig
from ..records import LocalFeatures, Vector

FEWEST_MATCHES = 4
"""A homography needs four correspondences."""
CONFIDENCE = 0.999
ITERATIONS = 2000
PATCH_TOLERANCE_PX = 24.0
"""One and a half patches: how far a match may be from its homography in a drawing or ranking."""


def count_inliers(
    query: LocalFeatures, place: LocalFeatures, longer_side_px: int, config: VerificationConfig
) -> int:
    """
    Count the matched patches that one homography explains.

    :param longer_side_px: of the model's input, which the features' ``xy`` are fractions of.
    """
    matches = matched_patches(query, place)
    tolerance_px = config.tolerance_percent / 100 * longer_side_px
    return int(homography_inliers(
        longer_side_px * query.xy[matches[:, 0]], longer_side_px * place.xy[matches[:, 1]],
        tolerance_px,
    ).sum())


def matched_patches(query: LocalFeatures, place: LocalFeatures) -> NDArray[np.intp]:
    """
    Pair the patches that are each other's best partner by the cosine of their descriptors.

    They are among the reranker's own matches: those of its five partners a patch that are first
    on both sides. The other partners would only be outliers.

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
