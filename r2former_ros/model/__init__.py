# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a picture to features, from two images' features to a score: network, weights, engines."""

from .backend import Encoder, Model, Scorer
from .checkpoint import load_network, read_header, save_weights
from .features import ImageFeatures
from .loading import load_configured, load_model
from .network import R2Former, blended_score, match_probability
from .spec import PRESETS, ModelSpec

__all__ = [
    'PRESETS',
    'Encoder',
    'ImageFeatures',
    'Model',
    'ModelSpec',
    'R2Former',
    'Scorer',
    'blended_score',
    'load_configured',
    'load_model',
    'load_network',
    'match_probability',
    'read_header',
    'save_weights',
]
