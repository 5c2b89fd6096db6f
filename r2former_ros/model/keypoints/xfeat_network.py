# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The network of XFeat (Potje et al., CVPR 2024, arXiv 2404.19174), for inference.

Batch normalisation is folded into the convolutions; the matcher's head is left out. The weights
are those of the authors (Apache-2.0), converted once by ``folded``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

CELL_PX = 8
"""Side of the cell that one descriptor and 64 keypoint scores belong to."""
BATCH_NORM_EPSILON = 1e-5
_LAYERS: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    # channels in, out, kernel, stride
    'block1': ((1, 4, 3, 1), (4, 8, 3, 2), (8, 8, 3, 1), (8, 24, 3, 2)),
    'block2': ((24, 24, 3, 1), (24, 24, 3, 1)),
    'block3': ((24, 64, 3, 2), (64, 64, 3, 1), (64, 64, 1, 1)),
    'block4': ((64, 64, 3, 2), (64, 64, 3, 1), (64, 64, 3, 1)),
    'block5': ((64, 128, 3, 2), (128, 128, 3, 1), (128, 128, 3, 1), (128, 64, 1, 1)),
    'block_fusion': ((64, 64, 3, 1), (64, 64, 3, 1)),
    'heatmap_head': ((64, 64, 1, 1), (64, 64, 1, 1)),
    'keypoint_head': ((64, 64, 1, 1), (64, 64, 1, 1), (64, 64, 1, 1)),
}


class XFeatNetwork(nn.Module):
    """From a grey image to dense descriptors, keypoint scores and reliability."""

    def __init__(self) -> None:
        super().__init__()
        self.skip = nn.Conv2d(1, 24, 1)
        self.blocks = nn.ModuleDict({name: _block(layers) for name, layers in _LAYERS.items()})
        self.fusion_out = nn.Conv2d(64, 64, 1)
        self.heatmap_out = nn.Conv2d(64, 1, 1)
        self.keypoint_out = nn.Conv2d(64, CELL_PX**2 + 1, 1)

    def forward(self, grey: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        Compute the three maps of an image (1, 1, H, W), both sides multiples of 32.

        :returns: descriptors (1, 64, H/8, W/8), keypoint logits (1, 65, H/8, W/8) and
            reliability (1, 1, H/8, W/8) in [0, 1].
        """
        blocks = self.blocks
        image = functional.instance_norm(grey)
        skip = self.skip(functional.avg_pool2d(image, 4))
        eighth = blocks['block3'](blocks['block2'](blocks['block1'](image) + skip))
        sixteenth = blocks['block4'](eighth)
        coarse = blocks['block5'](sixteenth)
        joined = eighth + _enlarged(sixteenth, eighth) + _enlarged(coarse, eighth)
        descriptors = self.fusion_out(blocks['block_fusion'](joined))
        reliability = torch.sigmoid(self.heatmap_out(blocks['heatmap_head'](descriptors)))
        cells = functional.pixel_unshuffle(image, CELL_PX)
        keypoints = self.keypoint_out(blocks['keypoint_head'](cells))
        return descriptors, keypoints, reliability


def folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert the authors' state dict to this network's: fold each batch normalisation."""
    names = {'skip1.1': 'skip', 'block_fusion.2': 'fusion_out', 'heatmap_head.2': 'heatmap_out',
             'keypoint_head.3': 'keypoint_out'}
    converted = {f'{ours}.{part}': state[f'{theirs}.{part}']
                 for theirs, ours in names.items() for part in ('weight', 'bias')}
    for block, layers in _LAYERS.items():
        for number in range(len(layers)):
            theirs, ours = f'{block}.{number}.layer', f'blocks.{block}.{2 * number}'
            deviation = (state[f'{theirs}.1.running_var'].double() + BATCH_NORM_EPSILON).sqrt()
            weight = state[f'{theirs}.0.weight'].double() / deviation[:, None, None, None]
            converted[f'{ours}.weight'] = weight.float()
            converted[f'{ours}.bias'] = \
                (-state[f'{theirs}.1.running_mean'].double() / deviation).float()
    return converted


def _block(layers: tuple[tuple[int, int, int, int], ...]) -> nn.Sequential:
    modules: list[nn.Module] = []
    for channels_in, channels_out, kernel, stride in layers:
        modules.append(nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2))
        modules.append(nn.ReLU(inplace=True))
    return nn.Sequential(*modules)


def _enlarged(small: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(small, like.shape[-2:], mode='bilinear')
