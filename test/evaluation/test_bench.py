# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark runs every stage and says what it measured; no time is asserted."""

import json
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest
import torch

from r2former_ros.cli import main
from r2former_ros.evaluation import speed as benchmark

SMALL = ['tiny', '--device', 'cpu', '--set', 'model.image_height=48', '--set',
         'model.image_width=64']


def test_bench_times_every_stage(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, 'ONNX_PACKAGES', ('not_installed',))
    # A thread for a process, which would import everything again.
    monkeypatch.setattr(benchmark, 'ProcessPoolExecutor', ThreadPoolExecutor)
    path = tmp_path / 'out' / 'bench.json'
    assert main(['bench', *SMALL, '--places', '30', '--largest', '2000', '--repeats', '2',
                 '--json', str(path)]) == 0
    printed = capsys.readouterr().out
    result = json.loads(path.read_text())
    rows = result['weights']['tiny']['stages'] + result['search'] + result['decide']
    firsts = {row['stage']: row for row in reversed(rows)}
    assert set(firsts) == {
        'preprocess 640x480', 'encode', 'rescore 100', 'rerank 20', 'rerank 50', 'rerank 100',
        'whole query, 30 places', 'search in 1,000', 'search in 2,000', 'decide in 1,000',
        'decide in 2,000'}
    assert all(row['p95_ms'] >= row['median_ms'] > 0 for row in rows)
    assert {row['times_faster'] for row in firsts.values()} == {1.0}
    assert {'torch float32', 'torch bfloat16'} <= {row['variant'] for row in rows}
    variants = {row['variant'] for row in rows}
    for package, variant in (('numba', 'numba float32'), ('openvino', 'openvino float32')):
        assert (variant in variants) == (find_spec(package) is not None)
    assert not any('onnx' in row['variant'] for row in rows)
    assert all(row['stage'] in printed for row in rows)
    assert set(result['weights']['tiny']['rerank_100_memory_mib']) == {'torch', 'auto'}
    assert result['peak_mib'] > 0
    assert result['machine']['torch'] == torch.__version__.split('+')[0]


@pytest.mark.parametrize('name', ['places', 'largest', 'repeats'])
def test_a_number_below_one_is_refused(name, capsys):
    assert main(['bench', *SMALL, f'--{name}', '0']) == 2
    assert f'--{name} 0: must be at least 1' in capsys.readouterr().err
