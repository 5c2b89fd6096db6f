# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Features of a map preloaded for reranking, packed as they are stored.

On a GPU they are in its memory and are unpacked there, so that a query sends row numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from ..common.progress import Notify, noted, silent
from ..model import ImageFeatures
from . import codec as local_codec
from .place_map import Packed, PlaceMap


class MapFeatures(Protocol):
    """The features of all places of a map, some of them preloaded: as many as it is long."""

    def __len__(self) -> int: ...

    def of(self, place_ids: Sequence[int]) -> ImageFeatures:
        """
        Return the features of K places in the given order, float32, on the model's device.

        :raises MapError: if a place is missing or damaged.
        """


def preloaded(
    place_map: PlaceMap, budget_mb: int, device: torch.device, notify: Notify = silent
) -> MapFeatures:
    """
    Preload features up to a budget; those of other places are read from the map when needed.

    :raises MapError: if one is damaged.
    """
    packed: dict[int, Packed] = {}
    left = budget_mb * 2**20
    for place_id, one in noted(place_map.all_packed(), 'preloaded places', len(place_map), notify):
        left -= sum(map(len, one))
        if left < 0:
            break
        packed[place_id] = one
    if device.type == 'cpu':
        return HostFeatures(place_map, packed)
    return DeviceFeatures(place_map, packed, device)


class HostFeatures:
    """``MapFeatures`` in the computer's memory."""

    def __init__(self, place_map: PlaceMap, packed: Mapping[int, Packed]) -> None:
        self._place_map = place_map
        self._packed = packed

    def __len__(self) -> int:
        return len(self._packed)

    def of(self, place_ids: Sequence[int]) -> ImageFeatures:
        """Return the features of K places in the given order."""
        packed = [self._packed.get(one) or self._place_map.packed(one) for one in place_ids]
        return ImageFeatures.stack(*self._place_map.unpacked(packed, widen=False))


class DeviceFeatures:
    """``MapFeatures`` on the device that scores them."""

    def __init__(
        self, place_map: PlaceMap, packed: Mapping[int, Packed], device: torch.device | str
    ) -> None:
        """Copy to the device; a place with fewer local features than others stays in the map."""
        self._place_map = place_map
        self._device = device
        length = max((len(local) for _, local in packed.values()), default=0)
        whole = {one: blobs for one, blobs in packed.items() if len(blobs[1]) == length}
        self._row_of = {place_id: row for row, place_id in enumerate(whole)}
        dim = place_map.header.descriptor_dim
        self._descriptors = torch.empty(len(whole), dim, device=device)
        self._local = torch.empty(len(whole), length, dtype=torch.uint8, device=device)
        for row, (descriptor, local) in enumerate(whole.values()):
            self._descriptors[row] = torch.from_numpy(np.frombuffer(descriptor, '<f4').copy())
            self._local[row] = torch.from_numpy(np.frombuffer(local, np.uint8).copy())

    def __len__(self) -> int:
        return len(self._row_of)

    def of(self, place_ids: Sequence[int]) -> ImageFeatures:
        """Return the features of K places in the given order, on the device."""
        here = [one for one in place_ids if one in self._row_of]
        away = [one for one in place_ids if one not in self._row_of]
        if not away:
            return self._gathered(here)
        stored = self._place_map.features(away, widen=False)
        features = ImageFeatures.stack(*stored, self._device)
        if here:
            features = ImageFeatures.cat([self._gathered(here), features])
        row_of = {place_id: row for row, place_id in enumerate([*here, *away])}
        return features[[row_of[one] for one in place_ids]]

    def _gathered(self, place_ids: list[int]) -> ImageFeatures:
        rows = torch.tensor([self._row_of[one] for one in place_ids], device=self._device)
        header = self._place_map.header
        local = unpack(self._local[rows], header.local_dtype, header.local_dim)
        return ImageFeatures(self._descriptors[rows], *local)


def unpack(
    blobs: torch.Tensor, dtype: str, local_dim: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Read what ``codec.encode`` wrote for K places with N features each, all float32.

    :param blobs: (K, bytes) uint8.
    :returns: xy (K, N, 2), attention (K, N) and descriptors (K, N, local_dim).
    """
    places, length = blobs.shape
    count = local_codec.feature_count(length, dtype, local_dim)
    head_at = local_codec.ranges_bytes(dtype, local_dim)
    body_at = head_at + 6 * count
    head = _numbers(blobs[:, head_at:body_at], torch.float16).reshape(places, count, 3)
    if dtype == 'float16':
        body = _numbers(blobs[:, body_at:], torch.float16).reshape(places, count, local_dim)
    else:
        low, step = _numbers(blobs[:, :head_at], torch.float32).reshape(places, 2, -1).unbind(1)
        steps = blobs[:, body_at:].reshape(places, count, local_dim)
        body = steps * step[:, None] + low[:, None]
    return head[..., :2], head[..., 2], body


def _numbers(blobs: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return blobs.contiguous().view(dtype).float()
