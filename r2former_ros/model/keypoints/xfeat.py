# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""XFeat keypoints: a small network that still matches day with night."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from ...errors import WeightsError
from ...geometry.correspondences import Pairs, mutual_by_cosine
from ...records import Image, Keypoints
from .xfeat_network import CELL_PX, XFeatNetwork

WEIGHTS = Path(__file__).parents[2] / 'weights' / 'xfeat.safetensors'
SHA256 = 'cb603c926b696dd00babb417ab05adaa499247a8b2560f4ee1a8c2a219b73662'
LEAST_COSINE = 0.82
LEAST_SCORE = 0.05
WINDOW_PX = 5
STRIDE_PX = 32
STEPS = 127
"""Steps a unit of a descriptor's component."""


class XFeat:
    """Learned keypoints with descriptors (N, 64) int8."""

    kind = 'xfeat'
    threshold_px = 4.5
    sigma_scale = 2.0

    def __init__(self, count: int, weights: Path = WEIGHTS) -> None:
        """
        Load the network.

        :raises WeightsError: if the weights are missing, or not the ones that are pinned.
        """
        self.count = count
        self._network = load_network(weights)

    @torch.inference_mode()
    def detect(self, image: Image) -> Keypoints:
        """Find the strongest keypoints of an image (H, W, 3) uint8 RGB."""
        pixels = torch.from_numpy(image).float().mean(dim=2)[None, None]
        height, width = (max(side // STRIDE_PX, 1) * STRIDE_PX for side in image.shape[:2])
        resized = functional.interpolate(pixels, (height, width), mode='bilinear')
        dense, logits, reliability = self._network(resized)
        xy = _strongest(_score_map(logits), reliability, self.count)
        descriptors = functional.normalize(_sampled(dense, xy, (width, height)), dim=1)
        scale = torch.tensor([image.shape[1] / width, image.shape[0] / height])
        steps = torch.round(descriptors * STEPS).to(torch.int8)
        return Keypoints(self.kind, ((xy + 0.5) * scale - 0.5).numpy(), steps.numpy())

    def match(self, first: NDArray[Any], second: NDArray[Any]) -> Pairs:
        """Match descriptors; return rows of both (K, 2)."""
        return mutual_by_cosine(first, second, LEAST_COSINE)


def load_network(weights: Path = WEIGHTS) -> XFeatNetwork:
    """
    Load the network on the CPU.

    :raises WeightsError: if the weights are missing, or not the ones that are pinned.
    """
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise WeightsError(f'{weights}: cannot be read ({error.strerror}); install the package '
                           'again, or set refine.keypoints to sift') from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise WeightsError(f'{weights}: has sha256 {digest}, {SHA256} expected; install the '
                           'package again, or set refine.keypoints to sift')
    network = XFeatNetwork()
    network.load_state_dict(safetensors.torch.load(data))
    return network.eval()


def _score_map(logits: Tensor) -> Tensor:
    """Turn logits (1, 65, h, w) into the score of each pixel (1, 1, 8 h, 8 w)."""
    return functional.pixel_shuffle(functional.softmax(logits, 1)[:, :-1], CELL_PX)


def _strongest(scores: Tensor, reliability: Tensor, count: int) -> Tensor:
    """Return local maxima (N, 2) as x, y; those of highest score times reliability first."""
    largest = functional.max_pool2d(scores, WINDOW_PX, 1, WINDOW_PX // 2)
    y, x = ((scores == largest) & (scores > LEAST_SCORE))[0, 0].nonzero().T
    xy = torch.stack([x, y], dim=1).float()
    size = scores.shape[3], scores.shape[2]
    weight = _sampled(reliability, xy, size, 'bilinear')[:, 0]
    total = scores[0, 0, y, x] * weight
    return xy[total.argsort(descending=True)[:count]]


def _sampled(
    dense: Tensor, xy: Tensor, size: tuple[int, int], mode: str = 'bicubic'
) -> Tensor:
    """Interpolate a map (1, C, h, w) at pixels (N, 2) of an image of that size; return (N, C)."""
    # As the authors train it: the corners are at the first and the last pixel's centre.
    grid = 2 * xy / torch.tensor([size[0] - 1, size[1] - 1]) - 1
    found = functional.grid_sample(dense, grid[None, None], mode=mode, align_corners=False)
    return found[0, :, 0].T
