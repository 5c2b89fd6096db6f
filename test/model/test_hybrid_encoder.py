# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The encoder of ``tiny``: trunk, tokens, pooling, descriptor."""

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F

from r2former_ros.errors import WeightsError
from r2former_ros.model import PRESETS, ModelSpec
from r2former_ros.model.checkpoint import untrained_model
from r2former_ros.model.pooling import TokenPooling, average_by_cell
from r2former_ros.model.trunk import FINE, Trunk
from r2former_ros.training.initial.trunk import ARCHITECTURE, load_published

SMALL = PRESETS['tiny'].with_size(64, 96)


@pytest.fixture(scope='module')
def encoder():
    """An encoder with random weights."""
    return untrained_model(SMALL).eval().encoder


@pytest.fixture
def images():
    """Two normalised images."""
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_the_trunk_with_folded_norms_computes_what_timm_does(images, tmp_path):
    torch.manual_seed(0)
    source: Any = timm.create_model(ARCHITECTURE, pretrained=False)
    for name, value in source.state_dict().items():
        if name.endswith('running_var'):
            value.uniform_(0.5, 2)
        elif name.endswith('running_mean'):
            value.normal_(std=0.1)
    torch.save(source.state_dict(), tmp_path / 'published.pth')
    trunk, expected, maps = Trunk(), [], images
    load_published(trunk, tmp_path / 'published.pth')
    source.eval()
    with torch.inference_mode():
        maps = source.bn1(source.conv_stem(maps))
        for stage in source.blocks[:5]:
            maps = stage(maps)
            expected.append(maps)
        found = trunk(images)
    fine, coarse = F.avg_pool2d(expected[FINE], 2), expected[-1]
    assert torch.allclose(found[:, :40], F.normalize(fine, dim=1), atol=1e-4)
    assert torch.allclose(found[:, 40:], F.normalize(coarse, dim=1), atol=1e-4)


def test_another_networks_weights_are_refused(tmp_path):
    torch.save({'weight': torch.zeros(3)}, tmp_path / 'other.pth')
    with pytest.raises(WeightsError, match='does not hold the tensors of tf_efficientnet_lite0'):
        load_published(Trunk(), tmp_path / 'other.pth')


@pytest.mark.parametrize(('height', 'width'), [(64, 96), (48, 48), (112, 80), (70, 101)])
def test_a_patch_has_16_pixels_at_any_size(encoder, height, width):
    with torch.inference_mode():
        features = encoder(torch.randn(1, 3, height, width))
    rows, columns = height // 16, width // 16
    assert features.descriptors.shape == (1, rows * columns, 128)
    places = (features.xy[0] * max(height, width) - 8) / 16
    found = {(round(x), round(y)) for x, y in places.tolist()}
    assert found == {(x, y) for x in range(columns) for y in range(rows)}


def test_local_features_are_read_from_the_tokens_before_the_blocks(encoder, images):
    with torch.inference_mode():
        features = encoder(images)
        tokens = encoder.embed_patches(images).flatten(2).transpose(1, 2)
    places = (features.xy * 96 - 8) / 16
    rows = (places[..., 1] * 6 + places[..., 0]).round().long()
    for image in range(2):
        assert torch.allclose(features.descriptors[image],
                              encoder.local_head(tokens[image, rows[image]]), atol=1e-5)


def test_class_token_and_pooled_tokens_share_the_descriptor(encoder, images):
    with torch.inference_mode():
        maps = encoder.embed_patches(images)
        class_tokens, _, _ = encoder.attend(encoder.with_prefix(maps, (64, 96)))
        seen = encoder.backbone.head(encoder.backbone.norm(class_tokens[:, 0]))
        pooled = encoder.pool_head(encoder.pooling(maps))
        expected = F.normalize(seen + pooled, dim=1)
        assert torch.allclose(encoder(images).descriptor, expected, atol=1e-6)
    assert seen.abs().max() > 0 and pooled.abs().max() > 0


def test_words_ignore_where_a_patch_is_and_cells_do_not():
    pooling = TokenPooling(12, 8)
    maps = torch.randn(1, 12, 6, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        mirrored = maps.flip(3)
        assert torch.allclose(pooling.sum_by_word(maps), pooling.sum_by_word(mirrored), atol=1e-5)
        assert not torch.allclose(average_by_cell(maps), average_by_cell(mirrored), atol=0.1)
        assert pooling(maps).shape == (1, pooling.size)


def test_a_residual_is_what_a_patch_differs_from_its_word():
    pooling = TokenPooling(2, 2)
    with torch.no_grad():
        pooling.words.copy_(torch.tensor([[1.0, 0.0]]).expand(64, 2))
        pooling.words[1] = torch.tensor([0.0, 1.0])
        pooled = pooling.sum_by_word(torch.tensor([0.1, 1.0]).view(1, 2, 1, 1)).view(64, 2)
    patch = F.normalize(torch.tensor([0.1, 1.0]), dim=0)
    expected = F.normalize(patch - torch.tensor([0.0, 1.0]), dim=0)
    assert torch.allclose(F.normalize(pooled[1], dim=0), expected, atol=1e-3)


def test_weights_of_the_encoder_before_are_refused_by_name():
    header = {**PRESETS['small'].to_dict(), 'stem': 'gradients'}
    with pytest.raises(WeightsError, match='encoder of an earlier version .with a stem of grad'):
        ModelSpec.from_dict(header)
    assert ModelSpec.from_dict({**header, 'stem': 'patches'}) == PRESETS['small']
