# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The unified model (paper figure 2): one encoder, one reranker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import WeightsError
from .backends.cuda_graphs import ReplayedNetwork
from .backends.onnx import OnnxEncoder, OnnxReranker
from .backends.openvino import OpenVinoEncoder
from .cnn_encoder import CnnEncoder
from .features import ImageFeatures
from .reranker import Reranker, mean_best_correlation
from .spec import ModelSpec
from .vit_encoder import VitEncoder

UNTRAINED = 'untrained weights'
ON_CPU, ON_CUDA = ('numba', 'openvino'), ('cudagraphs', 'triton')
BACKENDS = ('auto', 'torch', *ON_CPU, *ON_CUDA)
PACKAGES = ('numba', 'openvino', 'triton')
PRECISIONS = {
    'float32': torch.float32,
    'bfloat16': torch.bfloat16,
    'float16': torch.float16,
}


@dataclass(frozen=True)
class Origin:
    """
    Where weights come from, in one line, and which parts of the network can be used.

    ``trained``: the encoder was fitted to data, by gradient descent or in closed form; what it
    says means something. ``reranker_trained``: so was the reranker.
    """

    text: str = UNTRAINED
    trained: bool = False
    reranker_trained: bool = False


class R2Former(nn.Module):
    """
    Encode images and score pairs of them.

    ``encoder`` and ``reranker`` are for training; ``encode`` and ``score`` run without gradients.
    """

    def __init__(self, spec: ModelSpec, origin: Origin | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.origin = origin or Origin()
        self.precision = torch.float32
        self.compiled = False  # numba's kernels score pairs
        self.replayed: ReplayedNetwork | None = None
        self.runtime_encoder: OnnxEncoder | OpenVinoEncoder | None = None
        self.onnx_reranker: OnnxReranker | None = None
        make_encoder = CnnEncoder if spec.backbone == 'resnet50' else VitEncoder
        self.encoder: Any = make_encoder(spec)
        self.reranker = Reranker()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.reranker.ratio.device

    @property
    def backend(self) -> str:
        """Name what computes: torch, numba, openvino+numba, openvino+torch, onnx, of ON_CUDA."""
        if self.onnx_reranker is not None:
            return 'onnx'
        if self.replayed is not None:
            return 'triton' if self.replayed.fused else 'cudagraphs'
        pairs = 'numba' if self.compiled else 'torch'
        return f'openvino+{pairs}' if self.runtime_encoder is not None else pairs

    @torch.inference_mode()
    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """
        Encode normalised images, float32 (B, 3, H, W), best with sides that are multiples of 16.

        :returns: ``descriptor`` (B, D), and N = min(num_local, patches) local features an image.
        :raises ImageError: if a side is smaller than a patch.
        """
        if self.runtime_encoder is not None:
            return self.runtime_encoder.encode(images)
        images = images.to(self.device)
        if self.replayed is not None and len(images) == 1:
            return self.replayed.encode(images)
        with self.autocast():
            features: ImageFeatures = self.encoder(images)
        return features

    @torch.inference_mode()
    def score(
        self, query: ImageFeatures, candidates: ImageFeatures, batch: int = 10
    ) -> torch.Tensor:
        """
        Score one query image against K candidates, ``batch`` pairs at a time.

        :returns: logits (K, 2) float32: no match, match.
        :raises ImageError: if an image has fewer than five local features.
        """
        query = query.to(self.device)
        if self.onnx_reranker is not None and len(candidates):
            return self.onnx_reranker.score(query, candidates)
        if self.compiled and len(candidates):
            from .backends.numba.scoring import score_in_threads
            return score_in_threads(self.reranker, query, candidates.to(self.device))
        if self.replayed is not None and len(candidates):
            return self.replayed.score(query, candidates.to(self.device))
        chunks = range(0, len(candidates), batch)
        with self.autocast():
            logits = [
                self.reranker(query, candidates[start : start + batch].to(self.device))
                for start in chunks
            ]
        return torch.cat(logits) if logits else torch.zeros(0, 2, device=self.device)

    @torch.inference_mode()
    def rescore(self, query: ImageFeatures, candidates: ImageFeatures) -> torch.Tensor:
        """
        Score one query image against K candidates in a cheap way, without the reranker.

        :returns: (K,) float32: their mean best correlation.
        """
        return mean_best_correlation(query.to(self.device), candidates.to(self.device))

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any weight, and with the size of the input."""
        digest = hashlib.sha256(json.dumps(self.spec.to_dict(), sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def with_precision(self, name: str) -> R2Former:
        """
        Set the arithmetic of ``encode`` and ``score``; call it before ``with_backend``.

        Correlation stays float32 whatever is set, and so does all that numba computes.

        :raises WeightsError: for a name other than float32, bfloat16 or float16.
        """
        if name not in PRECISIONS:
            raise WeightsError(f'{name}: not a precision; choose from {", ".join(PRECISIONS)}')
        self.precision = PRECISIONS[name]
        return self

    def with_backend(self, name: str) -> R2Former:
        """
        Set what computes, in the precision that was set before.

        ``torch`` is the reference. On a CPU, ``numba`` scores pairs in compiled kernels;
        ``openvino`` encodes by OpenVINO, and scores by numba where it is installed; ``auto``
        takes of both what is installed. ``cudagraphs`` replays ``encode`` of one image, and
        ``score`` of all pairs at once, on the GPU; ``triton`` does so with Block-1 in one kernel.

        :raises WeightsError: for another name, or where what it names cannot run.
        """
        if name not in BACKENDS:
            raise WeightsError(f'{name}: not a backend; choose from {", ".join(BACKENDS)}')
        if hindrance := self._hindrance(name):
            raise WeightsError(f'the {name} backend {hindrance}; choose auto or torch')
        self.without_runtimes()
        openvino = name in ('auto', 'openvino') and not self._hindrance('openvino')
        self.replayed = ReplayedNetwork(self, name == 'triton') if name in ON_CUDA else None
        self.runtime_encoder = OpenVinoEncoder(self.encoder, self.precision) if openvino else None
        self.compiled = name in ('auto', 'numba', 'openvino') and not self._hindrance('numba')
        return self

    def with_onnx(self, folder: str | Path, providers: Sequence[str]) -> R2Former:
        """
        Let onnxruntime run ``encode`` and ``score`` from what ``export_onnx`` wrote.

        :raises WeightsError: if something is missing or was made from other weights.
        """
        encoder = OnnxEncoder(folder, self.fingerprint, providers)
        self.onnx_reranker = OnnxReranker(folder, self.fingerprint, providers)
        self.runtime_encoder = encoder
        return self

    def without_runtimes(self) -> R2Former:
        """Compute from the weights themselves, for who changes them or the encoder's output."""
        self.runtime_encoder = self.onnx_reranker = self.replayed = None
        return self

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in the precision that is set, within a ``with`` statement."""
        enabled = self.precision != torch.float32
        dtype = self.precision if enabled else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=enabled)

    def _hindrance(self, backend: str) -> str:
        """Say why a backend cannot compute here, or nothing."""
        if backend in ON_CPU and self.device.type != 'cpu':
            return 'runs on a CPU only'
        if backend in ON_CUDA and self.device.type != 'cuda':
            return 'runs on CUDA only'
        if backend in PACKAGES and not find_spec(backend):
            return f'needs the package {backend} (pip install {backend})'
        if backend == 'triton':
            return self._hindrance_of_triton()
        return ''

    def _hindrance_of_triton(self) -> str:
        from .backends.triton_block_1 import OLDEST

        if torch.cuda.get_device_capability(self.device) < OLDEST:
            return 'needs a GPU of compute capability 8.0 or later'
        if self.precision == torch.float32:
            return 'computes in bfloat16 or float16 only: set model.precision'
        return ''


def match_probability(logits: torch.Tensor) -> torch.Tensor:
    """Return the probability (K,) of a match from logits (K, 2)."""
    return logits.softmax(dim=-1)[:, 1]


def blended_score(
    logits: torch.Tensor, similarity: torch.Tensor, ratio: torch.Tensor
) -> torch.Tensor:
    """
    Blend cosine similarity (K,) and match probability by the learned ratio.

    The released evaluation computes this, but ranks by the probability alone.
    """
    share = ratio.clamp(0.1, 0.9)
    return similarity * share + match_probability(logits) * (1 - share)
