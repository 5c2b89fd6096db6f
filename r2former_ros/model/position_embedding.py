# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The released code's rule for position embeddings of images that are not of the training size."""

from __future__ import annotations

import torch
import torch.nn.functional as F

PATCH_PX = 16


def fit_position_embedding(
    embedding: torch.Tensor, trained_size: tuple[int, int], size: tuple[int, int]
) -> torch.Tensor:
    """
    Fit patch position embeddings to an image size.

    The trained size keeps them as they are, even where another size has the same grid. Else a
    square of side n = the longer side in patches is cropped from the middle of the grid, or,
    where the grid is smaller, interpolated to n x n and rescaled; then the shorter side is cut.

    :param embedding: (1, rows * columns, width), row by row, for the trained size.
    :param trained_size: height and width in pixels.
    :param size: height and width in pixels of the image.
    :returns: (1, (height // 16) * (width // 16), width)
    """
    if size == trained_size:
        return embedding
    rows, columns = trained_size[0] // PATCH_PX, trained_size[1] // PATCH_PX
    grid = embedding.reshape(1, rows, columns, -1).permute(0, 3, 1, 2)
    height, width = size[0] // PATCH_PX, size[1] // PATCH_PX
    side = max(height, width)
    if side <= min(rows, columns):
        top, left = rows // 2 - side // 2, columns // 2 - side // 2
        square = grid[:, :, top : top + side, left : left + side]
    else:
        square = _enlarge(grid, side)
    if size[0] >= size[1]:
        left = side // 2 - width // 2
        fitted = square[:, :, :, left : left + width]
    else:
        top = side // 2 - height // 2
        fitted = square[:, :, top : top + height]
    return fitted.flatten(2).transpose(1, 2)


def _enlarge(grid: torch.Tensor, side: int) -> torch.Tensor:
    """
    Interpolate a grid (1, C, rows, columns) to a square.

    The values are rescaled around the middle one, so that the distance between the embeddings of
    the middle and of the point half a trained column above it stays what it was.
    """
    rows, columns = grid.shape[-2:]
    middle = side // 2
    square = F.interpolate(grid, size=(side, side), mode='bicubic', align_corners=False)
    centre = square[:, :, middle, middle]
    trained = (grid[:, :, 0, columns // 2] - grid[:, :, rows // 2, columns // 2]).square().sum(1)
    new = (square[:, :, middle - rows // 2, middle] - centre).square().sum(1)
    ratio = (trained / new).sqrt()[:, None, None, None]
    return (square - centre[:, :, None, None]) * ratio + centre[:, :, None, None]
