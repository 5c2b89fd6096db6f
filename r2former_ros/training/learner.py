# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The loss of a stage on a batch of queries with their positives and negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ConfigError
from ..model import ImageFeatures, R2Former
from ..model.preprocess import normalised
from ..model.vit_encoder import VitEncoder
from .data.pools import matched_patches
from .losses import (
    contrast,
    info_nce,
    pair_cross_entropy,
    pair_ranking,
    patch_contrast,
    patch_similarity,
    triplet_margin,
)
from .recipe import Recipe


class Learner(nn.Module):
    """The model with the loss of its stage in one ``forward``, as DDP requires."""

    def __init__(self, model: R2Former, recipe: Recipe) -> None:
        """
        Freeze what the recipe does not train.

        :raises ConfigError: if the recipe needs a ViT and the model has none.
        """
        super().__init__()
        self.model, self.recipe = model, recipe
        self._freeze()
        if recipe.patch_weight:
            _vit(model, 'patch_weight')

    def forward(
        self, images: torch.Tensor, ignored: torch.Tensor, positive_T_query: torch.Tensor
    ) -> torch.Tensor:
        """
        Return the loss.

        :param images: uint8 (B, 2 + K, H, W, 3): query, positive, K negatives.
        :param ignored: bool (B, B, 1 + K), see ``sources.Batch``; ``positive_T_query`` too.
        """
        group = images.shape[1]
        encoder = self.model.encoder
        features = encoder(normalised(images.flatten(0, 1), self.model.spec.input))
        loss = torch.zeros((), device=images.device)
        if self.recipe.stage != 'rerank':
            loss = loss + self.retrieval_loss(features, group, ignored)
        if self.recipe.patch_weight:
            size = images.shape[2:4]
            loss = loss + self.recipe.patch_weight * self.patch_loss(
                features, group, positive_T_query, size)
        if self.recipe.stage != 'retrieval':
            share = 1.0 if self.recipe.stage == 'rerank' else self.recipe.pair_weight
            loss = loss + share * self.pair_loss(features, group)
        return loss

    def train(self, mode: bool = True) -> Learner:
        """Set the mode; a frozen encoder stays in evaluation mode, with its running means."""
        super().train(mode)
        if self.recipe.stage == 'rerank':
            self.model.encoder.eval()
        return self

    def retrieval_loss(
        self, features: ImageFeatures, group: int, ignored: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss of features in groups of query, positive, negatives."""
        grouped = _by_group(features.descriptor, group)
        if self.recipe.retrieval_loss == 'info_nce':
            keys = grouped[:, 1:].flatten(0, 1)
            positives = torch.arange(len(grouped), device=keys.device) * (group - 1)
            loss = info_nce(grouped[:, 0], keys, positives, ignored.flatten(1),
                            self.recipe.temperature)
            if not self.recipe.local_weight:
                return loss
            similarity = self._similarity_by_patches(features, group)
            by_patches = contrast(similarity, positives, ignored.flatten(1),
                                  self.recipe.local_temperature)
            return loss + self.recipe.local_weight * by_patches
        return triplet_margin(grouped[:, 0], grouped[:, 1], grouped[:, 2:], self.recipe.margin)

    def patch_loss(
        self, features: ImageFeatures, group: int, positive_T_query: torch.Tensor,
        size: Sequence[int],
    ) -> torch.Tensor:
        """Return the contrast of patches, where query and positive are views of one image."""
        one_image = positive_T_query.isfinite().all(dim=-1).all(dim=-1)
        patches = _by_group(F.normalize(features.descriptors, dim=-1), group)[one_image]
        centres = _by_group(features.xy * max(size), group)[one_image] - 0.5
        shares = matched_patches(positive_T_query[one_image], centres[:, 0], centres[:, 1],
                                 self.model.encoder.patch_px)
        return patch_contrast(patches[:, 0], patches[:, 1], shares,
                              self.recipe.patch_temperature)

    def pair_loss(self, features: ImageFeatures, group: int) -> torch.Tensor:
        """
        Return the loss of each query with its positive and its negatives.

        Attention is detached, as in the released code: only retrieval trains it.
        """
        rows = torch.arange(len(features), device=features.descriptor.device).view(-1, group)
        others = rows[:, 1:].flatten()
        queries = rows[:, :1].expand(-1, group - 1).flatten()
        features = replace(features, attention=features.attention.detach())
        logits = self.model.reranker(features[queries], features[others])
        logits = logits.view(-1, group - 1, 2)
        if self.recipe.pair_loss == 'ranking':
            return pair_ranking(logits)
        return pair_cross_entropy(logits)

    def _similarity_by_patches(self, features: ImageFeatures, group: int) -> torch.Tensor:
        patches = F.normalize(features.descriptors, dim=-1)
        grouped = _by_group(patches, group)
        return patch_similarity(grouped[:, 0], grouped[:, 1:].flatten(0, 1))

    def _freeze(self) -> None:
        """Freeze what a stage must not change; rerank trains only the encoder's local head."""
        stage, encoder = self.recipe.stage, self.model.encoder
        by_patches = (stage != 'retrieval' or self.recipe.local_weight > 0
                      or self.recipe.patch_weight > 0)
        if stage == 'rerank':
            encoder.requires_grad_(False)
        elif self.recipe.trained_blocks >= 0:
            self._freeze_trunk(self.recipe.trained_blocks)
        encoder.local_head.requires_grad_(by_patches)
        if not self.recipe.local_gradient:
            encoder.local_head.register_forward_pre_hook(_detached)
        self.model.reranker.requires_grad_(self.recipe.trains_reranker)
        self.model.reranker.ratio.requires_grad_(False)  # no loss uses it

    def _freeze_trunk(self, trained_blocks: int) -> None:
        """Keep the last blocks, the norm and the heads trainable."""
        encoder = _vit(self.model, 'trained_blocks')
        blocks = encoder.backbone.blocks
        kept: list[nn.Module] = [*blocks[len(blocks) - trained_blocks :]] if trained_blocks else []
        kept.append(encoder.backbone.head)
        if trained_blocks:
            kept.append(encoder.backbone.norm)
        if encoder.distilled:
            kept.append(encoder.backbone.head_dist)
        encoder.requires_grad_(False)
        for module in kept:
            module.requires_grad_(True)


def _by_group(values: torch.Tensor, group: int) -> torch.Tensor:
    return values.view(-1, group, *values.shape[1:])


def _vit(model: R2Former, setting: str) -> VitEncoder:
    if not isinstance(model.encoder, VitEncoder):
        raise ConfigError(f'{setting}: {model.spec.preset} is not a ViT; leave it out')
    return model.encoder


def _detached(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(one.detach() for one in inputs)
