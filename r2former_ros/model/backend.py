# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The seam between the network and what computes it: ``Encoder``, ``Scorer``, and ``Model``.

Everything outside this folder holds a ``Model``. To compute differently (another engine, a cache,
a part taken away, a stand-in for tests), replace its encoder or its scorer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from .features import ImageFeatures
from .network import Origin, R2Former
from .reranker import mean_best_correlation
from .spec import ModelSpec


class Encoder(Protocol):
    """Turns images into features, without gradients."""

    @property
    def name(self) -> str:
        """The engine, as in ``model.backend``."""

    @property
    def precision(self) -> str:
        """The arithmetic, as in ``model.precision``."""

    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """
        Encode normalised images, float32 (B, 3, H, W), on any device.

        :returns: features on any device.
        :raises ImageError: if a side is smaller than a patch.
        """


class Scorer(Protocol):
    """Scores pairs of images by their local features, without gradients."""

    @property
    def name(self) -> str:
        """The engine, as in ``model.backend``."""

    @property
    def precision(self) -> str:
        """The arithmetic, as in ``model.precision``."""

    def score(
        self, query: ImageFeatures, candidates: ImageFeatures, batch: int
    ) -> torch.Tensor:
        """
        Score one query image against K > 0 candidates, all on any device.

        :param batch: pairs scored at a time, which bounds memory; an engine may ignore it.
        :returns: logits (K, 2) float32 on any device: no match, match.
        :raises ImageError: if an image has fewer than five local features.
        """


@dataclass(frozen=True)
class Model:
    """
    A network and the engines that compute it.

    ``fingerprint`` identifies weights and input size; features of models that share it can be
    compared. Results of ``encode``, ``score`` and ``rescore`` are on the network's device,
    whichever engine computed them.
    """

    network: R2Former
    encoder: Encoder
    scorer: Scorer
    fingerprint: str

    @property
    def spec(self) -> ModelSpec:
        """Architecture and input size."""
        return self.network.spec

    @property
    def origin(self) -> Origin:
        """Where the weights come from, and which parts are trained."""
        return self.network.origin

    @property
    def device(self) -> torch.device:
        """Where the weights and the results are."""
        return self.network.device

    @property
    def backend(self) -> str:
        """Name the engines: ``torch``, ``numba`` (scores only), ``openvino+numba``, ``onnx``…"""
        if self.encoder.name in ('torch', self.scorer.name):
            return self.scorer.name
        return f'{self.encoder.name}+{self.scorer.name}'

    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """
        Encode normalised images, float32 (B, 3, H, W); sides should be multiples of 16.

        :returns: ``descriptor`` (B, D) and N = min(num_local, patches) local features per image.
        :raises ImageError: if a side is smaller than a patch.
        """
        return self.encoder.encode(images).to(self.device)

    def score(
        self, query: ImageFeatures, candidates: ImageFeatures, batch: int = 10
    ) -> torch.Tensor:
        """
        Score one query image against K candidates, ``batch`` pairs at a time.

        :returns: logits (K, 2) float32: no match, match.
        :raises ImageError: if an image has fewer than five local features.
        """
        if not len(candidates):
            return torch.zeros(0, 2, device=self.device)
        return self.scorer.score(query, candidates, batch).to(self.device)

    @torch.inference_mode()
    def rescore(self, query: ImageFeatures, candidates: ImageFeatures) -> torch.Tensor:
        """
        Compare one query image with K candidates cheaply, without the reranker.

        :returns: (K,) float32: their mean best correlation.
        """
        return mean_best_correlation(query.to(self.device), candidates.to(self.device))
