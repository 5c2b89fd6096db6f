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
from .schema import flatten
from .sections import Config, options, with_values


def to_yaml(config: Config) -> str:
    """Write the configuration as a ROS parameter file, each setting with what it means."""
    lines, section = ['/**:', '  ros__parameters:'], ''
    for item in options():
        name, key = item.name.split('.')
        if name != section:
            section = name
            lines.append(f'    {name}:')
        value = json.dumps(getattr(getattr(config, name), key))  # JSON scalars are YAML
        facts = ' '.join(filter(None, [item.unit, item.range_text()]))
        comment = f'{item.description} ({facts})' if facts else item.description
        lines += [f'      # {comment}', f'      {key}: {value}']
    return '\n'.join(lines) + '\n'


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
