# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one direction of imports, read from the source: also inside functions and TYPE_CHECKING."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'r2former_ros'
ROOMS = (
    # Top to bottom of the house: a room imports only from rooms above it in this list.
    'errors', 'records', 'common', 'config', 'geometry', 'model', 'sources', 'maps',
    'decision', 'recognizer', 'mapping', 'slam', 'evaluation', 'training', 'ros', 'demo', 'cli',
    '__main__',
)
MOST_ROOT_MODULES = 6
ONLY_IN = {
    'faiss': {'maps.index'},
    'gtsam': {'slam.pose_graph'},
    'rclpy': {'ros', 'cli'},  # the command line only starts and ends it
    'numba': {'model.backends', 'sources.jpeg_bits'},
    'openvino': {'model.backends'},
    'triton': {'model.backends'},
    'sqlite3': {'maps', 'mapping.repair', 'sources.storage'},
    'psycopg': {'maps'},
    'rosbags': {'sources'},
    'matplotlib': {'evaluation', 'mapping'},
    'rerun': {'evaluation.report.recording'},
}
MESSAGES = ('_msgs', '_srvs')


def module_of(path):
    """Return ``('maps', 'index')`` for maps/index.py; a package is its folder."""
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    return parts[:-1] if parts[-1] == '__init__' else parts


PATHS = {module_of(path): path for path in sorted(PACKAGE.rglob('*.py'))}


def imports(path):
    """Yield the name of each import from elsewhere, or the parts of each module of ours."""
    package = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            base += tuple(node.module.split('.')) if node.module else ()
            for alias in node.names:
                yield (*base, alias.name) if (*base, alias.name) in PATHS else base


@cache
def graph():
    """Map every module to the modules of ours that it imports; the root package is left out."""
    return {
        module: {other for other in imports(path) if isinstance(other, tuple) and other}
        for module, path in PATHS.items() if module
    }


def rooms_in(folder, arrows):
    """Map each file or folder inside a folder to those beside it that it imports."""
    depth = len(folder)
    inside = [module for module in arrows if module[:depth] == folder and len(module) > depth]
    rooms = {module[: depth + 1]: set() for module in inside}
    for module in inside:
        rooms[module[: depth + 1]] |= {
            other[: depth + 1] for other in arrows[module]
            if other[:depth] == folder and len(other) > depth
        } - {module[: depth + 1]}
    return rooms


@pytest.mark.parametrize('module', graph(), ids='.'.join)
def test_imports_run_down_the_list_of_rooms(module):
    assert module[0] in ROOMS, f'{module[0]} is not in ROOMS: add it on purpose'
    for other in graph()[module]:
        allowed = other[0] == module[0] or ROOMS.index(other[0]) < ROOMS.index(module[0])
        assert allowed, f'{".".join(module)} imports {".".join(other)}'


@pytest.mark.parametrize(
    'folder', [module for module, path in PATHS.items() if path.name == '__init__.py'],
    ids=lambda folder: '.'.join(folder) or 'root',
)
def test_no_folder_holds_a_cycle(folder):
    try:
        TopologicalSorter(rooms_in(folder, graph())).prepare()
    except CycleError as error:
        pytest.fail(' -> '.join('.'.join(room) for room in reversed(error.args[1])))


@pytest.mark.parametrize('module', graph(), ids='.'.join)
def test_a_library_is_imported_in_its_own_room_only(module):
    name = '.'.join(module)
    for other in imports(PATHS[module]):
        top = other.split('.')[0] if isinstance(other, str) else ''
        homes = ONLY_IN.get(top, {'ros'} if top.endswith(MESSAGES) else {name})
        assert any(f'{name}.'.startswith(f'{home}.') for home in homes), f'{name} imports {other}'


def test_the_root_is_a_house_and_not_a_street():
    assert len(list(PACKAGE.glob('*.py'))) <= MOST_ROOT_MODULES


@pytest.mark.parametrize('face', sorted(PACKAGE.rglob('__init__.py')),
                         ids=lambda path: str(path.parent.relative_to(PACKAGE)))
def test_each_folder_says_what_is_inside(face):
    assert ast.get_docstring(ast.parse(face.read_text()))


def loaded_by(code):
    """Run code in a fresh interpreter; return which heavy libraries it imported."""
    show = 'import sys; print([m for m in ("torch", "faiss", "rclpy", "cv2") if m in sys.modules])'
    out = subprocess.run([sys.executable, '-c', f'{code}; {show}'], capture_output=True, text=True,
                         check=True, cwd=PACKAGE.parent)
    return out.stdout.strip()


def test_importing_the_package_is_cheap():
    assert loaded_by('import r2former_ros') == '[]'


def test_asking_for_help_loads_no_torch():
    assert loaded_by('from r2former_ros.cli import make_parser; make_parser()') == '[]'
