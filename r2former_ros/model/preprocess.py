# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From an RGB picture to the input of a model: the only place that knows size, mean and std.

As in the released evaluation, pictures are scaled to [0, 1], normalised and resized bilinearly
without antialiasing; the aspect ratio is not kept. Resizing comes first here, so a large picture
costs little more than a small one; the result is the same up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..errors import ImageError
from ..records import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MIN_SIDE_PX = 8
"""Shortest side of a picture; smaller ones show nothing recognisable and are refused."""


@dataclass(frozen=True)
class InputSpec:
    """Size in pixels and normalisation (RGB, of values in [0, 1]) that a model expects."""

    height: int
    width: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def preprocess(
    image: Image, spec: InputSpec, device: torch.device | str = 'cpu'
) -> torch.Tensor:
    """
    Make the model's input from one picture, uint8 (H, W, 3) RGB of any size from 8 px.

    :returns: float32 (1, 3, spec.height, spec.width) on the device.
    :raises ImageError: if the array is not such a picture.
    """
    check_image(image)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device)
    resized = _resized_along(1, _resized_along(0, pixels, spec.height), spec.width)
    mean, std = (torch.tensor(values, device=device) * 255 for values in (spec.mean, spec.std))
    return ((resized - mean) / std).permute(2, 0, 1)[None].contiguous()


def normalised(images: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """Turn uint8 (B, H, W, 3) of the network's size into its input, float32 (B, 3, H, W)."""
    mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) * 255
                 for values in (spec.mean, spec.std))
    return (images.permute(0, 3, 1, 2).float() - mean) / std


def _resized_along(dim: int, pixels: torch.Tensor, size: int) -> torch.Tensor:
    """Resize one dimension as ``F.interpolate`` does, reading only the pixels it needs."""
    length = pixels.shape[dim]
    if length == size:
        return pixels.float()
    at = (torch.arange(size, device=pixels.device) + 0.5) * (length / size) - 0.5
    at = at.clamp(min=0)
    first = at.long()
    second = (first + 1).clamp(max=length - 1)
    share = (at - first).view([-1 if side == dim else 1 for side in range(pixels.dim())])
    low, high = (pixels.index_select(dim, rows).float() for rows in (first, second))
    return torch.lerp(low, high, share)


def check_image(image: Image) -> None:
    """
    Refuse what is not a picture.

    :raises ImageError: naming shape and dtype, if it is not uint8 (H >= 8, W >= 8, 3).
    """
    shape, dtype = tuple(image.shape), image.dtype
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
        raise ImageError(f'image of shape {shape}, {dtype}: expected uint8 (height, width, 3) RGB')
    if min(shape[:2]) < MIN_SIDE_PX:
        raise ImageError(
            f'image of {shape[1]}x{shape[0]} pixels: at least {MIN_SIDE_PX}x{MIN_SIDE_PX} needed'
        )
