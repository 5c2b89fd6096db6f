# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Where the patches of one image are in another, in patches: what dense labels are made of.

Partners (P, 2) are column and row of each patch, row by row; not a number where the patch is
hidden or out of view, infinite where nobody can tell.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..augment import Matrix

PATCH_PX = 16
TRUE_WITHIN_PATCHES = 1.3
"""A best partner at most this far from the true one counts as true."""
UNKNOWN = -1.0

Size = tuple[int, int]
Points = NDArray[np.float64]


def patch_centres(size: Size) -> Points:
    """Return the centres (P, 2) of the patches of an image, x and y in pixels."""
    rows, columns = size[0] // PATCH_PX, size[1] // PATCH_PX
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing='ij')
    patches = np.stack([x.ravel(), y.ravel()], axis=-1).astype(np.float64)
    return np.asarray(patches * PATCH_PX + (PATCH_PX - 1) / 2)


def in_patches(points_px: Points, visible: NDArray[np.bool_]) -> Points:
    """Turn pixels (P, 2) into columns and rows; what is not visible is not a number."""
    partners = (points_px - (PATCH_PX - 1) / 2) / PATCH_PX
    partners[~visible] = np.nan
    return np.asarray(partners)


def inside(points_px: Points, size: Size) -> NDArray[np.bool_]:
    """Return which points (P, 2) lie in an image of this height and width."""
    with np.errstate(invalid='ignore'):
        low = (points_px >= -0.5).all(axis=1)
        return np.asarray(low & (points_px < np.array(size[::-1]) - 0.5).all(axis=1))


def partners_by_homography(
    left_T_source: Matrix, right_T_source: Matrix, source: Size, size: Size
) -> Points:
    """
    Return the partners (P, 2) of the patches of the left of two views of one picture.

    :param source: height and width of the picture; what a view mirrors beyond it has no partner.
    :param size: those of both views.
    """
    in_source = _moved(np.asarray(np.linalg.inv(left_T_source), np.float64), patch_centres(size))
    in_right = _moved(right_T_source, in_source)
    return in_patches(in_right, inside(in_source, source) & inside(in_right, size))


def is_true_partner(pairs: torch.Tensor, partners: torch.Tensor, size: Size) -> torch.Tensor:
    """
    Label the best partner of each patch of both images.

    :param pairs: (K, S, 5, 7) as ``correlate`` returns it, of all patches in their order.
    :param partners: (K, S, 2) true partners of the query's patches, then of the candidate's.
    :returns: (K, S) 1 within ``TRUE_WITHIN_PATCHES``, 0 elsewhere, ``UNKNOWN`` where infinite.
    """
    half = pairs.shape[1] // 2
    found = torch.cat([pairs[:, :half, 0, 3:5], pairs[:, half:, 0, :2]], dim=1)
    found = found * max(size) / PATCH_PX - 0.5
    near: torch.Tensor = (found - partners).square().sum(dim=-1) <= TRUE_WITHIN_PATCHES**2
    return near.float().masked_fill(partners[..., 0].isinf(), UNKNOWN)


def _moved(matrix: Matrix, points_px: Points) -> Points:
    """Apply a homography to points (P, 2); what lies behind is not a number."""
    x, y, scale = matrix @ np.column_stack([points_px, np.ones(len(points_px))]).T
    scale = np.where(scale > 0, scale, np.nan)
    return np.column_stack([x / scale, y / scale])
