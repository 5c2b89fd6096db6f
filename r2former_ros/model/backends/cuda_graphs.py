# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Calls replayed as CUDA graphs: hundreds of small kernels start as one, without the host.

A graph reads and writes fixed memory, so there is one for each shape of the arguments.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch

from ..features import ImageFeatures
from ..reranker import Through, go_through
from .onnx import FEATURES, EncoderGraph, RerankerGraph

if TYPE_CHECKING:
    from ..network import R2Former

Tensors = tuple[torch.Tensor, ...]
Function = Callable[..., Tensors]
KEPT = 4
"""Graphs of one function; each holds the memory of its temporaries."""
WARM_UPS = 3
"""Calls before capturing, in which libraries choose kernels and allocate what they keep."""


class Graph(Protocol):
    """What a captured call offers."""

    def replay(self) -> None:
        """Compute the outputs from what lies in the inputs now."""


Capture = Callable[[Function, Tensors], tuple[Graph, Tensors]]
"""Gets a function and its inputs; returns the graph and where its outputs will lie."""


class Replayed:
    """A function of tensors that is captured once for each shape, then replayed."""

    def __init__(self, function: Function, capture: Capture | None = None) -> None:
        """
        Wrap a function that neither waits for the device nor depends on values on the host.

        :param capture: ``capture_cuda``, unless a test stands in for it.
        """
        self._function = function
        self._capture = capture or capture_cuda
        self._graphs: OrderedDict[tuple[torch.Size, ...], tuple[Graph, Tensors, Tensors]]
        self._graphs = OrderedDict()

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        """Return new tensors with the function's results for inputs on the device."""
        key = tuple(one.shape for one in inputs)
        if key not in self._graphs:
            while len(self._graphs) >= KEPT:
                self._graphs.popitem(last=False)
            fixed = tuple(one.clone() for one in inputs)
            graph, outputs = self._capture(self._function, fixed)
            self._graphs[key] = graph, fixed, outputs
        self._graphs.move_to_end(key)
        graph, fixed, outputs = self._graphs[key]
        for place, one in zip(fixed, inputs, strict=True):
            place.copy_(one)
        graph.replay()
        return tuple(one.clone() for one in outputs)


class ReplayedNetwork:
    """A model's encoder and reranker, in its precision; ``fused``: Block-1 in one kernel."""

    def __init__(
        self, model: R2Former, fused: bool = False, capture: Capture | None = None
    ) -> None:
        self.fused = fused
        encoder = EncoderGraph(model.encoder)
        reranker = RerankerGraph(model.reranker, _fused(model) if fused else go_through)

        def encode(images: torch.Tensor) -> Tensors:
            with model.autocast():
                features: Tensors = encoder(images)
            return features

        def score(*local: torch.Tensor) -> Tensors:
            with model.autocast():
                return (reranker(*local),)

        self._encode, self._score = Replayed(encode, capture), Replayed(score, capture)

    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """Encode normalised images on the device, float32 (B, 3, H, W)."""
        return ImageFeatures(*self._encode(images))

    def score(self, query: ImageFeatures, candidates: ImageFeatures) -> torch.Tensor:
        """Return logits (K, 2) of one query against K candidates, all on the device."""
        local = [getattr(features, name) for features in (query, candidates)
                 for name in FEATURES[1:]]
        return self._score(*local)[0]


def _fused(model: R2Former) -> Through:
    """Return a ``go_through`` that computes Block-1 in one kernel, in the model's precision."""
    from .triton_block_1 import go_through_fused

    return lambda *arguments: go_through_fused(model.precision, *arguments)


def capture_cuda(function: Function, inputs: Tensors) -> tuple[Graph, Tensors]:
    """Capture a call on the device where the inputs are."""
    with torch.cuda.device(inputs[0].device):
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                function(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode='thread_local'):  # another prepares
            outputs = function(*inputs)
    return graph, outputs
