# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the network looked at: attention as a tint over the picture (paper, figure 1)."""

from __future__ import annotations

import cv2
import numpy as np

from ...model.preprocess import InputSpec
from ...records import Image, LocalFeatures, Vector
from ...sources.pictures import encode_jpeg

WIDTH_PX = 360


def attention_overlay(image: Image, features: LocalFeatures, spec: InputSpec) -> Image:
    """
    Tint the selected patches of an image by attention, dark for the lowest and bright for the
    highest; patches that were not selected are dark.
    """
    shown = _shown(image)
    columns, rows = _grid(features, spec)
    heat = np.zeros((rows, columns), np.float32)
    cell = np.floor(features.xy * max(spec.height, spec.width) / _patch_px(features, spec))
    x, y = cell.astype(int).T
    heat[y.clip(0, rows - 1), x.clip(0, columns - 1)] = _stretched(features.attention)
    size = shown.shape[1], shown.shape[0]
    large = cv2.resize((255 * heat).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    tint = cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.addWeighted(shown, 0.5, tint, 0.5, 0), np.uint8)


def jpeg(image: Image, quality: int = 80) -> bytes:
    """Compress a picture, uint8 (H, W, 3) RGB."""
    return encode_jpeg(image, quality)


def _shown(image: Image) -> Image:
    height = max(1, round(image.shape[0] * WIDTH_PX / image.shape[1]))
    return np.asarray(
        cv2.resize(image, (WIDTH_PX, height), interpolation=cv2.INTER_AREA), np.uint8
    )


def _stretched(attention: Vector) -> Vector:
    low, high = float(attention.min()), float(attention.max())
    stretched: Vector = (attention - low) / max(high - low, 1e-9)
    return stretched


def _patch_px(features: LocalFeatures, spec: InputSpec) -> float:
    """Tell the patch size from the smallest step between patch centres."""
    steps = np.diff(np.unique(np.round(features.xy * max(spec.height, spec.width))))
    return float(steps[steps > 1].min(initial=min(spec.height, spec.width)))


def _grid(features: LocalFeatures, spec: InputSpec) -> tuple[int, int]:
    patch_px = _patch_px(features, spec)
    return max(1, round(spec.width / patch_px)), max(1, round(spec.height / patch_px))
