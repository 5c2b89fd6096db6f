# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""benchmarks/gpu.py, as far as a CPU can rehearse it."""

import json
from pathlib import Path

import pytest
from fakes import module_of

from r2former_ros.model.loading import ENGINES

pytest.importorskip('lightning_fabric')

gpu = module_of(Path(__file__).parents[2] / 'benchmarks' / 'gpu.py')


def test_parity_is_that_of_the_released_code(monkeypatch):
    monkeypatch.setattr(gpu, 'ENGINES', {'torch': ENGINES['torch']})
    monkeypatch.setattr(gpu, 'PRECISIONS', ('float32',))
    descriptor, logits = gpu.parity('cpu', gpu.QUICK)
    assert descriptor['variant'] == 'torch float32' and 0 < descriptor['value'] < 1e-6
    assert logits['stage'] == 'logits' and 0 < logits['value'] < 2e-5


def test_a_part_that_fails_leaves_the_others_their_figures(monkeypatch, tmp_path, capsys):
    def broken(device, size):
        raise RuntimeError('out of memory')
        yield {}
    monkeypatch.setitem(gpu.PARTS, 'live', broken)
    monkeypatch.setattr(gpu.sys, 'argv', [
        'gpu.py', 'live', 'search', 'training', '--device', 'cpu', '--quick', '--json',
        str(tmp_path / 'gpu.json')])
    assert gpu.main() == 1
    result = json.loads((tmp_path / 'gpu.json').read_text())
    assert result['failed'] == {'live': 'RuntimeError: out of memory'}
    assert {row['part'] for row in result['rows']} == {'search', 'training'}
    assert sum('img/s' in str(row.get('value')) for row in result['rows']) == 4
    assert set(result['seconds']) == {'live', 'search', 'training'}
    assert 'live: failed: RuntimeError: out of memory' in capsys.readouterr().out
