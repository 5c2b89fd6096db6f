# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Estimate the size of a map of N places, on disk and in memory."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config import Config, with_values
from ..maps import codec as local_codec
from ..maps.index import index_bytes
from ..maps.place_map import PlaceMap
from ..maps.search import PlaceSearch
from ..maps.sqlite import row_bytes
from ..model import Model, ModelSpec
from ..recognizer import Recognizer
from ..records import Frame, PosedFrame
from .build import build_map

TABLE_BYTES = 164
"""A place in memory: its columns, 132, and a source of 32 characters."""
FILTER_BYTES = 22
"""A place in the search tree of the filter: its row number, and its share of the nodes."""
OBJECTS_BYTES = 250
"""Python objects around the features of a preloaded place."""
ROW_BYTES = 150
"""A row of places: stamp, pose, source."""
HEAD_BYTES = 12
"""What a row holds besides its blob: its checksum, and the types of its columns."""


@dataclass(frozen=True)
class PlaceSize:
    """Bytes per place: in the file, and its features as stored."""

    file: float
    features: float
    descriptor_dim: int

    @classmethod
    def of_map(cls, place_map: PlaceMap) -> PlaceSize | None:
        """Measure a map: its mean row and the features of its first place; None if it is empty."""
        for _, packed in place_map.all_packed():
            file = place_map.byte_size() / len(place_map)
            return cls(file, sum(map(len, packed)), place_map.header.descriptor_dim)
        return None

    @classmethod
    def of_weights(cls, spec: ModelSpec, config: Config) -> PlaceSize:
        """Compute the sizes for weights, without thumbnails."""
        local = local_codec.place_bytes(spec.num_local, config.map.local_dtype, spec.local_dim)
        descriptor = 4 * spec.descriptor_dim
        rows = (local + HEAD_BYTES, descriptor + HEAD_BYTES, HEAD_BYTES, ROW_BYTES)
        return cls(sum(map(row_bytes, rows)), local + descriptor, spec.descriptor_dim)

    def memory(self, places: int, config: Config, device: str) -> float:
        """Return the bytes that a recognizer holds for a number of places."""
        preloaded = places * (self.features + OBJECTS_BYTES)
        index = index_bytes(places, self.descriptor_dim, config.retrieval, device)
        held = places * (TABLE_BYTES + FILTER_BYTES) + index
        return held + min(preloaded, config.map.preload_mb * 2**20)


def measured_peak(model: Model, place_map: PlaceMap, config: Config) -> int:
    """
    Recognize a picture of noise, as the node would, and return the peak memory of this process.

    ROS is not included, nor is the memory of a GPU.
    """
    recognizer = Recognizer(PlaceSearch(model, place_map, config))
    recognizer.recognize(noise(model.spec, seed=0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def map_of_noise(model: Model, path: Path, config: Config) -> None:
    """Build a map with just as many places as a query reranks."""
    count = max(1, config.rerank.effective.candidates)
    frames = (PosedFrame(noise(model.spec, seed), None, 'noise') for seed in range(count))
    build_map(model, path, frames, with_values(config, {'map.thumbnail_width': 0}))


def noise(spec: ModelSpec, seed: int) -> Frame:
    """Make a picture of noise, of the network's size."""
    size = spec.image_height, spec.image_width, 3
    return Frame(0, np.random.default_rng(seed).integers(0, 256, size, np.uint8))
