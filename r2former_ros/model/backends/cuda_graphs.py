# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Calls replayed as CUDA graphs, which launch hundreds of small kernels at once.

A graph reads and writes fixed memory, so there is one per shape of the arguments.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import nn

from ..features import ImageFeatures
from ..plain_tensors import EncoderGraph, RerankerGraph
from ..reranker import TORCH, Reranker, RerankOps, pair_up
from .pytorch import PRECISIONS, TorchEncoder, rounding_to

Tensors = tuple[torch.Tensor, ...]
Function = Callable[..., Tensors]
KEPT = 4
"""Graphs kept per function; each holds the memory of its temporaries."""
WARM_UPS = 3
"""Calls before capturing, in which libraries choose kernels and allocate workspaces."""


class Graph(Protocol):
    """A captured call."""

    def replay(self) -> None:
        """Compute the outputs from the current inputs."""


Capture = Callable[[Function, Tensors], tuple[Graph, Tensors]]
"""Takes a function and its inputs; returns the graph and the memory of its outputs."""


class Replayed:
    """A function of tensors that is captured once per shape, then replayed."""

    def __init__(self, function: Function, capture: Capture | None = None) -> None:
        """
        Wrap a function that neither waits for the device nor depends on values on the host.

        :param capture: replaces ``capture_cuda`` in tests.
        """
        self._function = function
        self._capture = capture or capture_cuda
        self._graphs: OrderedDict[tuple[torch.Size, ...], tuple[Graph, Tensors, Tensors]]
        self._graphs = OrderedDict()

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        """Return the results for inputs on the device, as new tensors."""
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


class ReplayedEncoder:
    """An encoder whose calls with one image are replayed; more images run in PyTorch."""

    def __init__(
        self, encoder: nn.Module, precision: str, name: str = 'cudagraphs',
        capture: Capture | None = None,
    ) -> None:
        self.name, self.precision = name, precision
        self._plain = TorchEncoder(encoder, precision)
        self._device = next(encoder.parameters()).device
        graph = EncoderGraph(encoder)

        def encode(images: torch.Tensor) -> Tensors:
            with rounding_to(precision, images.device):
                features: Tensors = graph(images)
            return features

        self._replayed = Replayed(encode, capture)

    @torch.inference_mode()
    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """Encode as ``Encoder.encode`` says, on the device of the weights."""
        if len(images) != 1:
            return self._plain.encode(images)
        return ImageFeatures(*self._replayed(images.to(self._device)))


class ReplayedScorer:
    """A reranker whose calls are replayed, all candidates at once."""

    def __init__(
        self, reranker: Reranker, precision: str, name: str = 'cudagraphs', *,
        fused: bool = False, capture: Capture | None = None,
    ) -> None:
        """
        Take a reranker.

        :param fused: compute Block-1 in one Triton kernel.
        """
        self.name, self.precision = name, precision
        self._device = reranker.ratio.device
        graph = RerankerGraph(reranker, _fused(precision) if fused else TORCH)

        def score(*local: torch.Tensor) -> Tensors:
            with rounding_to(precision, local[0].device):
                return (graph(*local),)

        self._replayed = Replayed(score, capture)

    @torch.inference_mode()
    def score(
        self, query: ImageFeatures, candidates: ImageFeatures, batch: int
    ) -> torch.Tensor:
        """Score as ``Scorer.score`` says, on the device of the weights."""
        local = (*query.to(self._device).local(), *candidates.to(self._device).local())
        return self._replayed(*local)[0]


def _fused(precision: str) -> RerankOps:
    """Return operations that compute Block-1 in one kernel."""
    from .triton_block_1 import go_through_fused

    return RerankOps(pair_up, partial(go_through_fused, PRECISIONS[precision]))


def capture_cuda(function: Function, inputs: Tensors) -> tuple[Graph, Tensors]:
    """Capture a call on the device of its inputs."""
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
