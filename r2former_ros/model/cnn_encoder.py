# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ResNet50 encoder: the paper's evidence that the reranker serves any backbone."""

from __future__ import annotations

from math import ceil
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .features import ImageFeatures
from .spec import ModelSpec

STRIDE_PX = 16
FLOOR = 1e-6


class GeM(nn.Module):
    """Generalised mean over space: (B, C, h, w) to (B, C), exponent ``p`` learned."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Pool the maps."""
        powers: torch.Tensor = maps.clamp(min=FLOOR).pow(self.p)
        return powers.mean(dim=(2, 3)).pow(1 / self.p)


class CnnEncoder(nn.Module):
    """ResNet50 with GeM and a linear layer; local features from layer 3 (stride 16)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        import timm

        self.spec = spec
        resnet: Any = timm.create_model('resnet50', num_classes=0)
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.act1, resnet.maxpool)
        self.layers = nn.ModuleList(
            [resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4]
        )
        self.gem = GeM()
        self.projection = nn.Linear(2048, spec.descriptor_dim)
        self.local_head = nn.Linear(1024, spec.local_dim)

    def forward(self, images: torch.Tensor) -> ImageFeatures:
        """Encode normalised images, float32 (B, 3, H, W)."""
        maps = self.layers[1](self.layers[0](self.stem(images)))
        middle = self.layers[2](maps)  # (B, 1024, ceil(H / 16), ceil(W / 16))
        top = F.normalize(self.layers[3](middle), dim=1)  # (B, 2048, ceil(H / 32), ...)
        height, width = images.shape[-2:]
        attention = self.attend(top, (ceil(height / STRIDE_PX), ceil(width / STRIDE_PX)))
        attention, patches = attention.topk(min(self.spec.num_local, attention.shape[1]))
        return ImageFeatures(
            descriptor=F.normalize(self.projection(self.gem(top)).float(), dim=-1),
            xy=_centres(patches, ceil(width / STRIDE_PX), max(height, width)),
            attention=attention / attention[:, :1],
            descriptors=self.describe_patches(middle, patches),
        )

    def attend(self, top: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """
        Return the attention (B, rows * columns) of the grid of layer 3.

        It is what each position adds to the descriptor: the normalised last map through the
        linear layer without its bias, negative parts dropped, summed.
        """
        positions = top.clamp(min=FLOOR).flatten(2).transpose(1, 2)  # (B, h * w, 2048)
        parts = (positions @ self.projection.weight.T).clamp(min=FLOOR)
        coarse = parts.float().sum(dim=-1).reshape(len(top), *top.shape[-2:])
        fine = F.interpolate(coarse[:, None], size=grid, mode='bicubic', align_corners=False)
        return fine.flatten(1)

    def describe_patches(self, middle: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Return the features (B, N, local_dim) of positions (B, N) given by their index."""
        tokens = middle.flatten(2).transpose(1, 2)  # (B, rows * columns, 1024)
        rows = patches[..., None].expand(-1, -1, tokens.shape[-1])
        features: torch.Tensor = self.local_head(tokens.gather(1, rows))
        return features.float()


def _centres(patches: torch.Tensor, columns: int, longer_side_px: int) -> torch.Tensor:
    xy = torch.stack([patches % columns, patches // columns], dim=-1)
    return (xy * STRIDE_PX + STRIDE_PX // 2).float() / longer_side_px
