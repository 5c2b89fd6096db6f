# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Patch tokens pooled in two ways, for the descriptor.

A grid of cells says where things are, which tells places apart while the view stays. A sum over
visual words does not, so it survives a camera that has moved (VLAD, Jegou et al. 2010; learned as
NetVLAD, arXiv 1511.07247).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

WORDS = 64
SHARPNESS = 30.0
"""A patch belongs e times as much to a word whose cosine is higher by 1 / SHARPNESS."""
CELL_ROWS, CELL_COLUMNS = 3, 4


class TokenPooling(nn.Module):
    """Sums of residuals by visual word, beside the means of a grid of cells."""

    def __init__(self, width: int, described: int) -> None:
        """
        Make words that are not yet set.

        :param described: how many of a token's ``width`` values are compared with the words.
        """
        super().__init__()
        self.words = nn.Parameter(F.normalize(torch.randn(WORDS, described), dim=1))
        self.size = WORDS * described + CELL_ROWS * CELL_COLUMNS * width

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """
        Pool token maps (B, width, h, w).

        :returns: (B, size): the words' residuals, then the cells; each part has unit norm.
        """
        return torch.cat([self.sum_by_word(maps), average_by_cell(maps)], dim=1)

    def sum_by_word(self, maps: torch.Tensor) -> torch.Tensor:
        """Return (B, WORDS * described): each word's residual normalised, then all together."""
        described = self.words.shape[1]
        patches = F.normalize(maps[:, :described].flatten(2), dim=1).transpose(1, 2)
        shares = (SHARPNESS * (patches @ self.words.T)).softmax(dim=-1)  # (B, h * w, WORDS)
        residuals = shares.transpose(1, 2) @ patches - shares.sum(dim=1)[..., None] * self.words
        return F.normalize(F.normalize(residuals, dim=-1).flatten(1), dim=1)


def average_by_cell(maps: torch.Tensor) -> torch.Tensor:
    """Return the means (B, cells * width) of a grid of cells; channel by channel, unit norm."""
    cells = F.adaptive_avg_pool2d(maps, (CELL_ROWS, CELL_COLUMNS))
    return F.normalize(F.normalize(cells, dim=1).flatten(1), dim=1)
