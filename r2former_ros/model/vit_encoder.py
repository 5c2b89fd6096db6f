# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The ViT encoder (paper section 3.1): a global descriptor and local features from one pass.

The class token gives the global descriptor; the patches that it attends to most give the local
features, taken from the input of the last block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ImageError, WeightsError
from .deit import BACKBONES, DistilledDeit
from .features import ImageFeatures
from .position_embedding import fit_position_embedding
from .spec import ModelSpec
from .transformer import read_out


class VitEncoder(nn.Module):
    """Any timm ``VisionTransformer`` with a class token; DeiT's distilled ones as published."""

    def __init__(self, spec: ModelSpec, backbone: Any = None) -> None:
        """
        Build the backbone that the spec names.

        :param backbone: used instead.
        """
        super().__init__()
        self.spec = spec
        self.backbone: Any = _make_backbone(spec) if backbone is None else backbone
        self.distilled = 'distilled' in spec.backbone
        self.patch_px = int(self.backbone.patch_embed.patch_size[0])
        self.local_head = nn.Linear(self.backbone.embed_dim, spec.local_dim)

    def forward(self, images: torch.Tensor) -> ImageFeatures:
        """
        Encode normalised images, float32 (B, 3, H, W) with sides of at least one patch.

        :raises ImageError: if a side is smaller than a patch.
        """
        maps = self.embed_patches(images)
        tokens = self.with_prefix(maps, images.shape[-2:])
        class_tokens, attention, tokens = self.attend(tokens)
        attention, patches = attention.topk(min(self.spec.num_local, attention.shape[1]))
        return ImageFeatures(
            descriptor=self.describe(class_tokens),
            xy=patch_centres(patches, maps.shape[-1], self.patch_px, max(images.shape[-2:])),
            attention=attention / attention[:, :1],
            descriptors=self.describe_patches(tokens, patches),
        )

    def embed_patches(self, images: torch.Tensor) -> torch.Tensor:
        """
        Return the embedded patches of normalised images (B, width, rows, columns).

        :raises ImageError: if a side is smaller than a patch.
        """
        height, width = images.shape[-2:]
        if min(height, width) < self.patch_px:
            raise ImageError(f'input of {width}x{height} pixels: a patch has {self.patch_px}')
        maps: torch.Tensor = self.backbone.patch_embed.proj(images)
        return maps

    def with_prefix(self, maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """
        Add positions, and put the class tokens before the patches.

        :param maps: embedded patches (B, width, rows, columns).
        :param size: height and width of the image in pixels.
        :returns: (B, prefix + rows * columns, width)
        """
        if self.distilled:
            tokens = self._add_prefix_and_position(maps, (int(size[0]), int(size[1])))
        else:
            tokens = self.backbone._pos_embed(maps.permute(0, 2, 3, 1))
        normed: torch.Tensor = self.backbone.norm_pre(tokens)
        return normed

    def attend(
        self, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Run the blocks; the last one for the class tokens only.

        :returns: the class tokens (B, class tokens, width), their attention (B, patches) summed
            over heads, and the tokens that entered the last block.
        """
        for block in self.backbone.blocks[:-1]:
            tokens = block(tokens)
        class_tokens, weights = read_out(
            self.backbone.blocks[-1], tokens, 2 if self.distilled else 1
        )
        attention = weights[..., self.backbone.num_prefix_tokens :].float().sum(dim=(1, 2))
        return class_tokens, attention, tokens

    def describe(self, class_tokens: torch.Tensor) -> torch.Tensor:
        """Return descriptors (B, D) of unit norm from the class tokens of the last block."""
        normed = self.backbone.norm(class_tokens)
        pooled = self.backbone.head(normed[:, 0])
        if self.distilled:
            pooled = (pooled + self.backbone.head_dist(normed[:, 1])) / 2
        return F.normalize(pooled.float(), dim=-1)

    def describe_patches(self, tokens: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Return the features (B, N, local_dim) of patches (B, N) given by their index."""
        offset = 0 if self.spec.token_shift else self.backbone.num_prefix_tokens
        rows = (patches + offset)[..., None].expand(-1, -1, tokens.shape[-1])
        features: torch.Tensor = self.local_head(tokens.gather(1, rows))
        return features.float()

    def _add_prefix_and_position(
        self, maps: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        backbone = self.backbone
        patches = maps.flatten(2).transpose(1, 2)  # (B, patches, width)
        batch = patches.shape[0]
        prefix = torch.cat([backbone.cls_token, backbone.dist_token], dim=1)
        count = prefix.shape[1]
        position = fit_position_embedding(
            backbone.pos_embed[:, count:],
            (self.spec.image_height, self.spec.image_width),
            size,
        )
        prefix = (prefix + backbone.pos_embed[:, :count]).expand(batch, -1, -1)
        return torch.cat([prefix, patches + position], dim=1)


def is_timm_model(name: str) -> bool:
    """Say whether timm knows an architecture by this name."""
    import timm

    return bool(timm.is_model(name))


def timm_spec(backbone: str) -> ModelSpec:
    """
    Describe a model whose backbone is any ViT of timm, with that backbone's own normalisation.

    :raises WeightsError: if timm has no such model.
    """
    import timm

    try:
        settings = timm.get_pretrained_cfg(backbone)
    except RuntimeError:
        settings = None
    if settings is None:
        raise WeightsError(f'{backbone}: timm has no such model')
    _, height, width = settings.input_size
    return ModelSpec(
        backbone, backbone, height, width, mean=settings.mean, std=settings.std
    )


def _make_backbone(spec: ModelSpec) -> Any:
    size = spec.image_height, spec.image_width
    if spec.backbone in BACKBONES:
        return DistilledDeit(spec.backbone, size, spec.descriptor_dim)
    return _make_timm_backbone(spec)


def _make_timm_backbone(spec: ModelSpec) -> nn.Module:
    """Build any other backbone with timm, which takes long to import."""
    import timm
    from timm.models.vision_transformer import VisionTransformer

    distilled = 'distilled' in spec.backbone
    extra: dict[str, Any] = (
        {} if distilled else {'dynamic_img_size': True, 'global_pool': 'token'}
    )
    try:
        backbone = timm.create_model(
            spec.backbone,
            img_size=(spec.image_height, spec.image_width),
            num_classes=spec.descriptor_dim,
            **extra,
        )
    except (RuntimeError, TypeError, AssertionError) as error:
        reason = ' '.join(str(error).split())
        raise WeightsError(f'{spec.backbone}: timm cannot build it ({reason})') from error
    if not isinstance(backbone, VisionTransformer) or backbone.cls_token is None:
        kind = type(backbone).__name__
        raise WeightsError(f'{spec.backbone} is a {kind}: a VisionTransformer with a class token '
                           'or resnet50 is needed')
    return backbone


def patch_centres(
    patches: torch.Tensor, columns: int, patch_px: int, longer_side_px: int
) -> torch.Tensor:
    """
    Return x, y (B, N, 2) of patch centres, in pixels / the image's longer side.

    Columns are counted with the grid's own width. (The released code rounds it up, which is
    wrong where the image's width is no multiple of the patch.)
    """
    xy = torch.stack([patches % columns, patches // columns], dim=-1)
    return (xy * patch_px + patch_px // 2).float() / longer_side_px
