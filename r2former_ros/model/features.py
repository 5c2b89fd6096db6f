# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The features of a batch of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    def __getitem__(self, rows: int | slice | list[int] | torch.Tensor) -> ImageFeatures:
        """Select images; an integer keeps the batch dimension."""
        if isinstance(rows, int):
            rows = slice(rows, rows + 1 or None)
        return self.map(lambda tensor: tensor[rows])

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return all four tensors in the order of the fields."""
        return self.descriptor, *self.local()

    def local(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return ``xy``, ``attention`` and ``descriptors``."""
        return self.xy, self.attention, self.descriptors

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> ImageFeatures:
        """Return features whose four tensors are changed in the same way."""
        return ImageFeatures(*map(change, self.tensors()))

    def strongest(self, count: int) -> ImageFeatures:
        """Keep the ``count`` local features with the largest attention; 0 keeps all."""
        kept = slice(count or None)
        return ImageFeatures(self.descriptor, *(tensor[:, kept] for tensor in self.local()))

    def to(self, device: torch.device | str) -> ImageFeatures:
        """Move to a device."""
        return self.map(lambda tensor: tensor.to(device))

    def descriptor_of(self, image: int) -> Vector:
        """Return the global descriptor (D,) of one image as numpy float32."""
        return _numpy(self.descriptor[image])

    def local_features_of(self, image: int) -> LocalFeatures:
        """Return the local features of one image as numpy float32."""
        return LocalFeatures(*(_numpy(tensor[image]) for tensor in self.local()))

    @staticmethod
    def cat(parts: Sequence[ImageFeatures]) -> ImageFeatures:
        """Join batches of images with the same N."""
        columns = zip(*(part.tensors() for part in parts), strict=True)
        return ImageFeatures(*map(torch.cat, columns))

    @staticmethod
    def stack(
        descriptors: Sequence[Vector],
        local_features: Sequence[LocalFeatures],
        device: torch.device | str = 'cpu',
    ) -> ImageFeatures:
        """Make a batch of images that were stored separately, all with the same N."""
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
