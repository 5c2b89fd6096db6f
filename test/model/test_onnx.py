# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The network in onnxruntime against the same in PyTorch."""

import pytest
import torch

from r2former_ros.cli import main
from r2former_ros.config import Config, with_values
from r2former_ros.errors import WeightsError
from r2former_ros.evaluation.ablation import with_all_patches
from r2former_ros.model import load_model
from r2former_ros.recognizer import load_configured

pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

CPU = ['CPUExecutionProvider']
SIZE = {'image_height': 96, 'image_width': 128}


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    """A user's cache, where the command line writes both files if no folder is named."""
    cache = tmp_path_factory.mktemp('cache')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(cache))
        assert main(['weights', 'export', 'tiny', '--size', '96x128']) == 0
    return cache


@pytest.fixture(scope='module')
def folder(cache):
    """The folder with both files."""
    return next(cache.rglob('encoder.onnx')).parent


def settings(folder):
    """Name the files to the recognizer."""
    return with_values(Config(), {
        'model.weights': 'tiny', 'model.backend': 'onnx', 'model.onnx_folder': str(folder),
        'model.image_height': 96, 'model.image_width': 128,
    })


def test_onnxruntime_computes_what_pytorch_computes(folder):
    plain, onnx = load_model('tiny', **SIZE), load_configured(settings(folder))
    images = torch.randn(5, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    expected, features = plain.encode(images), onnx.encode(images)
    torch.testing.assert_close(features.descriptor, expected.descriptor, atol=2e-6, rtol=0)
    torch.testing.assert_close(features.attention, expected.attention, atol=1e-5, rtol=0)
    torch.testing.assert_close(features.xy, expected.xy)
    torch.testing.assert_close(features.descriptors, expected.descriptors, atol=1e-4, rtol=0)
    logits = onnx.score(expected[0], expected)
    torch.testing.assert_close(logits, plain.score(expected[0], expected), atol=2e-5, rtol=0)
    assert onnx.score(expected[0], expected[:0]).shape == (0, 2)


def test_files_are_found_where_they_are_written_without_a_folder(cache, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(cache))
    assert load_configured(settings('')).backend == 'onnx'
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    with pytest.raises(WeightsError, match='encoder.onnx: no such file'):
        load_configured(settings(''))


def test_who_changes_the_network_is_answered_by_its_weights(folder, tmp_path):
    """Trained weights, or another number of local features, are not in the files."""
    changed = with_all_patches(load_configured(settings(folder)), tmp_path)
    assert changed.backend == 'torch'


def test_files_of_other_weights_or_sizes_are_refused(folder, tmp_path):
    with pytest.raises(WeightsError, match='was made from weights .*, not .*; export it again'):
        load_model('tiny', image_height=80, image_width=128).with_onnx(folder, CPU)
    with pytest.raises(WeightsError, match='takes \\(96, 128\\) only'):
        load_configured(settings(folder)).encode(torch.zeros(1, 3, 64, 64))
    with pytest.raises(WeightsError, match='r2former weights export writes it'):
        load_model('tiny', **SIZE).with_onnx(tmp_path, CPU)
    with pytest.raises(WeightsError, match='onnxruntime has only .*CPUExecutionProvider'):
        load_model('tiny', **SIZE).with_onnx(folder, ['NoSuchProvider'])
    (tmp_path / 'encoder.onnx').write_bytes(b'no graph')
    with pytest.raises(WeightsError, match='is no ONNX file that can run'):
        load_model('tiny', **SIZE).with_onnx(tmp_path, CPU)
