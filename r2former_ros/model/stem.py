# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A convolutional stem in place of DeiT's patch embedding, started as oriented gradients.

A small set of images does not teach a patch embedding to see edges; this one sees them before
the first step: rectified derivatives of a Gaussian, averaged over cells of 8 px and normalised in
each cell (as HOG and SIFT do), 2 x 2 cells to a token.
"""

from __future__ import annotations

import math

import torch
from torch import nn

DIRECTIONS = 16
SIGMAS_PX = (1.0, 2.0)
KERNEL_PX = 9
CELL_NORM_EPS = 2.56e-2
GAIN = 16.0
"""Brings the filters to a size that optimisers expect; the epsilon is that of gradients of gain 1
times GAIN squared."""
LUMA = (0.299 * 0.229, 0.587 * 0.224, 0.114 * 0.225)
"""Weights of ITU-R 601 for channels divided by the ImageNet standard deviation."""


class LayerNorm2d(nn.LayerNorm):
    """Layer norm of the channels of maps (B, C, H, W)."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Normalise each position."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GradientStem(nn.Module):
    """From normalised images (B, 3, H, W) to tokens (B, width, H // 16, W // 16)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = DIRECTIONS * len(SIGMAS_PX)
        self.edges = nn.Conv2d(3, channels, KERNEL_PX, stride=2, padding=KERNEL_PX // 2)
        self.cells = nn.Conv2d(channels, channels, 4, stride=4)
        self.norm = LayerNorm2d(channels, eps=CELL_NORM_EPS)
        self.tokens = nn.Conv2d(channels, width, 2, stride=2)
        self._initialise()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed the images."""
        tokens: torch.Tensor = self.tokens(self.norm(self.cells(self.edges(images).relu())))
        return tokens

    @torch.no_grad()
    def _initialise(self) -> None:
        filters = torch.cat([derivatives_of_gaussian(sigma) for sigma in SIGMAS_PX])
        self.edges.weight.copy_(filters[:, None] * torch.tensor(LUMA).view(1, 3, 1, 1) * GAIN)
        self.cells.weight.copy_(_unsigned_and_signed()[:, :, None, None] / 16)
        for layer in (self.edges, self.cells, self.tokens):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.tokens.weight.copy_(_cells_side_by_side(self.tokens.weight))


def derivatives_of_gaussian(sigma_px: float) -> torch.Tensor:
    """Return derivative filters (DIRECTIONS, KERNEL_PX, KERNEL_PX) all around the circle."""
    reach = torch.arange(KERNEL_PX) - KERNEL_PX // 2
    y, x = torch.meshgrid(reach.float(), reach.float(), indexing='ij')
    bell = torch.exp(-(x.square() + y.square()) / (2 * sigma_px**2))
    bell = bell / bell.sum() / sigma_px**2
    angles = torch.arange(DIRECTIONS) * (2 * math.pi / DIRECTIONS)
    return (x * angles.cos()[:, None, None] + y * angles.sin()[:, None, None]) * bell


def _unsigned_and_signed() -> torch.Tensor:
    """
    Return (C, C): first sums, then differences of opposite directions.

    Sums do not change when light and dark swap, as they do between day and night.
    """
    half = DIRECTIONS // 2
    eye = torch.eye(half)
    sums, differences = torch.cat([eye, eye], dim=1), torch.cat([eye, -eye], dim=1)
    scales = len(SIGMAS_PX)
    each = torch.eye(scales)
    return torch.cat([torch.kron(each, rows) for rows in (sums, differences)])


def _cells_side_by_side(like: torch.Tensor) -> torch.Tensor:
    """Copy channel c of cell (row, column) to token value 4 c + 2 row + column while room is."""
    width, channels = like.shape[:2]
    weight = torch.zeros_like(like)
    for value in range(min(width, 4 * channels)):
        weight[value, value // 4, value % 4 // 2, value % 2] = 1.0
    return weight
