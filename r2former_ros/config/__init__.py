# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every setting, once: schema, sections, YAML. Import the names below from here."""

from .files import load_yaml, section_to_yaml, to_yaml
from .schema import Option, Scalar, checked_values, flatten, option, options_of
from .sections import (
    RERANK_PROFILES,
    Config,
    DecisionConfig,
    LoopClosureConfig,
    MapConfig,
    ModelConfig,
    NodeConfig,
    PoseGraphConfig,
    RefineConfig,
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
    'RefineConfig',
    'RerankConfig',
    'RetrievalConfig',
    'Scalar',
    'VerificationConfig',
    'checked_values',
    'flatten',
    'load_yaml',
    'option',
    'options',
    'options_of',
    'section_to_yaml',
    'to_dict',
    'to_yaml',
    'with_values',
]
