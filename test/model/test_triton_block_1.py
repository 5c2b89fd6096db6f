# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Block-1 in one kernel: interpreted, compiled, and run where there is a GPU."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import any_reranker

from r2former_ros.config import ModelConfig
from r2former_ros.errors import WeightsError
from r2former_ros.model import R2Former, load_model
from r2former_ros.model.loading import assemble, engine_for
from r2former_ros.model.reranker import go_through

triton = pytest.importorskip('triton')

from r2former_ros.model.backends import triton_block_1

ARGUMENTS = {'tokens': '*fp32', 'class_token': '*fp32', 'weights': '*fp32', 'out': '*fp32',
             'count': 'i32'}
ALIGNED = {(at,): [['tt.divisibility', 16]] for at in range(len(ARGUMENTS) - 1)}
"""As tensors of torch are."""


def test_interpreted_it_computes_what_the_layers_compute():
    """In a process of its own: Triton decides while it is imported."""
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider',
               str(Path(__file__).with_name('interpreted_block_1.py'))]
    environment = {**os.environ, 'TRITON_INTERPRET': '1'}
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert out.returncode == 0 and '15 passed' in out.stdout, out.stdout + out.stderr


@pytest.mark.parametrize(
    ('architecture', 'precision'), [(87, torch.float16), (90, torch.bfloat16)])
def test_it_compiles_for_gpus_that_are_not_here(architecture, precision, monkeypatch, tmp_path):
    """Orin and H100."""
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    constants = {'GIVEN': 5, 'DEPTH': 2, 'TYPE': triton_block_1.TYPES[precision]}
    signature = {**ARGUMENTS, **dict.fromkeys(constants, 'constexpr')}
    compiled = triton.compile(
        triton.compiler.ASTSource(triton_block_1._summarise, signature, constants, ALIGNED),
        triton.backends.compiler.GPUTarget('cuda', architecture, 32), triton_block_1.OPTIONS)
    code = compiled.asm['ptx']
    assert f'.target sm_{architecture}' in code and compiled.asm['cubin']
    assert {torch.bfloat16: '.bf16', torch.float16: '.f16'}[precision] in code
    assert 'tf32' not in code  # no product in float32


def test_what_it_cannot_do_is_refused_in_one_line(monkeypatch):
    network = load_model('tiny').network
    float32 = ModelConfig(backend='triton')
    with pytest.raises(WeightsError, match='triton backend runs on CUDA only; choose auto or'):
        engine_for(network, float32)
    monkeypatch.setattr(R2Former, 'device', torch.device('cuda'))
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (7, 5))
    with pytest.raises(WeightsError, match='needs a GPU of compute capability 8.0 or later'):
        engine_for(network, float32)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (9, 0))
    with pytest.raises(WeightsError, match='bfloat16 or float16 only: set model.precision; choo'):
        engine_for(network, float32)
    assert assemble(network, replace(float32, precision='bfloat16')).backend == 'triton'


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize(('precision', 'atol'), [(torch.bfloat16, 3e-2), (torch.float16, 4e-3)])
@pytest.mark.parametrize('patches', [1, 37, 100_000])
@torch.no_grad()
def test_on_a_gpu_it_computes_what_the_layers_compute(precision, atol, patches):
    reranker = any_reranker().cuda()
    tokens = torch.randn(patches, 5, 32, generator=torch.Generator().manual_seed(1)).cuda()
    arguments = reranker.block_1, reranker.class_token_1, tokens, reranker.norm
    torch.testing.assert_close(
        triton_block_1.go_through_fused(precision, *arguments), go_through(*arguments),
        atol=atol, rtol=0)
