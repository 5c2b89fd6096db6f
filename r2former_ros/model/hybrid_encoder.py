# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A ViT on a convolutional patch embedding: the encoder of ``tiny``.

The first values of a patch token are its local feature, so these need no block. The blocks serve
the class token, whose attention ranks the patches as in the paper (section 3.1). The descriptor
is the class token's, added to that of the pooled tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .features import ImageFeatures
from .pooling import TokenPooling
from .spec import ModelSpec
from .transformer import LAYER_NORM_EPS, make_blocks
from .trunk import TrunkEmbedding
from .vit_encoder import VitEncoder, patch_centres

PATCH_PX = 16
WIDTH = 192
DEPTH = 3
HEADS = 12
"""Heads of 16 values: the class token reads as many parts of the image as there are heads."""
STD = 0.02


class PatchEmbed(nn.Module):
    """The trunk, under the names that a ViT has."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_size = (PATCH_PX, PATCH_PX)
        self.proj = TrunkEmbedding(WIDTH)


class ClassTokenVit(nn.Module):
    """The layers of a ViT with one class token, with timm's names."""

    num_prefix_tokens = 1
    embed_dim = WIDTH

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.grid = spec.image_height // PATCH_PX, spec.image_width // PATCH_PX
        self.patch_embed = PatchEmbed()
        self.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH) * STD)
        self.pos_embed = nn.Parameter(
            torch.randn(1, 1 + self.grid[0] * self.grid[1], WIDTH) * STD)
        self.norm_pre = nn.Identity()
        self.blocks = nn.Sequential(*make_blocks(DEPTH, width=WIDTH, heads=HEADS))
        self.norm = nn.LayerNorm(WIDTH, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(WIDTH, spec.descriptor_dim)
        for layer in (*self.blocks.modules(), self.head):
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=STD)
                nn.init.zeros_(layer.bias)

    def _pos_embed(self, maps: torch.Tensor) -> torch.Tensor:
        """Put the class token before patches (B, rows, columns, width), and add positions."""
        batch, rows, columns, width = maps.shape
        position = self.pos_embed[:, 1:]
        if (rows, columns) != self.grid:
            grid = position.reshape(1, *self.grid, width).permute(0, 3, 1, 2)
            grid = F.interpolate(grid, (rows, columns), mode='bicubic', align_corners=False)
            position = grid.flatten(2).transpose(1, 2)
        patches = maps.reshape(batch, rows * columns, width) + position
        first = (self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1)
        return torch.cat([first.to(patches), patches], dim=1)


class HybridEncoder(VitEncoder):
    """DeiT-Tiny's width and a quarter of its blocks, on the trunk of EfficientNet-Lite0."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, ClassTokenVit(spec))
        self.pooling = TokenPooling(WIDTH, spec.local_dim)
        self.pool_head = nn.Linear(self.pooling.size, spec.descriptor_dim, bias=False)

    def forward(self, images: torch.Tensor) -> ImageFeatures:
        """
        Encode normalised images, float32 (B, 3, H, W) with sides of at least one patch.

        :raises ImageError: if a side is smaller than a patch.
        """
        maps = self.embed_patches(images)
        class_tokens, attention, _ = self.attend(self.with_prefix(maps, images.shape[-2:]))
        attention, patches = attention.topk(min(self.spec.num_local, attention.shape[1]))
        return ImageFeatures(
            descriptor=self.describe_image(class_tokens, maps),
            xy=patch_centres(patches, maps.shape[-1], self.patch_px, max(images.shape[-2:])),
            attention=attention / attention[:, :1],
            descriptors=self.describe_patches(maps.flatten(2).transpose(1, 2), patches),
        )

    def describe_image(self, class_tokens: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Return descriptors (B, D) of unit norm from class tokens and embedded patches."""
        seen = self.backbone.head(self.backbone.norm(class_tokens[:, 0]))
        return F.normalize((seen + self.pool_head(self.pooling(maps))).float(), dim=-1)

    def describe_patches(self, tokens: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Return the features (B, N, local_dim) of patches (B, N) given by their index."""
        rows = patches[..., None].expand(-1, -1, tokens.shape[-1])
        features: torch.Tensor = self.local_head(tokens.gather(1, rows))
        return features.float()
