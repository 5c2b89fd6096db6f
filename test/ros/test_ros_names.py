# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every name of rclpy, launch and launch_ros that is used exists on every branch of the table."""

import ast
import json
from pathlib import Path

import pytest
from fakes import module_of

names = module_of(Path(__file__).parents[2] / '.ci' / 'ros_names.py')
TABLE = json.loads(names.TABLE.read_text())


def test_what_the_package_uses_is_everywhere():
    assert set(TABLE['branches']) == {'humble', 'jazzy', 'kilted', 'rolling'}
    assert list(names.problems(TABLE)) == []


@pytest.mark.parametrize(('code', 'missing'), [
    ('from rclpy.event_handler import SubscriptionEventCallbacks', 'h'),
    ('from rclpy.qos import QoSProfile', ''),
    ('from launch_ros.actions import LifecycleTransition', 'h'),
    ('import rclpy\nnode.add_post_set_parameters_callback(f)', 'h'),
    ('import rclpy\nnode.create_lifecycle_publisher(M, "n", q)', ''),
    ('try:\n    from rclpy.event_handler import SubscriptionEventCallbacks\n'
     'except ImportError:\n    from rclpy.qos_event import SubscriptionEventCallbacks', ''),
])
def test_a_name_that_a_branch_lacks_is_found(code, missing):
    tree = ast.parse(code)
    ((_, choices),) = [*names.imported(tree), *names.calls(tree, TABLE['methods'])]
    there = {letter for one in choices
             for letter in (TABLE['names'] | TABLE['methods']).get(one, '')}
    assert set('hjkr') - there == set(missing)


def test_the_table_is_read_from_sources(tmp_path):
    package = tmp_path / 'rclpy'
    package.mkdir()
    (package / '__init__.py').write_text('from .node import Node\n')
    (package / 'node.py').write_text(
        'try:\n    import fast\nexcept ImportError:\n    fast = None\n'
        'LIMIT: int = 3\nclass Node:\n    def spin(self): ...\n    def _private(self): ...\n')
    table = names.table_of([f'humble={tmp_path}@today'])
    assert table['branches'] == {'humble': 'today'}
    assert {'rclpy:Node', 'rclpy.node:Node', 'rclpy.node:LIMIT', 'rclpy.node:fast'} < \
        set(table['names'])
    assert table['methods'] == {'spin': 'h'}
