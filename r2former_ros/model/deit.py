# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The distilled DeiT of timm, bit for bit, without importing timm.

timm takes twice as long to import as PyTorch, and inference with the usual weights needs none of
it. Names, arithmetic and initial weights are those of timm's ``VisionTransformerDistilled``.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from .transformer import LAYER_NORM_EPS, make_blocks

PATCH_PX = 16
DEPTH = 12
SIZES = {'tiny': (192, 3), 'small': (384, 6), 'base': (768, 12)}
"""Width and heads."""
BACKBONES = {f'deit_{name}_distilled_patch16_224': name for name in SIZES}
STD = 0.02


class PatchEmbed(nn.Module):
    """One linear layer for each patch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patch_size = (PATCH_PX, PATCH_PX)
        self.proj = nn.Conv2d(3, width, PATCH_PX, stride=PATCH_PX)


class DistilledDeit(nn.Module):
    """The layers; ``VitEncoder`` puts them together."""

    num_prefix_tokens = 2

    def __init__(
        self, backbone: str, image_size: tuple[int, int], outputs: int, depth: int = DEPTH
    ) -> None:
        """
        Make a network with random weights.

        :param backbone: a key of ``BACKBONES``.
        :param image_size: height and width in pixels, which position embeddings are made for.
        :param outputs: values of each of the two heads.
        """
        super().__init__()
        self.embed_dim, heads = SIZES[BACKBONES[backbone]]
        patches = (image_size[0] // PATCH_PX) * (image_size[1] // PATCH_PX)
        self.patch_embed = PatchEmbed(self.embed_dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, self.embed_dim))
        self.norm_pre = nn.Identity()
        self.blocks = nn.Sequential(*make_blocks(depth, width=self.embed_dim, heads=heads))
        self.norm = nn.LayerNorm(self.embed_dim, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(self.embed_dim, outputs)
        self.dist_token = nn.Parameter(torch.empty(1, 1, self.embed_dim))
        self.pos_embed = nn.Parameter(
            torch.empty(1, patches + self.num_prefix_tokens, self.embed_dim))
        self.head_dist = nn.Linear(self.embed_dim, outputs)
        self._initialise()

    def _initialise(self) -> None:
        """Draw initial weights in timm's order, so that one seed gives the same network."""
        _draw(self.dist_token)
        _draw(self.pos_embed)
        nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                _draw(module.weight)
                nn.init.zeros_(module.bias)


@torch.no_grad()
def _draw(tensor: torch.Tensor) -> None:
    """Draw normal values as timm does; PyTorch's own way draws others from the same seed."""
    tensor.uniform_(-1, 1).erfinv_().mul_(STD * math.sqrt(2)).clamp_(-2, 2)
