# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A start that already recognises places, for a ViT that has no pretraining.

The stem gives oriented gradients. Here the blocks are set so that, before the first training step,
the class tokens gather what a whitened HOG descriptor is made of: each head of the middle blocks
reads one region of the image (an attention that depends on position alone), the class token the
upper half, the distillation token the same regions of the lower half; the output projections are
principal components over training images, the two heads whiten them together. Everything stays
an ordinary DeiT that trains on from there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from ...model.vit_encoder import VitEncoder

CONTENT = slice(0, 64)
"""Token values with the 16 unsigned gradient channels, of 2 x 2 cells each."""
X, Y, SQUARES, ONE, HIDDEN, BALLAST = 64, 65, 66, 67, 68, 69
CONSTANTS = slice(X, BALLAST + 1)
GATHERED = slice(72, 192)
"""Token values into which the regions' components are written."""
READING_BLOCKS = range(3, 11)
REGION_ROWS, REGION_COLUMNS = 4, 6
SQUARES_UNIT = 10.0
BALLAST_VALUE = 10.0
"""A constant value in all tokens, so that layer norms change with contrast only a little."""
READERS = ('qkv.weight', 'fc1.weight', 'head.weight', 'head_dist.weight')
"""Ends of names of weights that have the token's values as inputs."""
WRITERS = ('norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias', 'attn.proj.weight',
           'attn.proj.bias', 'fc2.weight', 'fc2.bias', 'backbone.norm.weight',
           'backbone.norm.bias', 'tokens.weight', 'tokens.bias')
"""Ends of names of weights that have the token's values as outputs."""
TOKENS = ('pos_embed', 'cls_token', 'dist_token')
TOKEN_STD = 0.75
"""About the standard deviation over the values of a token; sets how sharp regions are."""
QUIET = 0.05
CONTENT_GAIN = 1.5
GATHERED_STD = 0.5
WHITENING = 0.5
RIDGE = 0.05


@torch.no_grad()
def start_as_gradient_descriptor(
    encoder: VitEncoder, batches: Sequence[torch.Tensor]
) -> None:
    """
    Set the weights of a distilled DeiT-Tiny with a gradient stem.

    :param batches: normalised images (B, 3, H, W); a few thousand in all, more than 512.
    """
    _quieten(encoder)
    _place_tokens(encoder)
    for block_index in READING_BLOCKS:
        _read_regions(encoder, block_index)
    _fit_projections(encoder, batches)
    _fit_heads(encoder, batches)


def keep_constants(encoder: VitEncoder) -> None:
    """
    Take the token values that hold positions and constants out of training.

    An optimiser's steps on weights of an input that is always the same add up step after step:
    the descriptor is shifted away before anything is learned. So these weights get no gradient,
    neither those that read the values nor those that write them.
    """
    for names, dim in ((READERS, 1), (WRITERS, 0), (TOKENS, 2)):
        without_constants: Any = partial(_without_constants, dim=dim)
        for name, parameter in encoder.named_parameters():
            if name.endswith(names):
                parameter.register_hook(without_constants)  # type: ignore[no-untyped-call]


def _without_constants(gradient: torch.Tensor, *, dim: int) -> torch.Tensor:
    constants = torch.arange(CONSTANTS.start, CONSTANTS.stop, device=gradient.device)
    return gradient.index_fill(dim, constants, 0.0)


def _quieten(encoder: VitEncoder) -> None:
    """Make the residual branches small, so that blocks hand tokens through at first."""
    for block in encoder.backbone.blocks:
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight.mul_(QUIET)


