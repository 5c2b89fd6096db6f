# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Run the tests on other Pythons and ROS distributions, if they can be had: ``make test-matrix``.

    python .ci/matrix.py [ROW …] [-- PYTEST ARGUMENTS]

Each row gets an environment of its own in ``.matrix/``, which is kept. A row whose interpreter or
packages cannot be installed is reported as not run, with the reason; it does not fail the matrix.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / '.matrix'
# Newest versions that the ranges in setup.py allow on that Python, not the pins of requirements/.
LIBRARY = ('-e', '.[fast,onnx,slam,train,test]', 'catkin_pkg', 'psycopg[binary]')
ROS_TESTS = ('test/ros', '--deselect=test/ros/test_soak.py')


@dataclass(frozen=True)
class Row:
    """An interpreter, what is installed in it, and which tests run."""

    python: str
    packages: tuple[str, ...]
    tests: tuple[str, ...] = ('test',)


ROWS = {
    **{f'python{version}': Row(version, LIBRARY) for version in ('3.10', '3.12', '3.13', '3.14')},
    'kilted': Row('3.12', (*LIBRARY, '-r', 'requirements/ros.txt'), ROS_TESTS),
    'jazzy': Row('3.12', (*LIBRARY, '-r', 'requirements/ros_jazzy.txt'), ROS_TESTS),
}


def main(arguments: list[str]) -> int:
    """Run the chosen rows, or all; 1 if the tests of one of them fail."""
    at = arguments.index('--') if '--' in arguments else len(arguments)
    chosen, extra = arguments[:at] or list(ROWS), arguments[at + 1:]
    results = {}
    for name in chosen:
        print(f'== {name}', flush=True)
        results[name] = outcome(name, ROWS[name], extra)
    print('\n'.join(f'{name}: {result}' for name, result in results.items()))
    return int(any(result.startswith('failed') for result in results.values()))


def outcome(name: str, row: Row, extra: list[str]) -> str:
    """Install a row's environment and run its tests; say how that went."""
    python = FOLDER / name / 'bin' / 'python'
    uv = shutil.which('uv')
    make = [uv, 'venv', '-q', '--allow-existing', '--python', row.python] if uv else \
        [f'python{row.python}', '-m', 'venv']
    install = [uv, 'pip', 'install', '-q', '--python', python] if uv else \
        [python, '-m', 'pip', 'install', '-q']
    for step in ([*make, FOLDER / name], [*install, *row.packages]):
        if reason := problem(step):
            return f'not run: {reason}'
    tests = subprocess.run(
        [python, '-m', 'pytest', '-q', *row.tests, *extra], cwd=ROOT, check=False,
        env=clean_environment())
    return 'passed' if tests.returncode == 0 else f'failed (pytest exit {tests.returncode})'


def problem(command: list[str | Path]) -> str:
    """Run a step of the installation; return why it failed, or an empty text."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False,
                              env=clean_environment())
    except OSError as error:
        return f'{command[0]}: {error.strerror}'
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return '' if done.returncode == 0 else ' '.join(lines[-3:]) or f'exit {done.returncode}'


def clean_environment() -> dict[str, str]:
    """Return the environment without what the wheels of another ROS distribution put into it."""
    dropped = ('LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'PYTHONPATH', 'VIRTUAL_ENV')
    return {name: value for name, value in os.environ.items() if name not in dropped}


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
