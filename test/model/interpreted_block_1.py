# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of Block-1's kernel run as Python; ``test_triton_block_1.py`` starts them."""

import pytest
import torch
from fakes import any_reranker
from test_graphs import CpuGraph

from r2former_ros.model import load_model
from r2former_ros.model import reranker as reranker_module
from r2former_ros.model.backends import triton_block_1
from r2former_ros.model.backends.cuda_graphs import ReplayedScorer
from r2former_ros.model.backends.pytorch import TorchScorer
from r2former_ros.model.backends.triton_block_1 import go_through_fused
from r2former_ros.model.reranker import WIDTH, go_through


def noise(*shape):
    """Make numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(('precision', 'atol'), [(torch.float32, 2e-6), (torch.float16, 4e-3)])
@pytest.mark.parametrize(('patches', 'given'), [(0, 5), (1, 5), (8, 5), (37, 5), (9, 2), (5, 7)])
@torch.no_grad()
def test_the_kernel_computes_what_the_layers_compute(
        precision, atol, patches, given, monkeypatch):
    """Also for programs that are not full, and for other numbers of tokens than the five."""
    reranker = any_reranker()
    tokens = noise(given, patches, WIDTH).transpose(0, 1)
    arguments = reranker.block_1, reranker.class_token_1, tokens, reranker.norm
    expected = go_through(*arguments)
    assert not patches or expected.std() > 0.1
    monkeypatch.delattr(reranker_module, 'go_through')
    torch.testing.assert_close(
        go_through_fused(precision, *arguments), expected, atol=atol, rtol=0)


@torch.no_grad()
def test_scores_too_large_for_an_exponential_are_no_matter():
    reranker = any_reranker()
    for block in reranker.block_1:
        block.attn.qkv.weight *= 30
    arguments = reranker.block_1, reranker.class_token_1, noise(9, 5, WIDTH), reranker.norm
    torch.testing.assert_close(
        go_through_fused(torch.float32, *arguments), go_through(*arguments), atol=5e-5, rtol=0)


@torch.no_grad()
def test_longer_sequences_go_through_the_layers():
    reranker = any_reranker()
    arguments = reranker.block_1, reranker.class_token_1, noise(3, 8, WIDTH), reranker.norm
    assert torch.equal(go_through_fused(torch.float16, *arguments), go_through(*arguments))


def test_a_replayed_network_scores_by_the_kernel(monkeypatch):
    precisions = []

    def spy(precision, *arguments):
        precisions.append(precision)
        return go_through_fused(precision, *arguments)

    monkeypatch.setattr(triton_block_1, 'go_through_fused', spy)
    model = load_model('tiny', image_height=64, image_width=96, precision='float16')
    features, reranker = model.encode(noise(4, 3, 64, 96)), any_reranker()
    logits = TorchScorer(reranker, 'float16').score(features[:1], features, 10)
    scorer = ReplayedScorer(reranker, 'float16', 'triton', fused=True, capture=CpuGraph.capture)
    found = scorer.score(features[:1], features, 10)
    assert not torch.equal(found, logits)
    torch.testing.assert_close(found, logits, atol=2e-2, rtol=0)
    assert set(precisions) == {torch.float16}
