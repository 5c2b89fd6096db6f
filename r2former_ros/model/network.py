# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The unified network (paper figure 2): one encoder, one reranker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .cnn_encoder import CnnEncoder
from .hybrid_encoder import HybridEncoder
from .reranker import Reranker
from .spec import HYBRID, PATCHES, ModelSpec
from .vit_encoder import VitEncoder

UNTRAINED = 'untrained weights'
ENCODERS: dict[str, Callable[[ModelSpec], nn.Module]] = {
    'resnet50': CnnEncoder, HYBRID: HybridEncoder,
}
"""Encoders by backbone; any other backbone is a ViT of timm."""


@dataclass(frozen=True)
class Origin:
    """
    Where weights come from, in one line, and which parts of the network can be used.

    ``trained``: the encoder was fitted to data, by gradient descent or in closed form, so its
    output means something. ``reranker_trained``: so was the reranker.
    """

    text: str = UNTRAINED
    trained: bool = False
    reranker_trained: bool = False


class R2Former(nn.Module):
    """Encoder and reranker with their weights; ``backend.Model`` computes with them."""

    def __init__(
        self, spec: ModelSpec, origin: Origin | None = None, encoder: nn.Module | None = None
    ) -> None:
        """
        Build the network that a spec describes.

        :param encoder: used instead of the one that the spec describes.
        """
        super().__init__()
        self.spec = spec
        self.origin = origin or Origin()
        self.encoder: Any = encoder or ENCODERS.get(spec.backbone, VitEncoder)(spec)
        self.reranker = Reranker()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.reranker.ratio.device


def fingerprint_of(network: R2Former) -> str:
    """Return sixteen hex digits that change with any weight, and with the size of the input."""
    described = {**network.spec.to_dict(), 'stem': PATCHES}  # as maps of earlier versions name it
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


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
