# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every engine that can run here, on every device there is, against PyTorch in float32."""

from importlib.util import find_spec

import pytest
import torch

from r2former_ros.config import Config, ModelConfig, options, with_values
from r2former_ros.errors import ImageError, WeightsError
from r2former_ros.model import load_model, loading
from r2former_ros.model.backends.onnx import export_onnx
from r2former_ros.model.loading import ENGINES, assemble, load_configured, wait_for_kernels

DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]
SIZE = {'image_height': 96, 'image_width': 128}
CPU = with_values(Config(), {'model.device': 'cpu'})
PRECISION = {'triton': 'bfloat16'}
"""Where it is not float32."""
EXACT = {'descriptor': 2e-6, 'xy': 1e-6, 'attention': 2e-5, 'descriptors': 1e-4, 'logits': 2e-5}
ON_CUDA = {'descriptor': 1e-5, 'xy': 1e-6, 'attention': 1e-4, 'descriptors': 1e-3, 'logits': 1e-3}
ROUNDED = {'descriptor': 2e-2, 'logits': 5e-2}
"""Rounding may select another patch, so local features cannot be compared one by one."""


@pytest.fixture(scope='module')
def images():
    """Five normalised images."""
    return torch.randn(5, 3, 96, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope='module')
def reference(images):
    """Their features and logits, by PyTorch on the CPU."""
    model = load_model('r2former-tiny', **SIZE)
    features = model.encode(images)
    return features, model.score(features[0], features)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', ENGINES)
def test_an_engine_computes_what_pytorch_computes(name, device, images, reference, tmp_path):
    network = load_model('r2former-tiny', device, **SIZE).network
    precision = PRECISION.get(name, 'float32')
    settings = ModelConfig(backend=name, precision=precision, onnx_folder=str(tmp_path))
    if hindrance := ENGINES[name].hindrance(network, settings):
        pytest.skip(f'{name} {hindrance}')
    if name == 'onnx':
        if not (find_spec('onnx') and find_spec('onnxscript')):
            pytest.skip('what writes ONNX is not installed')
        export_onnx(load_model('r2former-tiny', **SIZE), tmp_path)
    model = assemble(network, settings)
    wait_for_kernels(model)
    assert (model.encoder.name, model.scorer.name) == {
        'numba': ('torch', 'numba'),
        'openvino': ('openvino', 'numba' if find_spec('numba') else 'torch'),
    }.get(name, (name, name))
    tolerances = ON_CUDA if device == 'cuda' else EXACT
    compare(model, images, reference, tolerances if precision == 'float32' else ROUNDED)


def compare(model, images, reference, tolerances):
    """Compare a batch, a single image and scores, and check where the results are."""
    expected, logits = reference
    for found, wanted in ((model.encode(images), expected),
                          (model.encode(images[:1]), expected[0])):
        for field in tolerances.keys() - {'logits'}:
            tensor = getattr(found, field)
            assert tensor.device == model.device and tensor.dtype == torch.float32
            torch.testing.assert_close(tensor.cpu(), getattr(wanted, field), rtol=0,
                                       atol=tolerances[field])
    scores = model.score(expected[0], expected)
    assert scores.device == model.device and scores.dtype == torch.float32
    torch.testing.assert_close(scores.cpu(), logits, atol=tolerances['logits'], rtol=0)
    assert model.score(expected[0], expected[:0]).shape == (0, 2)
    with pytest.raises((ImageError, WeightsError)):
        model.encode(torch.zeros(1, 3, 8, 64))


def test_the_setting_offers_every_engine():
    (backend,) = (one for one in options() if one.name == 'model.backend')
    assert backend.choices == ('auto', *ENGINES)
    (precision,) = (one for one in options() if one.name == 'model.precision')
    assert precision.choices == tuple(loading.PRECISIONS)


def test_auto_takes_what_is_installed(monkeypatch):
    pytest.importorskip('numba')
    pytest.importorskip('openvino')
    assert load_model('tiny').backend == 'torch'
    assert load_configured(CPU).backend == 'openvino+numba'
    installed = {'numba'}
    monkeypatch.setattr(loading, 'find_spec', lambda name: name in installed or None)
    assert load_configured(CPU).backend == 'numba'
    with pytest.raises(WeightsError, match='openvino backend needs the package openvino'):
        load_model('tiny', backend='openvino')
    installed.symmetric_difference_update({'numba', 'openvino'})
    assert load_configured(CPU).backend == 'openvino+torch'
    installed.clear()
    assert load_configured(CPU).backend == 'torch'


def test_an_engine_that_cannot_run_is_refused_in_one_line():
    with pytest.raises(WeightsError, match='tensorflow: not a backend; choose from auto, torch'):
        load_model('tiny', backend='tensorflow')
    with pytest.raises(WeightsError, match='half: not a precision; choose from float32'):
        load_model('tiny', precision='half')
    with pytest.raises(WeightsError, match='runs on CUDA only; choose auto or torch'):
        load_model('tiny', backend='cudagraphs')
    network = load_model('tiny').network.to('meta')
    with pytest.raises(WeightsError, match='runs on a CPU only; choose auto or torch'):
        loading.engine_for(network, ModelConfig(backend='numba'))
