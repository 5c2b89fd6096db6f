# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The network: shapes, gradients, precision, other backbones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import model_of
from recipe import make_pairs, make_state_dict

from r2former_ros.errors import ImageError, WeightsError
from r2former_ros.model import PRESETS, ImageFeatures, ModelSpec, load_model
from r2former_ros.model.checkpoint import untrained_model
from r2former_ros.model.official import model_from_official
from r2former_ros.model.position_embedding import fit_position_embedding
from r2former_ros.model.reranker import correlate, encode_xy
from r2former_ros.model.vit_encoder import timm_spec

SMALL = ModelSpec('tiny', 'deit_tiny_distilled_patch16_224', 64, 96, num_local=12)
OTHER_VITS = ['vit_small_patch14_dinov2', 'vit_small_patch14_reg4_dinov2']


@pytest.fixture(scope='module')
def tiny():
    """A small network with random weights."""
    return model_of(untrained_model(SMALL))


@pytest.fixture(scope='module')
def images():
    """Three normalised images of the small network's size."""
    return torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_features_have_the_documented_shapes(tiny, images):
    features = tiny.encode(images)
    assert features.descriptor.shape == (3, 256)
    assert features.xy.shape == (3, 12, 2)
    assert features.attention.shape == (3, 12)
    assert features.descriptors.shape == (3, 12, 128)
    assert torch.allclose(features.descriptor.norm(dim=-1), torch.ones(3), atol=1e-5)
    assert torch.equal(features.attention[:, 0], torch.ones(3))
    assert (features.attention.diff(dim=1) <= 0).all()


def test_batch_equals_single_images(tiny, images):
    batch = tiny.encode(images)
    for row in range(3):
        single = tiny.encode(images[row : row + 1])
        assert torch.allclose(single.descriptor, batch.descriptor[row : row + 1], atol=1e-5)
        assert torch.equal(single.xy, batch.xy[row : row + 1])


def test_scores_do_not_depend_on_the_batch_or_the_order_of_local_features(tiny, images):
    features = tiny.encode(images)
    logits = tiny.score(features[0], features, batch=2)
    shuffled = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    other = ImageFeatures(
        features.descriptor, features.xy[:, shuffled], features.attention[:, shuffled],
        features.descriptors[:, shuffled],
    )
    assert torch.allclose(tiny.score(features[0], other, batch=1), logits, atol=1e-5)
    assert tiny.score(features[0], features[0:0]).shape == (0, 2)


def test_gradients_reach_every_weight(images):
    model = untrained_model(SMALL).train()
    features = model.encoder(images)
    logits = model.reranker(features[0], features[1:])
    (logits[:, 1].sum() + features.descriptor.sum()).backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert without == ['reranker.ratio']  # only the blended score, which no loss uses, reads it


def test_the_token_shift_moves_features_by_two_tokens(images):
    plain = untrained_model(SMALL).eval()
    shifted = untrained_model(replace(SMALL, token_shift=True)).eval()
    maps = plain.encoder.embed_patches(images)
    _, _, tokens = plain.encoder.attend(plain.encoder.with_prefix(maps, images.shape[-2:]))
    patches = torch.tensor([[0, 1, 2, 7]]).expand(3, -1)
    right = plain.encoder.local_head(tokens)
    with torch.inference_mode():
        assert torch.allclose(plain.encoder.describe_patches(tokens, patches),
                              right[:, [2, 3, 4, 9]])
        assert torch.allclose(shifted.encoder.describe_patches(tokens, patches),
                              right[:, [0, 1, 2, 7]])


def test_too_small_images_are_refused(tiny):
    with pytest.raises(ImageError, match='8x32 pixels: a patch has 16'):
        tiny.encode(torch.zeros(1, 3, 32, 8))
    features = tiny.encode(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ImageError, match='4 local features: the reranker needs at least 5'):
        tiny.score(features, features)


def test_partners_are_the_best_five_of_each_patch_query_first():
    rng = np.random.default_rng(0)
    x = _random_features(rng, 6)
    y = _random_features(rng, 9)
    pairs = correlate(x, y)[0]
    assert pairs.shape == (15, 5, 7)
    left = x.descriptors[0] / x.descriptors[0].norm(dim=-1, keepdim=True)
    right = y.descriptors[0] / y.descriptors[0].norm(dim=-1, keepdim=True)
    expected = (left @ right.T).numpy()
    best = np.argsort(-expected[2])[:5]
    assert np.allclose(pairs[2, :, 6], expected[2, best], atol=1e-6)
    assert np.allclose(pairs[2, :, 3:5], y.xy[0, best])
    assert np.allclose(pairs[2, :, 0:2], x.xy[0, 2])
    best = np.argsort(-expected[:, 4])[:5]  # for a patch of the candidate, the query still first
    assert np.allclose(pairs[6 + 4, :, 0:2], x.xy[0, best])
    assert np.allclose(pairs[6 + 4, :, 5], y.attention[0, 4])


