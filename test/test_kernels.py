# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compiled attention and scoring in threads against the plain reranker."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from r2former_ros.errors import ImageError, WeightsError
from r2former_ros.model import load_model
from r2former_ros.model.reranker import Reranker, go_through

kernels = pytest.importorskip('r2former_ros.model.kernels', reason='numba is not installed')
scoring = pytest.importorskip('r2former_ros.model.scoring', reason='numba is not installed')


def exact(qkv, rows):
    """Compute the same in float64 by PyTorch."""
    images, tokens, width = qkv.shape
    heads = torch.from_numpy(qkv).double().reshape(images, tokens, 3, -1, kernels.HEAD)
    query, key, value = heads.permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(query[:, :, :rows], key, value)
    return mixed.transpose(1, 2).reshape(images, rows, width // 3).numpy()


@pytest.mark.parametrize(('tokens', 'rows'), [(6, 6), (6, 1), (301, 1), (17, 17), (300, 300),
                                              (301, 301), (301, 140)])
def test_attention_is_softmax_attention(tokens, rows):
    rng = np.random.default_rng(tokens)
    qkv = rng.standard_normal((2, tokens, 96)).astype(np.float32)
    np.testing.assert_allclose(kernels.attend(qkv, rows), exact(qkv, rows), atol=3e-6)


@pytest.mark.parametrize('scale', [1e-3, 8.0, 40.0])
def test_attention_neither_overflows_nor_vanishes(scale):
    """At 40, scores reach thousands: far beyond what float32 can raise e to."""
    qkv = np.random.default_rng(0).standard_normal((1, 99, 96)).astype(np.float32)
    qkv[..., :64] *= scale
    np.testing.assert_allclose(kernels.attend(qkv, 99), exact(qkv, 99), atol=2e-3)


@pytest.mark.parametrize('count', [1, 128, 301])
@pytest.mark.parametrize('partners', [1, 5])
def test_short_sequences_go_through_blocks_as_by_pytorch(count, partners):
    """More and fewer than there are lanes; weights large enough that attention is not flat."""
    generator = torch.Generator().manual_seed(count)
    reranker = Reranker()
    with torch.inference_mode():
        for weight in reranker.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
        tokens = 3 * torch.randn(count, partners, 32, generator=generator)
        given = reranker.block_1, reranker.class_token_1, tokens, reranker.norm
        expected = go_through(*given)
        torch.testing.assert_close(scoring._go_through(*given), expected,
                                   atol=1e-4, rtol=1e-4)


def test_powers_of_two():
    exponents = np.linspace(-126, 100, 997).astype(np.float32)
    powers = np.array([kernels.power_of_two(one) for one in exponents])
    np.testing.assert_allclose(powers, np.exp2(exponents.astype(np.float64)), rtol=4e-6)
    assert kernels.power_of_two(np.float32(-1e9)) == kernels.power_of_two(np.float32(-126))


@pytest.fixture(scope='module')
def model():
    """An untrained reranker, which is as good as any for equality."""
    return load_model('tiny')


def features(model, images, seed):
    """Encode noise."""
    generator = torch.Generator().manual_seed(seed)
    return model.encode(torch.randn(images, 3, 96, 128, generator=generator))


def test_scoring_in_threads_equals_the_plain_reranker(model):
    query, candidates = features(model, 1, 0), features(model, 43, 1)
    threads = torch.get_num_threads()
    plain = model.with_backend('torch').score(query, candidates)
    fast = model.with_backend('numba').score(query, candidates)
    assert fast.shape == (43, 2) and not torch.equal(fast, plain)
    torch.testing.assert_close(fast, plain, atol=2e-5, rtol=0)
    assert torch.get_num_threads() == threads
    assert model.score(query, candidates[:0]).shape == (0, 2)


def test_errors_come_through_the_threads(model):
    few = features(model, 1, 0).strongest(4)
    threads = torch.get_num_threads()
    with pytest.raises(ImageError, match='4 local features'):
        model.with_backend('numba').score(few, few)
    assert torch.get_num_threads() == threads


def test_a_backend_that_cannot_run_is_refused(model):
    with pytest.raises(WeightsError, match='tensorflow: not a backend'):
        model.with_backend('tensorflow')
    with pytest.raises(WeightsError, match='runs on a CPU only; choose auto or torch'):
        load_model('tiny').to('meta').with_backend('numba')


def test_the_cheap_comparison_is_the_mean_best_correlation(model):
    query, candidates = features(model, 1, 0), features(model, 12, 1)
    left = F.normalize(query.descriptors[0], dim=-1)
    for row, said in enumerate(model.rescore(query, candidates)):
        best = left @ F.normalize(candidates.descriptors[row], dim=-1).T
        assert float(said) == pytest.approx(
            float(best.amax(0).mean() + best.amax(1).mean()) / 2, abs=1e-6
        )
