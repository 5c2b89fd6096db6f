# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Another network's global descriptor, of any dimension, beside our local features."""

import pytest
import torch
import torch.nn.functional as F
from fakes import picture
from torch import nn

from r2former_ros.config import Config, with_values
from r2former_ros.errors import MapError, R2FormerError, WeightsError
from r2former_ros.mapping.build import build_map
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.search import PlaceSearch
from r2former_ros.model import load_configured
from r2former_ros.model.preprocess import InputSpec
from r2former_ros.recognizer import Recognizer
from r2former_ros.records import Frame, PosedFrame

pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')


class Colours(nn.Module):
    """Seven values of a coarse image."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 7, 8, stride=8)

    def forward(self, images):
        return self.layer(images).relu().mean(dim=(2, 3))


@pytest.fixture(scope='module')
def network():
    """Fixed weights."""
    torch.manual_seed(0)
    return Colours().eval()


@pytest.fixture(scope='module')
def file(network, tmp_path_factory):
    """The network for images of 64x48, which are larger than those of our weights."""
    path = tmp_path_factory.mktemp('other') / 'colours.onnx'
    torch.onnx.export(network, (torch.zeros(1, 3, 64, 48),), path, dynamo=True, verbose=False,
                      external_data=False)
    return path


def normalised(pixels, spec):
    """Normalise values in [0, 1]."""
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (spec.mean, spec.std))
    return (pixels - mean) / std


def settings(**values):
    """Configure a small untrained network on the CPU, and no thumbnails."""
    return with_values(Config(), {
        'model.weights': 'tiny', 'model.device': 'cpu', 'model.backend': 'torch',
        'model.image_height': 48, 'model.image_width': 64, 'map.thumbnail_width': 0,
        **{name.replace('__', '.'): value for name, value in values.items()}})


def test_its_vector_takes_the_place_of_ours(file, network):
    ours = load_configured(settings())
    both = load_configured(settings(model__global_descriptor=f'onnx:{file}'))
    pixels = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    images = normalised(pixels, ours.spec.input)
    features, expected = both.encode(images), ours.encode(images)
    with torch.no_grad():
        theirs = normalised(pixels, InputSpec(64, 48))  # as for ImageNet
        resized = F.interpolate(theirs, (64, 48), mode='bilinear', antialias=True)
        vector = F.normalize(network(resized), dim=-1)
    torch.testing.assert_close(features.descriptor, vector, atol=1e-5, rtol=0)
    assert all(map(torch.equal, features.local(), expected.local()))
    assert torch.equal(both.score(features[0], features), ours.score(expected[0], expected))
    assert both.spec.descriptor_dim == 7 and ours.spec.descriptor_dim == 256
    assert both.fingerprint != ours.fingerprint
    assert both.origin.text == 'untrained weights; global descriptor of colours.onnx'


def test_a_map_says_which_network_it_was_built_with(file, tmp_path):
    config = settings(model__global_descriptor=f'onnx:{file}', rerank__candidates=0)
    model, path = load_configured(config), tmp_path / 'm.r2map'
    build_map(model, path, [PosedFrame(Frame(i + 1, picture(i)), None, str(i)) for i in range(4)],
              config)
    with PlaceMap.open(path) as place_map:
        assert place_map.header.descriptor_dim == 7
        assert 'colours.onnx' in place_map.header.weights
        recognizer = Recognizer(PlaceSearch(model, place_map, config))
        recognition = recognizer.recognize(Frame(0, picture(2)))
        assert recognition.best.place.source == '2'
        with pytest.raises(MapError, match='was built with weights .*colours.onnx'):
            PlaceSearch(load_configured(settings()), place_map)


@pytest.mark.parametrize(('name', 'error', 'match'), [
    ('torch:net.pt', WeightsError, 'expected onnx:FILE, or onnx:FILE@HxW'),
    ('onnx:absent.onnx', R2FormerError, 'absent.onnx: cannot be read'),
    ('onnx:{file}@32x32', WeightsError, 'cannot describe an image of 32x32 pixels; name its size'),
])
def test_what_cannot_describe_is_refused(name, error, match, file):
    with pytest.raises(error, match=match):
        load_configured(settings(model__global_descriptor=name.format(file=file)))
