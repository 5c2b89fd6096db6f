# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ONNX files: where they are found, and which are refused."""

import pytest
import torch

from r2former_ros.cli import main
from r2former_ros.config import Config, with_values
from r2former_ros.errors import WeightsError
from r2former_ros.evaluation.ablation import with_all_patches
from r2former_ros.model.loading import load_configured

pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')



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


def test_files_are_found_where_they_are_written_without_a_folder(cache, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(cache))
    assert load_configured(settings('')).backend == 'onnx'
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    with pytest.raises(WeightsError, match='encoder.onnx: no such file'):
        load_configured(settings(''))


def test_all_patches_come_from_the_weights(folder, tmp_path):
    """The files hold the weights' own number of local features."""
    model = with_all_patches(load_configured(settings(folder)), tmp_path)
    assert model.encoder.name == 'torch' and model.scorer.name == 'onnx'


def test_files_of_other_weights_or_sizes_are_refused(folder, tmp_path):
    with pytest.raises(WeightsError, match='was made from weights .*, not .*; export it again'):
        load_configured(with_values(settings(folder), {'model.image_height': 80}))
    with pytest.raises(WeightsError, match='takes \\(96, 128\\) only'):
        load_configured(settings(folder)).encode(torch.zeros(1, 3, 64, 64))
    with pytest.raises(WeightsError, match='r2former weights export writes it'):
        load_configured(settings(tmp_path))
    with pytest.raises(WeightsError, match='onnxruntime has only .*CPUExecutionProvider'):
        load_configured(with_values(settings(folder), {'model.onnx_providers': 'NoSuch'}))
    (tmp_path / 'encoder.onnx').write_bytes(b'no graph')
    with pytest.raises(WeightsError, match='is not an ONNX file that can run'):
        load_configured(settings(tmp_path))
    with pytest.raises(WeightsError, match='computes in float32 only: set model.precision'):
        load_configured(with_values(settings(folder), {'model.precision': 'bfloat16'}))


class OnDevice(torch.Tensor):
    """As a tensor of a GPU: it is no array before ``cpu`` was called."""

    def numpy(self):
        raise TypeError('cannot convert cuda:0 device type tensor to numpy')

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_tensors_of_a_gpu_are_brought_to_the_host(folder):
    onnx = load_configured(settings(folder))
    images = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    features = onnx.encoder.encode(images)
    assert torch.equal(onnx.encoder.encode(images.as_subclass(OnDevice)).xy, features.xy)
    moved = features.map(lambda tensor: tensor.as_subclass(OnDevice))
    assert torch.equal(onnx.scorer.score(moved, moved, 10),
                       onnx.scorer.score(features, features, 10))