def _place_tokens(encoder: VitEncoder) -> None:
    """Write positions into the embeddings: x, y in [-1, 1], a sum of squares, and one."""
    backbone = encoder.backbone
    rows, columns = (side // encoder.patch_px
                     for side in (encoder.spec.image_height, encoder.spec.image_width))
    y, x = torch.meshgrid(_centres(rows), _centres(columns), indexing='ij')
    sigma_x, sigma_y = _region_sigmas()
    position = backbone.pos_embed
    position.zero_()
    position[0, 2:, X], position[0, 2:, Y] = x.flatten(), y.flatten()
    squares = (x / sigma_x).square() + (y / sigma_y).square()
    position[0, 2:, SQUARES] = squares.flatten() / 2 / SQUARES_UNIT
    position[0, :, ONE] = 1.0
    position[0, :, BALLAST] = BALLAST_VALUE
    position[0, 0, Y], position[0, 1, Y] = -0.5, 0.5
    position[0, :2, SQUARES] = (0.5 / sigma_y) ** 2 / 2 / SQUARES_UNIT
    position[0, :2, HIDDEN] = 1.0
    stem = backbone.patch_embed.proj.tokens
    stem.weight[CONTENT.stop : GATHERED.start] = 0.0
    stem.weight[GATHERED] *= QUIET
    content = stem.weight[CONTENT]  # the same cells, without what all directions share
    content[:, : CONTENT.stop // 4] -= content.sum(dim=1, keepdim=True) / (CONTENT.stop // 4)
    content *= CONTENT_GAIN
    for token in (backbone.cls_token, backbone.dist_token):
        token.zero_()


def _centres(count: int) -> torch.Tensor:
    return (torch.arange(count) + 0.5) / count * 2 - 1


def _region_sigmas() -> tuple[float, float]:
    """Return the spread of a region: 0.6 of the distance to the next one."""
    return 0.6 * 2 / REGION_COLUMNS, 0.6 * 1 / REGION_ROWS


def _read_regions(encoder: VitEncoder, block_index: int) -> None:
    """
    Let the three heads of a block read the content of a region each.

    The logit of a query at q and a key at k is -|q + (x0, y0) - k|^2 / 2 in units of sigma,
    multiplied out: a Gaussian around the region. All of it scales with both layer norms, so
    contrast changes its sharpness at most.
    """
    attention = encoder.backbone.blocks[block_index].attn
    attention.proj.weight.zero_()
    attention.proj.bias.zero_()
    heads = attention.num_heads
    query, key, value = attention.qkv.weight.view(3, heads, 64, encoder.backbone.embed_dim)
    for head in range(heads):
        region = (block_index - READING_BLOCKS.start) * heads + head
        x0 = float(_centres(REGION_COLUMNS)[region % REGION_COLUMNS])
        y0 = float(_centres(REGION_ROWS)[region // REGION_COLUMNS]) / 2
        _look_at(query[head], key[head], x0, y0)
        value[head, :16] = 0.0
        value[head, :16, CONTENT] = torch.eye(16).repeat_interleave(4, dim=1) / 4


def _look_at(query: torch.Tensor, key: torch.Tensor, x0: float, y0: float) -> None:
    """Write one head's query and key rows (64, width) for the region at an offset."""
    key[:5], query[:5] = 0.0, 0.0
    scale = math.sqrt(8) * TOKEN_STD  # attention divides by sqrt(64)
    root = math.sqrt(SQUARES_UNIT)
    for row, (axis, offset, sigma) in enumerate(zip((X, Y), (x0, y0), _region_sigmas(),
                                                    strict=True)):
        per = scale / root / sigma**2
        key[row, axis] = scale * root
        query[row, axis], query[row, ONE] = per, offset * per
        query[3, axis] = -offset * per
        query[3, ONE] -= offset**2 / 2 * per
    key[2, SQUARES], query[2, ONE] = scale * root, -scale * root
    key[3, ONE], query[3, SQUARES] = scale * root, -scale * root
    key[4, HIDDEN], query[4, ONE] = -10 * scale, 3 * scale


def _fit_projections(encoder: VitEncoder, batches: Iterable[torch.Tensor]) -> None:
    """Write the principal components of all regions of a half image into the class tokens."""
    blocks = [encoder.backbone.blocks[index] for index in READING_BLOCKS]
    layers = [block.attn.proj for block in blocks]
    reads = torch.cat([_class_inputs(layers, encoder, images) for images in batches])
    reads = reads.flatten(0, 1)  # (2 x images, blocks x 192)
    mean = reads.mean(dim=0)
    _, scales, components = torch.linalg.svd(reads - mean, full_matrices=False)
    count = GATHERED.stop - GATHERED.start
    spread = float(scales[:count].square().mean().sqrt()) / math.sqrt(len(reads))
    projection = components[:count] * (GATHERED_STD / spread)
    for number, block in enumerate(blocks):
        part = slice(192 * number, 192 * (number + 1))
        block.attn.proj.weight[GATHERED] = projection[:, part]
        block.attn.proj.bias[GATHERED] = -projection[:, part] @ mean[part]


def _class_inputs(
    layers: Sequence[nn.Module], encoder: VitEncoder, images: torch.Tensor
) -> torch.Tensor:
    """Return what layers get for the two class tokens, side by side: (B, 2, sum of widths)."""
    kept: list[torch.Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        kept.append(inputs[0][:, :2].float())

    handles = [layer.register_forward_pre_hook(keep) for layer in layers]
    encoder(images)
    for handle in handles:
        handle.remove()
    return torch.cat(kept, dim=-1)


def _fit_heads(encoder: VitEncoder, batches: Iterable[torch.Tensor]) -> None:
    """Whiten both class tokens together into the descriptor."""
    backbone = encoder.backbone
    tokens = torch.cat([_class_tokens(encoder, images) for images in batches]).flatten(1)
    mean = tokens.mean(dim=0)
    _, scales, components = torch.linalg.svd(tokens - mean, full_matrices=False)
    count = encoder.spec.descriptor_dim
    deviation = scales[:count] / math.sqrt(len(tokens))
    weight = components[:count] / (deviation + 0.02 * deviation[0])[:, None] ** WHITENING
    weight = weight * 2
    width = backbone.embed_dim
    backbone.head.weight.copy_(weight[:, :width])
    backbone.head_dist.weight.copy_(weight[:, width:])
    backbone.head.bias.copy_(-weight[:, :width] @ mean[:width])
    backbone.head_dist.bias.copy_(-weight[:, width:] @ mean[width:])


def _class_tokens(encoder: VitEncoder, images: torch.Tensor) -> torch.Tensor:
    """Return both class tokens after the final norm, (B, 2, width)."""
    kept: list[torch.Tensor] = []
    handle = encoder.backbone.norm.register_forward_hook(lambda *call: kept.append(call[2]))
    encoder(images)
    handle.remove()
    return kept[0].float()


@torch.no_grad()
def fit_local_head(
    encoder: VitEncoder, pairs: Iterable[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
) -> None:
    """
    Set the local head by linear discriminant analysis of patches that show the same thing.

    Directions are kept in which matching patches of two views differ least, compared with how
    patches differ at all; position is left out.

    :param pairs: normalised left and right views (B, 3, H, W), and ``patch_matches`` (B, P, P);
        some hundred images in all.
    """
    left, right = (torch.cat(side) for side in zip(*(_matched(encoder, *pair) for pair in pairs),
                                                   strict=True))
    mean = torch.cat([left, right]).mean(dim=0)
    projection = discriminants(left - mean, right - mean, encoder.local_head.out_features)
    encoder.local_head.weight.zero_()
    encoder.local_head.weight[:, _described(encoder)] = projection.T
    encoder.local_head.bias.copy_(-(mean @ projection))


def discriminants(left: torch.Tensor, right: torch.Tensor, count: int) -> torch.Tensor:
    """
    Return (C, count) directions of largest total over within-pair variance, best first.

    :param left: centred vectors (N, C); row by row the same thing as ``right``.
    """
    difference = (left - right) / math.sqrt(2)
    within = difference.T @ difference / len(left)
    within += RIDGE * within.diagonal().mean() * torch.eye(len(within))
    values, vectors = torch.linalg.eigh(within)
    whitened = vectors * values.rsqrt()
    both = torch.cat([left, right]) @ whitened
    _, directions = torch.linalg.eigh(both.T @ both / len(both))
    best: torch.Tensor = whitened @ directions.flip(1)[:, :count]
    return best


def _matched(
    encoder: VitEncoder, left: torch.Tensor, right: torch.Tensor, matches: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens (M, C) of the left that have a match, and the right's at their place."""
    ours, theirs = (_late_tokens(encoder, images) for images in (left, right))
    seen = matches.sum(dim=-1) > 0.5
    return ours[seen], (matches @ theirs)[seen]


def _late_tokens(encoder: VitEncoder, images: torch.Tensor) -> torch.Tensor:
    """Return what the local head may use: patch tokens (B, P, C) before the last block."""
    tokens, _ = encoder.embed(images)
    for block in encoder.backbone.blocks[:-1]:
        tokens = block(tokens)
    prefix = encoder.backbone.num_prefix_tokens
    return tokens[:, prefix:, _described(encoder)].float()


def _described(encoder: VitEncoder) -> list[int]:
    """Return the token values that are neither position nor constant."""
    return [*range(CONTENT.stop), *range(GATHERED.start, encoder.backbone.embed_dim)]
