# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the network, so that everything above it runs in milliseconds; other helpers."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F

from r2former_ros.config import Config, ModelConfig
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.search import PlaceSearch
from r2former_ros.model import Encoder, ImageFeatures, Model, ModelSpec, R2Former, Scorer
from r2former_ros.model.loading import assemble
from r2former_ros.model.network import Origin
from r2former_ros.model.reranker import Reranker
from r2former_ros.recognizer import Recognizer
from r2former_ros.records import Frame, PosedFrame

GRID = 6
FEATURES = GRID * GRID
PLACES = 12


class FakeEncoder:
    """Describe an image by the colours of a coarse grid."""

    name, precision = 'torch', 'float32'

    def __init__(self) -> None:
        self.calls = 0

    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """Average the colours of each cell."""
        self.calls += 1
        cells = F.adaptive_avg_pool2d(images, GRID).flatten(2).transpose(1, 2)  # (B, 36, 3)
        centred = cells - cells.mean(dim=(1, 2), keepdim=True) + 1e-3
        row, column = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing='ij')
        xy = torch.stack([column, row], -1).reshape(1, FEATURES, 2).float() / GRID
        batch = len(images)
        return ImageFeatures(
            F.normalize(centred.flatten(1), dim=-1),
            xy.expand(batch, -1, -1),
            torch.linspace(1, 0.1, FEATURES).expand(batch, -1),
            cells,
        )


class FakeScorer:
    """Equal colours match."""

    name, precision = 'torch', 'float32'

    def score(
        self, query: ImageFeatures, candidates: ImageFeatures, batch: int
    ) -> torch.Tensor:
        """Turn the mean colour difference into logits; no difference gives 3."""
        difference = (query.descriptors - candidates.descriptors).abs().mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(difference), 3 - 12 * difference], dim=-1)


def fake_network() -> R2Former:
    """Describe the stand-ins as a network would."""
    spec = ModelSpec('fake', 'none', 48, 64, descriptor_dim=GRID * GRID * 3, local_dim=3,
                     num_local=FEATURES)
    origin = Origin('fake weights', trained=True, reranker_trained=True)
    return R2Former(spec, origin, torch.nn.Identity())


@dataclass(frozen=True)
class FakeModel(Model):
    """A model that runs in milliseconds; equal fingerprints compute the same."""

    network: R2Former = field(default_factory=fake_network)
    encoder: Encoder = field(default_factory=FakeEncoder)
    scorer: Scorer = field(default_factory=FakeScorer)
    fingerprint: str = 'fake000000000000'

    @property
    def calls(self) -> int:
        """How often something was encoded."""
        assert isinstance(self.encoder, FakeEncoder)
        return self.encoder.calls

    def rescore(self, query: ImageFeatures, candidates: ImageFeatures) -> torch.Tensor:
        """Order as ``score`` does."""
        return self.score(query, candidates)[:, 1]


def model_of(network: R2Former, precision: str = 'float32') -> Model:
    """Let PyTorch compute a network."""
    return assemble(network.eval(), ModelConfig(backend='torch', precision=precision))


def picture(seed: int, height: int = 48, width: int = 64, brightness: float = 0.0) -> np.ndarray:
    """Make a picture of coloured blocks, uint8 (height, width, 3); one seed, one place."""
    blocks = np.random.default_rng(seed).integers(30, 220, (GRID, GRID, 3))
    rows = np.arange(height) * GRID // height
    columns = np.arange(width) * GRID // width
    image = blocks[rows][:, columns] + brightness
    return np.clip(image, 0, 255).astype(np.uint8)


def module_of(path: Path) -> ModuleType:
    """Import a file that is in no package."""
    spec = importlib.util.spec_from_file_location(path.name.split('.')[0], path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def resident_mb() -> float:
    """Return the memory of this process."""
    (line,) = [one for one in Path('/proc/self/status').read_text().splitlines()
               if one.startswith('VmRSS')]
    return int(line.split()[1]) / 1024


def any_reranker() -> Reranker:
    """Make a reranker in which every weight counts."""
    reranker = Reranker()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in reranker.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    return reranker


def frames(count: int = PLACES, posed: bool = True) -> Iterator[PosedFrame]:
    """Make a drive along x, a place every five metres and every second."""
    for i in range(count):
        pose = pose_from_yaw(5.0 * i, 0.0, 0.1 * i) if posed else None
        yield PosedFrame(Frame(i * 10**9, picture(i)), pose, f'drive:{i}')


def search_on(place_map: PlaceMap, config: Config | None = None) -> PlaceSearch:
    """Search a map with the stand-in model."""
    return PlaceSearch(FakeModel(), place_map, config)


def recognizer_on(place_map: PlaceMap, config: Config | None = None) -> Recognizer:
    """Recognize places of a map with the stand-in model."""
    return Recognizer(search_on(place_map, config))
