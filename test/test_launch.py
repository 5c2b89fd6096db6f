# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The launch file: its arguments by its source, and for real where launch is installed."""

import ast
import importlib.util
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[1] / 'launch' / 'localize.launch.py'
ARGUMENTS = {
    'map', 'image', 'image_transport', 'weights', 'device', 'params_file', 'autostart',
    'namespace', 'use_sim_time', 'log_level',
}


def declared():
    """Yield name and keywords of every declared argument."""
    for node in ast.walk(ast.parse(LAUNCH.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'DeclareLaunchArgument':
            yield node.args[0].value, {keyword.arg for keyword in node.keywords}


def test_every_argument_has_a_default_and_a_description():
    arguments = dict(declared())
    assert set(arguments) == ARGUMENTS
    for keywords in arguments.values():
        assert keywords == {'default_value', 'description'}


def test_overrides_name_settings_that_exist():
    from r2former_ros.config import options

    tree = ast.parse(LAUNCH.read_text())
    (overrides,) = [
        ast.literal_eval(node.value) for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == 'OVERRIDES'
    ]
    assert set(overrides.values()) <= {setting.name for setting in options()}
    assert set(overrides) < ARGUMENTS


def test_empty_arguments_override_nothing():
    pytest.importorskip('launch_ros')
    from launch import LaunchContext

    spec = importlib.util.spec_from_file_location('localize_launch', LAUNCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    context = LaunchContext()
    given = dict.fromkeys(ARGUMENTS, '') | {
        'map': 'site.r2map', 'params_file': '', 'autostart': 'false', 'image': '/camera'}
    context.launch_configurations.update(given)
    (node,) = module.start(context)
    parameters = node._Node__parameters[-1]
    flat = {''.join(part.text for part in key): value for key, value in parameters.items()}
    assert set(flat) == {'map.path', 'use_sim_time'}