def test_coordinate_encoding_by_hand():
    encoded = encode_xy(torch.tensor([[0.0, 0.5]]))[0]
    assert encoded[:8].tolist() == [0.0] * 8 and encoded[8:16].tolist() == [1.0] * 8
    frequencies = 10_000.0 ** (-np.arange(8) / 8)
    assert np.allclose(encoded[16:24], np.sin(0.5 * frequencies), atol=1e-6)
    assert np.allclose(encoded[24:32], np.cos(0.5 * frequencies), atol=1e-6)


def test_position_embedding_of_the_trained_size_stays():
    grid = torch.arange(12.0).reshape(1, 12, 1)
    assert torch.equal(fit_position_embedding(grid, (48, 64), (48, 64)), grid)


def test_position_embedding_of_a_smaller_image_is_cropped_from_the_middle():
    grid = torch.arange(24.0).reshape(1, 24, 1)  # 4 rows of 6
    fitted = fit_position_embedding(grid, (64, 96), (32, 32))
    assert fitted.flatten().tolist() == [8, 9, 14, 15]


@pytest.mark.parametrize('backbone', OTHER_VITS)
def test_any_vit_of_timm_can_be_the_backbone(backbone):
    spec = ModelSpec(backbone, backbone, 70, 98, num_local=20)
    model = model_of(untrained_model(spec))
    features = model.encode(torch.randn(2, 3, 70, 98, generator=torch.Generator().manual_seed(0)))
    assert features.descriptor.shape == (2, 256)
    columns = features.xy[..., 0] * 98  # centres of 14 px patches: 7, 21, 35 ...
    assert torch.allclose((columns - 7) / 14, ((columns - 7) / 14).round(), atol=1e-4)
    larger = model.encode(torch.zeros(1, 3, 84, 112))
    assert larger.xy.shape == (1, 20, 2)
    assert model.score(features[0], features).shape == (2, 2)


def test_the_base_preset_is_vit_b():
    spec = replace(PRESETS['base'], image_height=64, image_width=96)
    model = model_of(untrained_model(spec))
    backbone = model.network.encoder.backbone
    assert (backbone.embed_dim, backbone.blocks[0].attn.num_heads) == (768, 12)
    features = model.encode(torch.zeros(1, 3, 64, 96))
    assert features.descriptors.shape == (1, 24, 128) and spec.token_shift


def test_a_named_backbone_brings_its_own_size_and_normalisation():
    spec = timm_spec('vit_tiny_patch16_224')
    assert (spec.image_height, spec.mean) == (224, (0.5, 0.5, 0.5))  # not ImageNet's mean
    assert timm_spec('vit_small_patch14_dinov2').image_height == 518
    assert load_model('vit_tiny_patch16_224').spec == spec
    with pytest.raises(WeightsError, match='no_such_vit: timm has no such model'):
        timm_spec('no_such_vit')


@pytest.mark.parametrize('backbone', ['resnet18', 'no_such_model'])
def test_backbones_that_do_not_fit_are_refused(backbone):
    with pytest.raises(WeightsError, match=backbone):
        untrained_model(ModelSpec('x', backbone, 64, 64))


@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_lower_precision_ranks_pairs_like_float32(precision):
    """Twelve candidates that match more and more: the order of nearly all pairs must stay."""
    network = model_from_official(
        {key: torch.from_numpy(value) for key, value in make_state_dict('deit').items()}
    )
    x_global, x_local, y_global, y_local = make_pairs(0, 12, 100, 100, out_of_range=False)
    query = _as_features(x_global[:1], x_local[:1])
    local = np.stack([
        np.where(np.arange(100)[:, None] < 8 * i, x_local[0], y_local[i]) for i in range(12)
    ]).astype(np.float32)
    candidates = _as_features(y_global, local)
    exact = model_of(network).score(query, candidates)
    rounded = model_of(network, precision).score(query, candidates)
    assert rounded.dtype == torch.float32
    exact, rounded = (logits[:, 1] - logits[:, 0] for logits in (exact, rounded))
    clear = (exact[:, None] - exact[None]).abs() > 0.01
    same = ((exact[:, None] > exact[None]) == (rounded[:, None] > rounded[None]))[clear]
    assert clear.sum() > 60
    assert same.float().mean() >= 0.99


def _random_features(rng, count):
    return ImageFeatures(
        torch.zeros(1, 8),
        torch.from_numpy(rng.random((1, count, 2), np.float32)),
        torch.from_numpy(rng.random((1, count), np.float32)),
        torch.from_numpy(rng.standard_normal((1, count, 16)).astype(np.float32)),
    )


def _as_features(descriptors, local):
    local = torch.from_numpy(np.ascontiguousarray(local))
    return ImageFeatures(
        torch.from_numpy(descriptors), local[..., :2], local[..., 2], local[..., 3:]
    )
