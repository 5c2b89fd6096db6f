# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shell completion as bash runs it, and the package as a module."""

import shutil
import subprocess
import sys

import pytest

from r2former_ros.cli import make_parser
from r2former_ros.cli.completion_command import completion_script, walk

pytestmark = pytest.mark.skipif(shutil.which('bash') is None, reason='bash is not installed')


def completed(*words):
    """Return what bash would offer for the last word."""
    quoted = ' '.join(f'"{word}"' for word in words)
    script = (f'{completion_script(make_parser())}\nCOMP_WORDS=({quoted}); '
              f'COMP_CWORD={len(words) - 1}; _r2former; printf "%s\\n" "${{COMPREPLY[@]}}"')
    done = subprocess.run(['bash', '-c', script], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(('words', 'offered'), [
    (['ma'], ['map']),
    (['map', 'bu'], ['build']),
    (['map', 'build', 'm.r2map', '--tra'], ['--trajectory']),
    (['map', 'export', 'm.r2map', '--format', 'c'], ['colmap']),
    (['evaluate', 'abl'], ['ablate']),
    (['localize', 'x.png', '--set', 'rerank.cand'], ['rerank.candidates=']),
    (['train', 'boot'], ['bootstrap']),
    (['map', 'build', 'photo'], []),  # then bash offers files
])
def test_bash_offers_what_may_follow(words, offered):
    assert completed('r2former', *words) == offered


def test_every_command_can_be_completed():
    paths = [path for path, _ in walk(make_parser(), '')]
    assert ' map calibrate' in paths and ' evaluate compare' in paths and len(paths) > 20


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, '-m', 'r2former_ros', '--version'],
                          capture_output=True, text=True, check=True)
    assert done.stdout.startswith('r2former_ros ')
