# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every setting, once: schema, sections, YAML. Import the names below from here."""

from .files import load_yaml, to_yaml
from .schema import Option, Scalar, flatten
from .sections import (
    RERANK_PROFILES,
    Config,
    DecisionConfig,
    LoopClosureConfig,
    MapConfig,
    ModelConfig,
    NodeConfig,
    PoseGraphConfig,
    RerankConfig,
    RetrievalConfig,
    VerificationConfig,
    options,
    to_dict,
    with_values,
)

__all__ = [
    'RERANK_PROFILES',
    'Config',
    'DecisionConfig',
    'LoopClosureConfig',
    'MapConfig',
    'ModelConfig',
    'NodeConfig',
    'Option',
    'PoseGraphConfig',
    'RerankConfig',
    'RetrievalConfig',
    'Scalar',
    'VerificationConfig',
    'flatten',
    'load_yaml',
    'options',
    'to_dict',
    'to_yaml',
    'with_values',
]
