# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a map of so many places takes on disk and in memory."""

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
from ..maps.sqlite import row_bytes
from ..model import Model, ModelSpec
from ..recognizer import Recognizer
from ..records import Frame, PosedFrame
from .build import build_map

TABLE_BYTES = 250
"""Columns of a place in memory, with the text of its source."""
OBJECTS_BYTES = 250
"""Python's objects around the features of a preloaded place."""
ROW_BYTES = 150
"""A row of places: stamp, pose, the text of its source."""
HEAD_BYTES = 12
"""What a row holds besides its blob: its checksum, and the kinds of its columns."""


@dataclass(frozen=True)
class PlaceSize:
    """Bytes that a place takes in the file, and those of its features as they are stored."""

    file: float
    features: float
    descriptor_dim: int

    @classmethod
    def of_map(cls, place_map: PlaceMap) -> PlaceSize | None:
        """Take the mean of a map's file, and its first place's features; None if it is empty."""
        for descriptor, local in place_map.store.features():
            file = place_map.store.byte_size() / len(place_map)
            features = len(descriptor.blob) + len(local.blob)
            return cls(file, features, place_map.header.descriptor_dim)
        return None

    @classmethod
    def of_weights(cls, spec: ModelSpec, config: Config) -> PlaceSize:
        """Say what places made by these weights take, thumbnails not counted."""
        local = local_codec.place_bytes(spec.num_local, config.map.local_dtype, spec.local_dim)
        descriptor = 4 * spec.descriptor_dim
        rows = (local + HEAD_BYTES, descriptor + HEAD_BYTES, HEAD_BYTES, ROW_BYTES)
        return cls(sum(map(row_bytes, rows)), local + descriptor, spec.descriptor_dim)

    def memory(self, places: int, config: Config, device: str) -> float:
        """Return the bytes that a recognizer holds for so many places."""
        preloaded = places * (self.features + OBJECTS_BYTES)
        index = index_bytes(places, self.descriptor_dim, config.retrieval, device)
        return places * TABLE_BYTES + index + min(preloaded, config.map.preload_mb * 2**20)


def measured_peak(model: Model, place_map: PlaceMap, config: Config) -> int:
    """
    Recognise one picture of noise, as the node would; return the bytes this process ever held.

    What ROS itself takes is not in it, and on CUDA only what lies in the computer's memory.
    """
    recognizer = Recognizer(model, place_map, config)
    recognizer.recognize(noise(model.spec, seed=0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def map_of_noise(model: Model, path: Path, config: Config) -> None:
    """Build a map just large enough that a query reranks as many places as configured."""
    count = max(1, config.rerank.effective.candidates)
    frames = (PosedFrame(noise(model.spec, seed), None, 'noise') for seed in range(count))
    build_map(model, path, frames, with_values(config, {'map.thumbnail_width': 0}))


def noise(spec: ModelSpec, seed: int) -> Frame:
    """Make a picture that shows nothing, of the network's size."""
    size = spec.image_height, spec.image_width, 3
    return Frame(0, np.random.default_rng(seed).integers(0, 256, size, np.uint8))
