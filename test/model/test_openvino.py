# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The encoder in OpenVINO against the same in PyTorch."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from fakes import resident_mb

from r2former_ros.config import Config, with_values
from r2former_ros.errors import ImageError, WeightsError
from r2former_ros.evaluation.ablation import with_all_patches
from r2former_ros.model import ModelSpec, load_model
from r2former_ros.model.backends import openvino as openvino_encoder
from r2former_ros.model.backends.openvino import OpenVinoEncoder
from r2former_ros.model.backends.pytorch import TorchEncoder
from r2former_ros.model.checkpoint import untrained_model
from r2former_ros.model.loading import load_configured

openvino = pytest.importorskip('openvino')
CPU = with_values(Config(), {'model.device': 'cpu'})


def noise(images, height, width):
    """Make normalised images."""
    generator = torch.Generator().manual_seed(height)
    return torch.randn(images, 3, height, width, generator=generator)


@pytest.mark.parametrize(('weights', 'height', 'width'),
                         [('r2former-tiny', 64, 160), ('resnet50', 96, 128)])
def test_other_sizes_and_a_cnn_compute_what_pytorch_computes(weights, height, width):
    images, plain = noise(2, height, width), load_model(weights)
    expected = plain.encode(images)
    features = OpenVinoEncoder(plain.network.encoder).encode(images)
    assert not torch.equal(features.descriptor, expected.descriptor)
    torch.testing.assert_close(features.descriptor, expected.descriptor, atol=2e-6, rtol=0)
    torch.testing.assert_close(features.attention, expected.attention, atol=2e-5, rtol=0)
    torch.testing.assert_close(features.xy, expected.xy)
    torch.testing.assert_close(features.descriptors, expected.descriptors, atol=1e-4, rtol=0)


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
    model = load_model('tiny', backend='openvino')
    images = noise(8, 48, 64)
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(model.encode, images.split(1)))
    expected = load_model('tiny').encode(images)
    torch.testing.assert_close(
        torch.cat([row.descriptor for row in rows]), expected.descriptor, atol=2e-6, rtol=0)


def test_traces_stay_out_of_the_registers_of_torch():
    """However many threads trace, and also where that fails."""
    before = registers()
    models = [load_model('tiny', backend='openvino') for _ in range(2)]
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


def test_all_patches_come_from_the_weights(tmp_path):
    """The translated network keeps the weights' own number of local features."""
    model = load_configured(CPU)
    image = noise(1, 320, 256)
    assert model.encode(image).xy.shape == (1, 192, 2)
    assert with_all_patches(model, tmp_path).encode(image).xy.shape == (1, 320, 2)
    assert model.encode(image).xy.shape == (1, 192, 2)


def test_weights_that_change_in_place_do_not_mix_with_those_translated():
    model = load_model('tiny', backend='openvino')
    before = model.encode(noise(1, 48, 64)).descriptor
    with torch.no_grad():
        for weight in model.network.encoder.parameters():
            weight.add_(1)
    assert torch.equal(model.encode(noise(1, 48, 64)).descriptor, before)


@pytest.mark.parametrize('backbone', ['vit_small_patch14_dinov2', 'vit_small_patch14_reg4_dinov2'])
def test_other_vits_of_timm_run_in_openvino(backbone):
    network = untrained_model(ModelSpec(backbone, backbone, 70, 98, num_local=20)).eval()
    expected = TorchEncoder(network.encoder).encode(noise(2, 70, 98))
    features = OpenVinoEncoder(network.encoder).encode(noise(2, 70, 98))
    torch.testing.assert_close(features.descriptor, expected.descriptor, atol=2e-6, rtol=0)
    torch.testing.assert_close(features.xy, expected.xy)


def test_an_encoder_that_openvino_cannot_run_is_refused_in_one_line(monkeypatch):
    def fail(*_):
        raise RuntimeError('no such\noperation')
    monkeypatch.setattr(openvino_encoder, '_translate', fail)
    with pytest.raises(WeightsError, match=r'choose model.backend numba or torch \(no such oper'):
        load_configured(CPU).encode(noise(1, 48, 64))


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(ImageError, match='a patch has 16'):
        load_model('tiny', backend='openvino').encode(torch.zeros(1, 3, 8, 64))
