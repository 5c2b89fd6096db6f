# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""R2Former: encoder, reranker and their weights."""

from .checkpoint import load_model, read_header, save_weights
from .features import ImageFeatures
from .network import R2Former, blended_score, match_probability
from .spec import PRESETS, ModelSpec

__all__ = [
    'PRESETS',
    'ImageFeatures',
    'ModelSpec',
    'R2Former',
    'blended_score',
    'load_model',
    'match_probability',
    'read_header',
    'save_weights',
]
