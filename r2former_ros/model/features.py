# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the encoder says about a batch of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..records import LocalFeatures, Vector


@dataclass(frozen=True)
class ImageFeatures:
    """
    Features of B images with N local features each, on one device.

    ``descriptor`` (B, D) has unit norm. ``xy`` (B, N, 2) is in pixels / max(H, W);
    ``attention`` (B, N) descends from 1; ``descriptors`` (B, N, C) are raw, not normalised.
    """

    descriptor: torch.Tensor
    xy: torch.Tensor
    attention: torch.Tensor
    descriptors: torch.Tensor

    def __len__(self) -> int:
        return self.descriptor.shape[0]

    def __getitem__(self, rows: int | slice | list[int]) -> ImageFeatures:
        """Select images; an integer keeps the batch dimension."""
        if isinstance(rows, int):
            rows = slice(rows, rows + 1 or None)
        return ImageFeatures(
            self.descriptor[rows], self.xy[rows], self.attention[rows], self.descriptors[rows]
        )

    def joined(self, other: ImageFeatures) -> ImageFeatures:
        """Append the images of another batch with the same N."""
        return ImageFeatures(
            torch.cat([self.descriptor, other.descriptor]),
            torch.cat([self.xy, other.xy]),
            torch.cat([self.attention, other.attention]),
            torch.cat([self.descriptors, other.descriptors]),
        )

    def strongest(self, count: int) -> ImageFeatures:
        """Keep the local features of largest attention; 0 keeps all."""
        kept = slice(count or None)
        return ImageFeatures(
            self.descriptor, self.xy[:, kept], self.attention[:, kept], self.descriptors[:, kept]
        )

    def to(self, device: torch.device | str) -> ImageFeatures:
        """Move to a device."""
        return ImageFeatures(
            self.descriptor.to(device),
            self.xy.to(device),
            self.attention.to(device),
            self.descriptors.to(device),
        )

    def descriptor_of(self, image: int) -> Vector:
        """Return the global descriptor (D,) of one image as numpy float32."""
        return _numpy(self.descriptor[image])

    def local_features_of(self, image: int) -> LocalFeatures:
        """Return the local features of one image as numpy float32."""
        return LocalFeatures(
            _numpy(self.xy[image]), _numpy(self.attention[image]), _numpy(self.descriptors[image])
        )

    @staticmethod
    def stack(
        descriptors: Sequence[Vector],
        local_features: Sequence[LocalFeatures],
        device: torch.device | str = 'cpu',
    ) -> ImageFeatures:
        """Make a batch of images that were stored one by one, all with the same N."""
        return ImageFeatures(
            _batch(descriptors, device),
            _batch([features.xy for features in local_features], device),
            _batch([features.attention for features in local_features], device),
            _batch([features.descriptors for features in local_features], device),
        )


def _numpy(tensor: torch.Tensor) -> Vector:
    return np.asarray(tensor.float().cpu().numpy(), np.float32)


def _batch(arrays: Sequence[Vector], device: torch.device | str) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device).float()
