# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The matrix of Pythons and distributions says what it could not run."""

import importlib
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / '.ci'))
matrix = importlib.import_module('matrix')
sys.path.pop(0)


def test_a_row_that_cannot_be_installed_is_not_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(matrix, 'FOLDER', tmp_path)
    monkeypatch.setattr(matrix, 'problem', lambda command: 'no interpreter for Python 9.9')
    monkeypatch.setattr(matrix, 'ROWS', {'python9.9': matrix.Row('9.9', ())})
    assert matrix.main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == \
        'python9.9: not run: no interpreter for Python 9.9'


def test_tests_that_fail_fail_the_matrix(tmp_path, monkeypatch, capsys):
    codes, commands = iter([1, 0]), []

    def run(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, next(codes))

    monkeypatch.setattr(matrix, 'problem', lambda command: '')
    monkeypatch.setattr(matrix.subprocess, 'run', run)
    assert matrix.main(['jazzy', 'python3.14', '--', '-k', 'node']) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == \
        ['jazzy: failed (pytest exit 1)', 'python3.14: passed']
    assert commands[0][-2:] == ['-k', 'node'] and 'test/ros' in commands[0]


def test_a_step_that_fails_gives_its_last_lines():
    assert matrix.problem([sys.executable, '-c', 'raise SystemExit("no wheel")']) == 'no wheel'
    assert matrix.problem([sys.executable, '-c', '']) == ''
    assert matrix.problem(['/nowhere/uv']) == '/nowhere/uv: No such file or directory'
