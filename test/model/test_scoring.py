# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compiled attention and scoring in threads against the plain reranker."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from r2former_ros.errors import ImageError
from r2former_ros.model import ImageFeatures, load_model
from r2former_ros.model.backends.numba.scorer import NumbaScorer
from r2former_ros.model.loading import wait_for_kernels
from r2former_ros.model.reranker import Reranker, RerankOps, correlate, go_through

lanes = pytest.importorskip('r2former_ros.model.backends.numba.lanes',
                            reason='numba is not installed')
long_sequences = pytest.importorskip('r2former_ros.model.backends.numba.long_sequences')
short_sequences = pytest.importorskip('r2former_ros.model.backends.numba.short_sequences')
partners = pytest.importorskip('r2former_ros.model.backends.numba.partners')
scoring = pytest.importorskip('r2former_ros.model.backends.numba.scoring')


@pytest.mark.parametrize('module', [short_sequences, long_sequences])
def test_a_change_of_lanes_reaches_what_numba_has_cached(module):
    """Functions of lanes.py are compiled into these; only a change of their own file counts."""
    source = Path(lanes.__file__).read_bytes()
    assert hashlib.sha256(source).hexdigest()[:16] == module.LANES_HASH, 'write the new hash'


def attended(qkv, kept, heads=(0, 8, 16, 24)):
    """Mix by the kernel; (T, 96) to (kept, 32)."""
    tokens, width = len(qkv), 32
    groups = -(-tokens // lanes.LANES)
    padded = np.pad(qkv, ((0, groups * lanes.LANES - tokens), (0, 0)), constant_values=3e4)
    rows = padded.reshape(groups, lanes.LANES, 3 * width).transpose(0, 2, 1)
    tiles = lanes.room(-(-tokens // long_sequences.TILE) * long_sequences.TILE_SIZE)
    mixed = lanes.room(groups * width * lanes.LANES)
    long_sequences.attend(np.ascontiguousarray(rows).ravel(), tokens, kept, width,
                          np.array(heads), tiles, mixed)
    return mixed.reshape(groups, width, -1).transpose(0, 2, 1).reshape(-1, width)[:kept]


def exact(qkv, kept):
    """Compute the same in float64 by PyTorch."""
    heads = torch.from_numpy(qkv).double().reshape(len(qkv), 3, -1, lanes.HEAD)
    query, key, value = heads.permute(1, 2, 0, 3)
    mixed = F.scaled_dot_product_attention(query[None, :, :kept], key[None], value[None])
    return mixed[0].transpose(0, 1).reshape(kept, -1).numpy()


@pytest.mark.parametrize(('tokens', 'kept'), [(17, 17), (128, 128), (301, 1), (301, 140),
                                              (512, 512), (513, 513), (1101, 1101)])
def test_attention_is_softmax_attention(tokens, kept):
    """Lanes behind the tokens hold large numbers, which must not count."""
    qkv = np.random.default_rng(tokens).standard_normal((tokens, 96)).astype(np.float32)
    np.testing.assert_allclose(attended(qkv, kept), exact(qkv, kept), atol=3e-6)


def test_attention_of_heads_left_out_is_zero():
    qkv = np.random.default_rng(0).standard_normal((301, 96)).astype(np.float32)
    whole, part = attended(qkv, 140), attended(qkv, 140, heads=(8,))
    assert (part[:, 8:16] == whole[:, 8:16]).all()
    assert not part[:, :8].any() and not part[:, 16:].any()


@pytest.mark.parametrize('tokens', [99, 700])
@pytest.mark.parametrize('scale', [1e-3, 8.0, 40.0])
def test_attention_neither_overflows_nor_vanishes(scale, tokens):
    """At 40, scores reach thousands: far beyond what float32 can raise e to."""
    qkv = np.random.default_rng(0).standard_normal((tokens, 96)).astype(np.float32)
    qkv[::2, :32] *= scale  # safe queries among others
    qkv[:, 32:64] *= scale
    np.testing.assert_allclose(attended(qkv, tokens), exact(qkv, tokens), atol=2e-3)


@pytest.mark.parametrize(('count', 'tokens'), [(1, 5), (128, 5), (301, 5), (301, 1), (2, 15),
                                               (2, 16), (2, 127), (2, 128), (1, 600)])
@pytest.mark.parametrize(('silent', 'silent_block'), [
    ('nothing', 0), ('attention', 0), ('mlp', 0), ('both', 0), ('attention', 1), ('both', 1),
    ('some heads', 0), ('some heads', 1), ('all heads', 0), ('all heads', 1)])
def test_sequences_go_through_blocks_as_by_pytorch(count, tokens, silent, silent_block):
    """More and fewer than there are lanes; weights large enough that attention is not flat."""
    generator = torch.Generator().manual_seed(count)
    reranker = Reranker()
    with torch.inference_mode():
        for weight in reranker.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
        for branch in {'attention': ['attn.proj'], 'mlp': ['mlp.fc2'],
                       'both': ['attn.proj', 'mlp.fc2']}.get(silent, []):
            for parameter in reranker.block_1[silent_block].get_submodule(branch).parameters():
                parameter.zero_()
        project = reranker.block_1[silent_block].attn.proj.weight
        project[:, {'some heads': slice(8, 24), 'all heads': slice(32)}.get(silent, slice(0))] = 0
        sequences = 3 * torch.randn(count, tokens, 32, generator=generator)
        given = reranker.block_1, reranker.class_token_1, sequences, reranker.norm
        layers = {reranker.block_1: tuple(map(lanes.layers_of, reranker.block_1))}
        torch.testing.assert_close(scoring._go_through(layers, *given), go_through(*given),
                                   atol=1e-4, rtol=1e-4)


def test_powers_of_two():
    exponents = np.linspace(-125, 100, 997).astype(np.float32)
    powers = np.array([lanes.power_of_two(one) for one in exponents])
    np.testing.assert_allclose(powers, np.exp2(exponents.astype(np.float64)), rtol=4e-6)
    least = lanes.power_of_two(np.float32(-1e9))
    assert least == lanes.power_of_two(np.float32(-125)) > np.finfo(np.float32).tiny


@pytest.fixture(scope='module')
def model():
    """An untrained reranker, which is as good as any for equality."""
    return load_model('tiny')


def with_numba(model):
    """Score with numba."""
    fast = replace(model, scorer=NumbaScorer(model.network.reranker))
    wait_for_kernels(fast)
    return fast


def features(model, images, seed):
    """Encode noise."""
    generator = torch.Generator().manual_seed(seed)
    return model.encode(torch.randn(images, 3, 96, 128, generator=generator))


def test_scoring_in_threads_equals_the_plain_reranker(model):
    query, candidates = features(model, 1, 0), features(model, 43, 1)
    threads = torch.get_num_threads()
    plain, fast = model.score(query, candidates), with_numba(model).score(query, candidates)
    assert fast.shape == (43, 2) and not torch.equal(fast, plain)
    torch.testing.assert_close(fast, plain, atol=2e-5, rtol=0)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize('queries', [1, 3])
def test_best_partners_are_those_that_pytorch_picks(queries):
    generator = torch.Generator().manual_seed(0)
    features = [ImageFeatures(torch.zeros(n, 1), torch.rand(n, p, 2, generator=generator),
                              2 * torch.rand(n, p, generator=generator),
                              torch.randn(n, p, 8, generator=generator))
                for n, p in ((queries, 40), (3, 29))]
    pairs = correlate(*features, RerankOps(partners.pair_up_compiled, go_through))
    assert pairs.shape == (3, 69, 5, 7)
    assert torch.equal(pairs, correlate(*features))


def test_what_is_not_a_number_correlates_with_nothing():
    """A damaged feature must not send the kernel out of its arrays."""
    correlation = torch.full((1, 6, 7), 0.5)
    correlation[0, 2] = torch.nan
    values = torch.rand(1, 6, 3), torch.rand(1, 7, 3)
    pairs = partners.pair_up_compiled(correlation, *values)
    assert torch.isfinite(pairs).all()
    assert (pairs[0, 2, :, 6] == partners.LEAST).all()
    assert (pairs[0, [0, 1, 3, 4, 5], :, 6] == 0.5).all() and (pairs[0, 6:, :, 6] == 0.5).all()


def test_weights_that_change_are_scored_by(model):
    query, candidates = features(model, 1, 0), features(model, 3, 1)
    fast, reranker = with_numba(model), model.network.reranker
    before = fast.score(query, candidates)
    with torch.no_grad():
        reranker.head.weight.mul_(2)
        reranker.block_2[0].mlp.fc2.weight.mul_(2)
    try:
        after = fast.score(query, candidates)
        torch.testing.assert_close(after, model.score(query, candidates), atol=2e-5, rtol=0)
        assert not torch.allclose(after, before, atol=1e-3)
    finally:
        with torch.no_grad():
            reranker.head.weight.div_(2)
            reranker.block_2[0].mlp.fc2.weight.div_(2)


def test_errors_come_through_the_threads(model):
    few = features(model, 1, 0).strongest(4)
    threads = torch.get_num_threads()
    with pytest.raises(ImageError, match='4 local features'):
        with_numba(model).score(few, few)
    assert torch.get_num_threads() == threads


def test_the_cheap_comparison_is_the_mean_best_correlation(model):
    query, candidates = features(model, 1, 0), features(model, 12, 1)
    left = F.normalize(query.descriptors[0], dim=-1)
    for row, said in enumerate(model.rescore(query, candidates)):
        best = left @ F.normalize(candidates.descriptors[row], dim=-1).T
        assert float(said) == pytest.approx(
            float(best.amax(0).mean() + best.amax(1).mean()) / 2, abs=1e-6
        )
