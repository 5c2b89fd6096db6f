# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Architectures by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..errors import WeightsError
from .preprocess import IMAGENET_MEAN, IMAGENET_STD, InputSpec

HYBRID = 'vit_tiny_efficientnet_lite0'
"""The backbone of ``tiny``, which is ours (see ``hybrid_encoder``); others are timm's names."""
PATCHES = 'patches'
"""The stem that older files name; there is no other any more."""
HALVES = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class ModelSpec:
    """
    What must be known to build the network that weights belong to.

    ``token_shift`` repeats an oversight of the released code that its weights were trained with:
    the feature stored for patch p is that of token p, counted with class and distillation token.
    """

    preset: str
    backbone: str
    image_height: int
    image_width: int
    descriptor_dim: int = 256
    local_dim: int = 128
    num_local: int = 500
    token_shift: bool = False
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @property
    def input(self) -> InputSpec:
        """Size and normalisation of the input."""
        return InputSpec(self.image_height, self.image_width, self.mean, self.std)

    def with_size(self, height: int, width: int) -> ModelSpec:
        """Return the spec for another input size in pixels; 0 keeps what is there."""
        return replace(
            self,
            image_height=height or self.image_height,
            image_width=width or self.image_width,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a file header."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> ModelSpec:
        """
        Read what ``to_dict`` wrote.

        :raises WeightsError: if a field is missing or unknown, or names an encoder that is gone.
        """
        if values.get('stem', PATCHES) != PATCHES:
            raise WeightsError('these weights need the encoder of an earlier version (with a stem '
                               f'of {values["stem"]}): train them again from the bundled ones')
        values = {name: value for name, value in values.items() if name != 'stem'}
        known = {item.name for item in fields(ModelSpec)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise WeightsError(f'unknown fields in the model description: {", ".join(unknown)}')
        try:
            spec = ModelSpec(**values)
        except TypeError as error:
            raise WeightsError(f'incomplete model description: {error}') from error
        return replace(spec, mean=tuple(spec.mean), std=tuple(spec.std))  # JSON has lists


PRESETS = {
    spec.preset: spec
    for spec in (
        ModelSpec(
            'tiny', HYBRID, 192, 256, num_local=192, mean=HALVES, std=HALVES,
        ),
        ModelSpec('small', 'deit_small_distilled_patch16_224', 480, 640, token_shift=True),
        ModelSpec('base', 'deit_base_distilled_patch16_224', 480, 640, token_shift=True),
        ModelSpec('resnet50', 'resnet50', 480, 640),
    )
}
"""tiny: for CPUs; small: the paper's; base and resnet50: the paper's other backbones."""
