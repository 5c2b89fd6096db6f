# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The encoder in OpenVINO against the same in PyTorch."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from fakes import resident_mb

from r2former_ros.config import Config, with_values
from r2former_ros.errors import ImageError, WeightsError
from r2former_ros.evaluation.ablation import with_all_patches
from r2former_ros.model import ModelSpec, load_model
from r2former_ros.model import network as r2former_module
from r2former_ros.model.backends import openvino as openvino_encoder
from r2former_ros.model.checkpoint import untrained_model
from r2former_ros.recognizer import load_configured

openvino = pytest.importorskip('openvino')
CPU = with_values(Config(), {'model.device': 'cpu'})


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
    assert load_configured(CPU).backend == 'openvino+numba'
    installed = {'numba'}
    monkeypatch.setattr(r2former_module, 'find_spec', lambda name: name in installed or None)
    assert load_configured(CPU).backend == 'numba'
    with pytest.raises(WeightsError, match='needs the package openvino'):
        load_model('tiny').with_backend('openvino')
    installed.symmetric_difference_update({'numba', 'openvino'})
    assert load_configured(CPU).backend == 'openvino+torch'


@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_precision_rounds_the_encoder_and_nothing_else(precision):
    """Where the CPU has no such arithmetic, OpenVINO computes in float32."""
    pytest.importorskip('numba')
    image = noise(3, 96, 128)
    exact = load_configured(CPU)
    rounded = load_configured(with_values(CPU, {'model.precision': precision}))
    features, rough = exact.encode(image), rounded.encode(image)
    assert (rough.descriptor * features.descriptor).sum(dim=1).min() > 0.999
    columns = (rough.xy[..., 0] * 128 - 8) / 16
    torch.testing.assert_close(columns, columns.round(), atol=1e-4, rtol=0)
    able = openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    if {'bfloat16': 'BF16', 'float16': 'FP16'}[precision] in able:
        assert (rough.descriptor - features.descriptor).abs().max() > 1e-5
    assert torch.equal(rounded.score(features[0], features), exact.score(features[0], features))


def test_threads_share_an_encoder():
    model = load_model('tiny').with_backend('openvino')
    images = noise(8, 48, 64)
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(model.encode, images.split(1)))
    expected = load_model('tiny').encode(images)
    torch.testing.assert_close(
        torch.cat([row.descriptor for row in rows]), expected.descriptor, atol=2e-6, rtol=0)


def test_traces_stay_out_of_the_registers_of_torch():
    """However many threads trace, and also where that fails."""
    before = registers()
    models = [load_model('tiny').with_backend('openvino') for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda model: model.encode(noise(1, 48, 64)), models))
    with pytest.raises(ImageError):
        models[0].encode(torch.zeros(1, 3, 8, 64))
    after = registers()
    assert after[0] is before[0] and after[1] is before[1] and after[2] == before[2]


def registers():
    """Return those of torch, and how many kinds of modules the second knows."""
    store = torch.jit._recursive.concrete_type_store
    return torch.jit._state._python_cu, store, len(store.methods_compiled)


def test_encoders_let_go_of_leave_nothing_behind():
    """What torch.jit.trace keeps is 7 MB each time, and the weights (22 MB) wait in a cycle."""
    memory_mb = []
    for _ in range(10):
        load_configured(CPU).encode(noise(1, 48, 64))
        memory_mb.append(resident_mb())
    assert memory_mb[-1] - memory_mb[3] < 15


def test_who_changes_the_network_is_answered_by_its_weights(tmp_path):
    """Trained weights, or another number of local features, do not reach what was translated."""
    model = load_configured(with_values(CPU, {'model.weights': 'small'}))
    image = noise(1, 192, 256)
    model.encoder.spec = replace(model.encoder.spec, num_local=20)
    assert model.encode(image).xy.shape == (1, 20, 2)
    changed = with_all_patches(model, tmp_path)
    assert changed.backend == 'numba'
    assert changed.encode(image).xy.shape == (1, 192, 2)


def test_weights_that_change_in_place_do_not_mix_with_those_translated():
    model = load_model('tiny').with_backend('openvino')
    before = model.encode(noise(1, 48, 64)).descriptor
    with torch.no_grad():
        for weight in model.encoder.parameters():
            weight.add_(1)
    assert torch.equal(model.encode(noise(1, 48, 64)).descriptor, before)


@pytest.mark.parametrize('backbone', ['vit_small_patch14_dinov2', 'vit_small_patch14_reg4_dinov2'])
def test_other_vits_of_timm_run_in_openvino(backbone):
    model = untrained_model(ModelSpec(backbone, backbone, 70, 98, num_local=20)).eval()
    expected = model.encode(noise(2, 70, 98))
    features = model.with_backend('openvino').encode(noise(2, 70, 98))
    torch.testing.assert_close(features.descriptor, expected.descriptor, atol=2e-6, rtol=0)
    torch.testing.assert_close(features.xy, expected.xy)


def test_an_encoder_that_openvino_cannot_run_is_refused_in_one_line(monkeypatch):
    def fail(*_):
        raise RuntimeError('no such\noperation')
    monkeypatch.setattr(openvino_encoder, '_translate', fail)
    with pytest.raises(WeightsError, match=r'choose model.backend numba or torch \(no such oper'):
        load_configured(CPU).encode(noise(1, 48, 64))


def test_one_backend_replaces_another():
    model = load_model('tiny').with_backend('openvino')
    assert model.runtime_encoder is not None
    assert model.with_backend('torch').backend == 'torch'


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(ImageError, match='a patch has 16'):
        load_model('tiny').with_backend('openvino').encode(torch.zeros(1, 3, 8, 64))
