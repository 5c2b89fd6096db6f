# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Another network for the global descriptor, in onnxruntime; local features stay the weights' own.

MegaLoc, SALAD, BoQ and DINOv2 export to what this reads: an RGB image, normalised as for ImageNet,
in; one vector out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ...common.files import reading
from ...errors import WeightsError
from ..backend import Encoder
from ..features import ImageFeatures
from ..preprocess import IMAGENET_MEAN, IMAGENET_STD, InputSpec
from .onnx import open_session

SETTING = re.compile(r'onnx:(?P<file>.+?)(@(?P<height>\d+)x(?P<width>\d+))?$')


class OnnxDescriptor:
    """A network that describes an image by one vector of any length."""

    def __init__(self, setting: str, providers: Sequence[str], spec: InputSpec) -> None:
        """
        Open the file that a setting names, as ``onnx:FILE`` or ``onnx:FILE@HxW``.

        :param spec: how the images that come are normalised.
        :raises WeightsError: if it is missing, or is not such a network.
        """
        found = SETTING.match(setting)
        if found is None:
            raise WeightsError(f'model.global_descriptor {setting}: expected onnx:FILE, or '
                               'onnx:FILE@HxW for the size in pixels that its images have')
        self.path = Path(found['file'])
        with reading(self.path):
            self.digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        self._session = open_session(self.path, providers)
        self._spec = spec
        taken = self._session.get_inputs()[0]
        fixed = tuple(taken.shape[2:]) if len(taken.shape) == 4 else ()
        if found['height']:
            fixed = int(found['height']), int(found['width'])
        self._input, self._size = taken.name, fixed if _are_numbers(fixed) else None
        self.dim = self(torch.zeros(1, 3, spec.height, spec.width)).shape[1]

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """
        Describe images that are normalised as the spec says, float32 (B, 3, H, W).

        :returns: (B, dim) of unit norm, on the CPU.
        :raises WeightsError: if the network cannot run on them.
        """
        pixels = self._adapted(images.detach().cpu().float())
        rows = [self._run(image[None].contiguous().numpy()) for image in pixels]
        return F.normalize(torch.from_numpy(np.concatenate(rows)), dim=-1)

    def _adapted(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise as for ImageNet, and resize to what the network takes."""
        ours, theirs = (
            (torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1))
            for mean, std in ((self._spec.mean, self._spec.std), (IMAGENET_MEAN, IMAGENET_STD)))
        if (self._spec.mean, self._spec.std) != (IMAGENET_MEAN, IMAGENET_STD):
            images = (images * ours[1] + ours[0] - theirs[0]) / theirs[1]
        if self._size is None or tuple(images.shape[2:]) == self._size:
            return images
        return F.interpolate(images, self._size, mode='bilinear', antialias=True)

    def _run(self, image: Any) -> Any:
        try:
            vector = self._session.run(None, {self._input: image})[0]
        except Exception as error:  # onnxruntime's own types share no base
            raise WeightsError(f'{self.path}: cannot describe an image of {image.shape[3]}x'
                               f'{image.shape[2]} pixels; name its size as onnx:FILE@HxW '
                               f'({" ".join(str(error).split())})') from error
        if vector.size < 2 or vector.shape[0] != 1 or vector.size != max(vector.shape):
            raise WeightsError(f'{self.path}: gives {tuple(vector.shape)} for one image; expected '
                               'one vector')
        return vector.reshape(1, -1).astype(np.float32)


class CombinedEncoder:
    """An encoder whose global descriptors come from elsewhere."""

    def __init__(self, encoder: Encoder, describe: OnnxDescriptor) -> None:
        self.name, self.precision = encoder.name, encoder.precision
        self._encoder, self._describe = encoder, describe

    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """Encode as ``Encoder.encode`` says."""
        features = self._encoder.encode(images)
        descriptor = self._describe(images).to(features.descriptor.device)
        return replace(features, descriptor=descriptor)


def _are_numbers(size: tuple[Any, ...]) -> bool:
    return len(size) == 2 and all(isinstance(side, int) for side in size)
