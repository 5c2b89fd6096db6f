# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one direction of imports, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'r2former_ros'
LEVELS = (
    # A module may import from levels above its own line and from its own line.
    {'errors', 'records', 'process', ''},
    {'config', 'geometry', 'encodings', 'local_codec', 'newest', 'place_store',
     'progress', 'index_cache'},
    {'place_table', 'sqlite_store', 'postgres_connection', 'postgres_store'},
    {'images', 'town', 'trajectories'},
    {'model', 'place_map', 'place_index', 'map_repair', 'decision', 'bags', 'verification',
     'sessions', 'calibration'},
    {'resident'},
    {'recognizer'},
    {'mapping', 'relative_view', 'loop_consistency', 'pose_graph'},
    {'loop_closure'},
    {'frame_sources', 'datasets', 'map_size'},
    {'evaluation', 'training', 'map_tools', 'benchmark'},
    {'ros'},
    {'cli'},
)
ONLY_IN = {
    'faiss': {'place_index'},
    'gtsam': {'pose_graph'},
    'rclpy': {'ros', 'cli'},  # the command line only starts and ends it
    'numba': {'model'},
    'openvino': {'model'},
    'triton': {'model'},
    'sqlite3': {'sqlite_store', 'map_repair'},
    'psycopg': {'postgres_connection', 'postgres_store'},
    'rosbags': {'bags'},
    'matplotlib': {'evaluation', 'map_tools'},
}
MESSAGES = ('_msgs', '_srvs', 'builtin_interfaces', 'rcl_interfaces')


def sources():
    """Yield every module's path and its part of the package."""
    for path in sorted(PACKAGE.rglob('*.py')):
        relative = path.relative_to(PACKAGE)
        part = relative.parts[0].removesuffix('.py')
        yield path, '' if part == '__init__' else part


def imported(path):
    """Yield (module, part of this package) for each import, also those inside functions."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module, None
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names if node.level == depth else []:
                yield None, name.split('.')[0] if name[:1].islower() else ''


def level_of(part):
    """Return the line of a part in ``LEVELS``."""
    found = [number for number, parts in enumerate(LEVELS) if part in parts]
    assert found, f'{part} has no level: add it to LEVELS on purpose'
    return found[0]


@pytest.mark.parametrize(
    ('path', 'part'), list(sources()), ids=lambda value: getattr(value, 'name', '')
)
def test_no_arrow_runs_back(path, part):
    own = level_of(part)
    for module, other in imported(path):
        if other is not None and other != part:
            assert level_of(other) <= own, f'{path.name} imports {other}'
        if module is not None:
            top = module.split('.')[0]
            assert part in ONLY_IN.get(top, {part}), f'{path.name} imports {module}'
            if top.endswith(MESSAGES[:2]) or top in MESSAGES:
                assert part == 'ros', f'{path.name} imports {module}'


def test_importing_the_package_is_cheap():
    code = ('import sys, r2former_ros; '
            'print([m for m in ("torch", "faiss", "rclpy", "cv2") if m in sys.modules])')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True,
                         cwd=PACKAGE.parent)
    assert out.stdout.strip() == '[]'


def test_asking_for_help_loads_no_torch():
    code = ('import sys; from r2former_ros.cli import _parser; _parser(); '
            'print([m for m in ("torch", "faiss", "rclpy") if m in sys.modules])')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True,
                         cwd=PACKAGE.parent)
    assert out.stdout.strip() == '[]'
