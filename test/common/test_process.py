# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The programs set their process up before torch reads the environment."""

import os
import subprocess
import sys

import pytest

SHOW = 'import os, sys; print("torch" in sys.modules, os.environ.get("OMP_WAIT_POLICY"))'


def shown(code, **environment):
    """Run a program that ends with ``SHOW``, without the variable unless it is given."""
    inherited = {key: value for key, value in os.environ.items() if key != 'OMP_WAIT_POLICY'}
    return subprocess.run(
        [sys.executable, '-S', '-c', code], capture_output=True, text=True, check=True,
        env={**inherited, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path)), **environment},
    ).stdout.split()


def test_importing_the_library_changes_nothing():
    assert shown(f'import r2former_ros; {SHOW}') == ['False', 'None']


@pytest.mark.parametrize('start', [
    'from r2former_ros.cli import main\ntry: main(["--version"])\nexcept SystemExit: pass',
    'import r2former_ros.ros',
])
def test_programs_wait_passively_unless_told_otherwise(start):
    assert shown(f'{start}\n{SHOW}')[-2:] == ['False', 'PASSIVE']
    assert shown(f'{start}\n{SHOW}', OMP_WAIT_POLICY='ACTIVE')[-1] == 'ACTIVE'
