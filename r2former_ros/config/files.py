# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Settings as YAML: the ROS parameter file, written and read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..common.files import read_text
from ..errors import ConfigError
from .schema import Scalar, flatten, options_of
from .sections import Config, options, with_values


def to_yaml(config: Config) -> str:
    """Write the configuration as a ROS parameter file, each setting with what it means."""
    lines, section = ['/**:', '  ros__parameters:'], ''
    for item in options():
        name, key = item.name.split('.')
        if name != section:
            section = name
            lines.append(f'    {name}:')
        value = _scalar(getattr(getattr(config, name), key))
        lines += [f'      # {item.comment()}', f'      {key}: {value}']
    return '\n'.join(lines) + '\n'


def section_to_yaml(section: Any) -> str:
    """Write one dataclass of settings as NAME: VALUE lines, each setting with what it means."""
    return ''.join(f'# {item.comment()}\n{item.name}: {_scalar(getattr(section, item.name))}\n'
                   for item in options_of(type(section)))


def _scalar(value: Scalar) -> str:
    """Write a value; JSON scalars are YAML, but for 1e-05, which YAML 1.1 takes for text."""
    text = json.dumps(value)
    if isinstance(value, float) and 'e' in text and '.' not in text:
        return text.replace('e', '.0e')
    return text


def load_yaml(path: str | Path, config: Config | None = None) -> Config:
    """
    Read a ROS parameter file (``/**: ros__parameters: …``) over a configuration.

    :raises FileError: if the file cannot be read.
    :raises ConfigError: for a malformed file, or what ``with_values`` refuses.
    """
    try:
        tree = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        reason = ' '.join(str(error).split())
        raise ConfigError(f'{path}: is not YAML ({reason})') from error
    try:
        values = flatten(_ros_parameters(tree or {}))
        values.pop('use_sim_time', None)  # belongs to rclpy, and is common in parameter files
        return with_values(config or Config(), values)
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error


def _ros_parameters(tree: object) -> Mapping[str, Any]:
    """Merge the parameter blocks of a file in their order; a bare tree counts as one block."""
    if not isinstance(tree, Mapping):
        raise ConfigError('expected a mapping with /**: ros__parameters:')
    blocks = [node['ros__parameters'] for node in tree.values()
              if isinstance(node, Mapping) and 'ros__parameters' in node]
    if not blocks:
        return tree
    merged: dict[str, Any] = {}
    for block in blocks:
        merged.update(flatten(block or {}))
    return merged
