# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of Block-1's kernel run as Python; ``test_triton_block_1.py`` starts them."""

import pytest
import torch
from fakes import any_reranker
from test_graphs import CpuGraph

from r2former_ros.model import load_model
from r2former_ros.model.graphs import ReplayedNetwork
from r2former_ros.model.reranker import WIDTH, go_through
from r2former_ros.model.triton_block_1 import go_through_fused


@pytest.mark.parametrize(('precision', 'atol'), [(torch.float32, 2e-6), (torch.float16, 4e-3)])
@pytest.mark.parametrize(('patches', 'given'), [(1, 5), (8, 5), (37, 5), (9, 2), (5, 7), (3, 8)])
@torch.no_grad()
def test_the_kernel_computes_what_the_layers_compute(precision, atol, patches, given):
    """Also for programs that are not full, and for other numbers of tokens than the five."""
    reranker = any_reranker()
    tokens = torch.randn(patches, given, WIDTH, generator=torch.Generator().manual_seed(1))
    arguments = reranker.block_1, reranker.class_token_1, tokens, reranker.norm
    expected = go_through(*arguments)
    assert expected.std() > 0.1
    torch.testing.assert_close(
        go_through_fused(precision, *arguments), expected, atol=atol, rtol=0)


def test_a_replayed_network_scores_by_the_kernel():
    model = load_model('tiny', image_height=64, image_width=96).with_precision('float16')
    model.reranker = any_reranker()
    images = torch.randn(4, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    features = model.encode(images)
    logits = model.score(features[:1], features)
    model.replayed = ReplayedNetwork(model, fused=True, capture=CpuGraph.capture)
    assert model.backend == 'triton'
    found = model.score(features[:1], features)
    assert not torch.equal(found, logits)
    torch.testing.assert_close(found, logits, atol=2e-2, rtol=0)
