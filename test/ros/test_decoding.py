# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The package's own decoder and cv_bridge give the same pixels, and either can be chosen.

cv_bridge is not on PyPI: if it cannot be imported, a stand-in has its interface, and its faults
with padded rows and big-endian samples.
"""

import sys
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from fakes import picture
from sensor_msgs.msg import CompressedImage, Image

from r2former_ros.errors import ConfigError, ImageError
from r2former_ros.ros import decoding
from r2former_ros.ros.conversions import frame_from, header_from
from r2former_ros.ros.decoding import decoder_of
from r2former_ros.sources.pictures import thumbnail_jpeg

pytestmark = pytest.mark.ros
INSTALLED = find_spec('cv_bridge') is not None
KINDS = {'rgb8': (np.uint8, 3), 'bgr8': (np.uint8, 3), 'mono8': (np.uint8, 1),
         'mono16': (np.uint16, 1), 'planar8': (np.uint8, 3)}


class Bridge:
    """Stand in for ``cv_bridge.CvBridge``; ``planar8`` is an encoding that only it knows."""

    def encoding_to_dtype_with_channels(self, encoding):
        return KINDS[encoding]

    def imgmsg_to_cv2(self, message, desired_encoding='passthrough'):
        assert desired_encoding == 'rgb8'
        kind, channels = KINDS[message.encoding]
        if message.is_bigendian:
            raise TypeError('big-endian samples are not supported')
        samples = np.frombuffer(message.data, kind)[:message.height * message.width * channels]
        if message.encoding == 'planar8':
            return samples.reshape(3, message.height, message.width).transpose(1, 2, 0)
        pixels = samples.reshape(message.height, message.width, channels)
        if kind is np.uint16:
            pixels = np.round(pixels / 257).astype(np.uint8)
        if channels == 1:
            return np.repeat(pixels, 3, axis=2)
        return pixels[..., ::-1] if message.encoding == 'bgr8' else pixels

    def compressed_imgmsg_to_cv2(self, message, desired_encoding='passthrough'):
        assert desired_encoding == 'rgb8'
        return frame_from(message).image


@pytest.fixture
def cv_bridge(monkeypatch):
    """Make cv_bridge importable."""
    if not INSTALLED:
        module = ModuleType('cv_bridge')
        module.CvBridge = Bridge
        monkeypatch.setitem(sys.modules, 'cv_bridge', module)
        monkeypatch.setattr(decoding, 'hindrance_of_cv_bridge', str)


def message_of(encoding, padding=0, order='<'):
    """Make a message of random samples, with bytes of padding after each row."""
    kind, channels = KINDS[encoding]
    samples = np.random.default_rng(3).integers(0, np.iinfo(kind).max, (6, 8 * channels))
    rows = samples.astype(np.dtype(kind).newbyteorder(order)).view(np.uint8).reshape(6, -1)
    padded = np.hstack([rows, np.full((6, padding), 99, np.uint8)])
    return Image(header=header_from(7, 'camera'), height=6, width=8, encoding=encoding,
                 step=padded.shape[1], is_bigendian=int(order == '>'), data=padded.tobytes())


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('padding', [0, 4])
@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'mono8', 'mono16'])
def test_both_decoders_give_the_same_picture(cv_bridge, encoding, padding, order):
    message = message_of(encoding, padding, order)
    own, other = (decoder_of(name)(message) for name in ('own', 'cv_bridge'))
    assert (other.stamp_ns, other.frame_id) == (own.stamp_ns, own.frame_id) == (7, 'camera')
    assert np.array_equal(own.image, other.image)


def test_compressed_images_are_the_same(cv_bridge):
    message = CompressedImage(format='jpeg', data=thumbnail_jpeg(picture(2), 64, 95))
    assert np.array_equal(
        decoder_of('own')(message).image, decoder_of('cv_bridge')(message).image)


def test_auto_asks_cv_bridge_only_for_what_this_package_does_not_know(cv_bridge, monkeypatch):
    decode = decoder_of('auto')
    if not INSTALLED:
        assert decode(message_of('planar8')).image.shape == (6, 8, 3)
    depth = message_of('mono16')
    depth.encoding = '32FC1'
    with pytest.raises(ImageError, match='32FC1'):
        decode(depth)

    def unexpected(*_):
        raise AssertionError('cv_bridge was asked')

    monkeypatch.setattr(decoding, '_decoded_by_bridge', unexpected)
    assert decode(message_of('bgr8')).image.shape == (6, 8, 3)


def test_damage_is_an_image_error_with_either(cv_bridge):
    for encoding, cut in (('rgb8', 10), ('made_up8', 0)):
        message = message_of('rgb8', padding=4)
        message.encoding, message.data = encoding, message.data[cut:]
        for name in ('own', 'cv_bridge', 'auto'):
            with pytest.raises(ImageError):
                decoder_of(name)(message)


@pytest.mark.skipif(INSTALLED, reason='cv_bridge is installed')
def test_without_cv_bridge_auto_is_own_and_asking_for_it_is_refused():
    assert decoder_of('auto') is frame_from
    with pytest.raises(ConfigError, match='cv_bridge is not installed; choose auto or own'):
        decoder_of('cv_bridge')


def test_one_that_fails_its_probe_is_not_used(monkeypatch, tmp_path):
    (tmp_path / 'cv_bridge.py').write_text('import os; os.abort()')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    assert 'does not convert' in decoding.hindrance_of_cv_bridge()
