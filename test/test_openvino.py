# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The encoder in OpenVINO against the same in PyTorch."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from r2former_ros.config import Config, with_values
from r2former_ros.errors import ImageError, WeightsError
from r2former_ros.evaluation.ablation import with_all_patches
from r2former_ros.model import load_model
from r2former_ros.model import r2former as r2former_module
from r2former_ros.recognizer import load_configured

pytest.importorskip('openvino')


def noise(images, height, width):
    """Make normalised images."""
    generator = torch.Generator().manual_seed(height)
    return torch.randn(images, 3, height, width, generator=generator)


@pytest.mark.parametrize('weights', ['r2former-tiny', 'resnet50'])
def test_openvino_computes_what_pytorch_computes(weights):
    plain, fast = load_model(weights), load_model(weights).with_backend('openvino')
    for images in (noise(2, 96, 128), noise(1, 64, 160)):
        expected, features = plain.encode(images), fast.encode(images)
        assert not torch.equal(features.descriptor, expected.descriptor)
        torch.testing.assert_close(features.descriptor, expected.descriptor, atol=2e-6, rtol=0)
        torch.testing.assert_close(features.attention, expected.attention, atol=2e-5, rtol=0)
        torch.testing.assert_close(features.xy, expected.xy)
        torch.testing.assert_close(features.descriptors, expected.descriptors, atol=1e-4, rtol=0)


def test_auto_encodes_by_what_is_installed(monkeypatch):
    pytest.importorskip('numba')
    assert load_model('tiny').backend == 'torch'
    assert load_configured(Config()).backend == 'openvino+numba'
    installed = {'numba'}
    monkeypatch.setattr(r2former_module, 'find_spec', lambda name: name in installed or None)
    assert load_configured(Config()).backend == 'numba'
    with pytest.raises(WeightsError, match='needs the package openvino'):
        load_model('tiny').with_backend('openvino')
    installed.symmetric_difference_update({'numba', 'openvino'})
    assert load_configured(Config()).backend == 'openvino+torch'


def test_bfloat16_rounds_the_encoder_and_nothing_else():
    """Where the CPU has no bfloat16, OpenVINO computes in float32."""
    pytest.importorskip('numba')
    image = noise(3, 96, 128)
    exact = load_model('r2former-tiny').with_backend('openvino')
    rounded = load_configured(with_values(Config(), {'model.precision': 'bfloat16'}))
    features = exact.encode(image)
    cosine = (rounded.encode(image).descriptor * features.descriptor).sum(dim=1)
    assert cosine.min() > 0.999
    assert torch.equal(rounded.score(features[0], features), exact.score(features[0], features))


def test_threads_share_an_encoder():
    model = load_model('tiny').with_backend('openvino')
    images = noise(8, 48, 64)
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(model.encode, images.split(1)))
    expected = load_model('tiny').encode(images)
    torch.testing.assert_close(
        torch.cat([row.descriptor for row in rows]), expected.descriptor, atol=2e-6, rtol=0)


def test_who_changes_the_network_is_answered_by_its_weights(tmp_path):
    """Trained weights, or another number of local features, do not reach what was translated."""
    assert with_all_patches(load_configured(Config()), tmp_path).backend == 'numba'


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(ImageError, match='a patch has 16'):
        load_model('tiny').with_backend('openvino').encode(torch.zeros(1, 3, 8, 64))
