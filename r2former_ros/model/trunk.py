# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A convolutional patch embedding: EfficientNet-Lite0 up to stride 16 (Tan et al. 2020).

Batch normalisation is folded into the convolutions, which then train as they are. The padding is
TensorFlow's "same" for an even side, fixed, so that any image gives ``side // 16`` tokens a side.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

STEM_CHANNELS = 32


class Stage(NamedTuple):
    """Inverted residuals of one resolution; only the first one strides."""

    blocks: int
    channels: int
    kernel: int
    stride: int
    expansion: int


STAGES = (
    Stage(1, 16, 3, 1, 1), Stage(2, 24, 3, 2, 6), Stage(2, 40, 5, 2, 6), Stage(3, 80, 3, 2, 6),
    Stage(3, 112, 5, 1, 6),
)
FINE = 2
"""The stage of stride 8 whose maps are read beside those of the last one."""
MAP_CHANNELS = STAGES[FINE].channels + STAGES[-1].channels


class PaddedConv(nn.Conv2d):
    """A convolution that pads an even side as TensorFlow does: the odd pixel at the end."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        self.before = (kernel - stride) // 2
        self.after = kernel - stride - self.before
        nn.init.kaiming_normal_(self.weight)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Convolve maps (B, C, H, W); sides become H // stride, W // stride."""
        if self.after:
            maps = F.pad(maps, (self.before, self.after, self.before, self.after))
        return super().forward(maps)


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, project; with a skip connection where shapes allow."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        width = inputs * stage.expansion
        expand = [] if stage.expansion == 1 else [PaddedConv(inputs, width, 1), nn.ReLU6()]
        self.layers = nn.Sequential(
            *expand,
            PaddedConv(width, width, stage.kernel, stride=stride, groups=width), nn.ReLU6(),
            PaddedConv(width, stage.channels, 1),
        )
        self.skips = stride == 1 and inputs == stage.channels

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps (B, channels, H // stride, W // stride)."""
        changed: torch.Tensor = self.layers(maps)
        return maps + changed if self.skips else changed


class Trunk(nn.Module):
    """Images to two maps of one grid, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(PaddedConv(3, STEM_CHANNELS, 3, stride=2), nn.ReLU6())
        channels = (STEM_CHANNELS, *(stage.channels for stage in STAGES))
        self.stages = nn.ModuleList(
            _make_stage(inputs, stage)
            for (inputs, _), stage in zip(pairwise(channels), STAGES, strict=True)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """
        Embed normalised images (B, 3, H, W).

        :returns: (B, MAP_CHANNELS, H // 16, W // 16): stage ``FINE`` averaged over 2 x 2, then
            the last stage, each of unit norm at every position.
        """
        maps = self.stem(images)
        for stage in self.stages[: FINE + 1]:
            maps = stage(maps)
        fine = F.normalize(F.avg_pool2d(maps, 2), dim=1)
        for stage in self.stages[FINE + 1 :]:
            maps = stage(maps)
        return torch.cat([fine, F.normalize(maps, dim=1)], dim=1)


class TrunkEmbedding(nn.Module):
    """The trunk with a 3x3 convolution to tokens: from images (B, 3, H, W) to (B, width, h, w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.tokens = nn.Conv2d(MAP_CHANNELS, width, 3, padding=1, padding_mode='replicate')

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed the images."""
        tokens: torch.Tensor = self.tokens(self.trunk(images))
        return tokens


def _make_stage(inputs: int, stage: Stage) -> nn.Sequential:
    first = InvertedResidual(inputs, stage, stage.stride)
    rest = [InvertedResidual(stage.channels, stage, 1) for _ in range(stage.blocks - 1)]
    return nn.Sequential(first, *rest)
