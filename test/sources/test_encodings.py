# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pixels of image messages, against bytes written by hand."""

from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from r2former_ros.config.sections import options
from r2former_ros.errors import ImageError
from r2former_ros.sources.encodings import (
    ENCODINGS,
    decode_compressed,
    decode_image,
    image_fields,
)
from r2former_ros.sources.pictures import decode_picture, encode_jpeg
from r2former_ros.sources.sixteen_bit import SCALINGS, _say_once, use_scaling

RGB = [[(255, 0, 0), (0, 200, 0)], [(0, 0, 150), (10, 20, 30)]]
GREY = [[0, 50], [200, 255]]
RED_YUV = (81, 90, 240)  # BT.601 limited range: R = 1.164 (81 - 16) + 1.596 (240 - 128) = 254


def message(encoding, data, *, width=2, height=2, step=None, is_bigendian=0):
    """Build what rclpy and rosbags give."""
    step = len(data) // height if step is None else step
    return SimpleNamespace(height=height, width=width, encoding=encoding, step=step,
                           is_bigendian=is_bigendian, data=data)


def laid_out(pixels, order, factor=1, dtype='u1'):
    """Lay pixels out by hand: ``order`` has the index of the channel, or None for alpha."""
    return np.array([[[7 if c is None else pixel[c] * factor for c in order] for pixel in row]
                     for row in pixels], dtype).tobytes()


ORDERS = {
    'rgb8': (0, 1, 2), 'bgr8': (2, 1, 0), 'rgba8': (0, 1, 2, None), 'bgra8': (2, 1, 0, None),
    '8UC3': (2, 1, 0), '8UC4': (2, 1, 0, None),
}
WIDE_ORDERS = {
    'rgb16': (0, 1, 2), 'bgr16': (2, 1, 0), '16UC3': (2, 1, 0), 'rgba16': (0, 1, 2, None),
    'bgra16': (2, 1, 0, None),
}


@pytest.mark.parametrize(('encoding', 'order'), ORDERS.items())
def test_colour(encoding, order):
    image = decode_image(message(encoding, laid_out(RGB, order)))
    assert image.tolist() == [[list(pixel) for pixel in row] for row in RGB]


@pytest.mark.parametrize(('is_bigendian', 'dtype'), [(0, '<u2'), (1, '>u2')])
@pytest.mark.parametrize(('encoding', 'order'), WIDE_ORDERS.items())
def test_colour_of_16_bit(encoding, order, is_bigendian, dtype):
    data = laid_out(RGB, order, 257, dtype)
    image = decode_image(message(encoding, data, is_bigendian=is_bigendian))
    assert image.tolist() == [[list(pixel) for pixel in row] for row in RGB]


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
def test_grey(encoding):
    image = decode_image(message(encoding, bytes([0, 50, 200, 255])))
    assert image.tolist() == [[[value] * 3 for value in row] for row in GREY]


@pytest.mark.parametrize(('is_bigendian', 'dtype'), [(0, '<u2'), (1, '>u2')])
def test_grey_of_16_bit_is_scaled_and_rounded(is_bigendian, dtype):
    data = np.array([128, 129, 200 * 257, 65535], dtype).tobytes()
    image = decode_image(message('mono16', data, is_bigendian=is_bigendian))
    assert image[..., 0].tolist() == [[0, 1], [200, 255]]
    assert (image == image[..., :1]).all()


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_pattern_is_named_by_its_first_two_rows(pattern, bits):
    level = {'r': 200, 'g': 100, 'b': 50}
    tile = np.array([level[c] for c in pattern]).reshape(2, 2)
    mosaic = np.tile(tile, (3, 4)) * (257 if bits == 16 else 1)
    data = mosaic.astype(f'<u{bits // 8}').tobytes()
    image = decode_image(message(f'bayer_{pattern}{bits}', data, width=8, height=6))
    assert image.shape == (6, 8, 3)
    assert (image == (200, 100, 50)).all()


YUV_DATA = {
    'yuv422': [90, 81, 240, 81] * 4,
    'uyvy': [90, 81, 240, 81] * 4,
    'yuv422_yuy2': [81, 90, 81, 240] * 4,
    'yuyv': [81, 90, 81, 240] * 4,
    'nv12': [81] * 8 + [90, 240] * 2,
    'nv21': [81] * 8 + [240, 90] * 2,
    'nv24': [81] * 8 + [90, 240] * 8,
}


@pytest.mark.parametrize(('encoding', 'data'), YUV_DATA.items())
def test_red_in_yuv(encoding, data):
    step = 4 if encoding.startswith('nv') else 8
    image = decode_image(message(encoding, bytes(data), width=4, height=2, step=step))
    assert image.shape == (2, 4, 3)
    np.testing.assert_allclose(image, np.broadcast_to((254, 0, 0), image.shape), atol=1)


@pytest.mark.parametrize(('encoding', 'left', 'right'), [
    ('uyvy', [128, 16, 128, 16], [128, 235, 128, 235]),
    ('yuyv', [16, 128, 16, 128], [235, 128, 235, 128]),
])
def test_yuv_pixels_keep_their_place(encoding, left, right):
    image = decode_image(message(encoding, bytes(left + right), width=4, height=1))
    np.testing.assert_allclose(image[0, :, 0], [0, 0, 255, 255], atol=1)


@pytest.mark.parametrize('encoding', ['nv12', 'nv21', 'nv24'])
def test_planes_with_padded_rows(encoding):
    pad = [238, 238]
    luma = [16, 16, 235, 235, *pad] + [81, 81, 81, 81, *pad]
    chroma = [128] * 4 + pad if encoding != 'nv24' else ([128] * 8 + pad + pad) * 2
    image = decode_image(message(encoding, bytes(luma + chroma), width=4, height=2, step=6))
    np.testing.assert_allclose(image[..., 1], [[0, 0, 255, 255], [76, 76, 76, 76]], atol=1)


def test_every_encoding_is_covered_here():
    patterns = ('rggb', 'bggr', 'gbrg', 'grbg')
    bayer = {f'bayer_{name}{bits}' for name in patterns for bits in (8, 16)}
    tested = {*ORDERS, *WIDE_ORDERS, 'mono8', '8UC1', 'mono16', *bayer, *YUV_DATA}
    assert set(ENCODINGS) == tested


@pytest.mark.parametrize(('encoding', 'row_bytes', 'factor', 'dtype'), [
    ('rgb8', 6, 1, 'u1'), ('bgr8', 6, 1, 'u1'), ('rgb16', 12, 257, '>u2'),
])
def test_padded_rows(encoding, row_bytes, factor, dtype):
    order = ORDERS.get(encoding, (0, 1, 2))
    tight = laid_out(RGB, order, factor, dtype)
    padded = tight[:row_bytes] + b'\xee' * 5 + tight[row_bytes:] + b'\xee' * 5
    image = decode_image(message(encoding, padded, is_bigendian=1))  # odd step: unaligned too
    assert image.tolist() == [[list(pixel) for pixel in row] for row in RGB]


@pytest.mark.parametrize('kind', [bytes, lambda data: array('B', data),
                                  lambda data: np.frombuffer(data, np.uint8)])
@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'mono8'])
def test_any_buffer_gives_an_image_of_its_own(kind, encoding):
    data = kind(bytes(range(4 if encoding == 'mono8' else 12)))
    image = decode_image(message(encoding, data))
    assert image.dtype == np.uint8 and image.flags.writeable and image.flags.c_contiguous
    assert not np.shares_memory(image, np.frombuffer(data, np.uint8))
    assert image[1, 1, 1] == (3 if encoding == 'mono8' else 10)


@pytest.mark.parametrize(('encoding', 'data', 'size', 'match'), [
    ('rgb8', b'', {'width': 0, 'height': 0, 'step': 0}, 'image of 0x0 pixels is empty'),
    ('rgb8', bytes(11), {'step': 6}, r'2x2 rgb8 has 11 bytes, expected 12 \(step 6\)'),
    ('rgb8', bytes(12), {'step': 5}, 'step 5 is smaller than a row of 2x2 rgb8, which has 6'),
    ('mono16', bytes(8), {'step': 2}, 'step 2 is smaller than a row of 2x2 mono16'),
    ('64FC1', bytes(16), {}, "encoding '64FC1' is not supported; supported: rgb8, bgr8"),
    ('', bytes(16), {}, "encoding '' is not supported"),
    ('yuyv', bytes(12), {'width': 3}, 'width 3 of yuyv: must be even'),
    ('nv12', bytes(12), {'width': 3, 'step': 3}, '3x2 nv12: both sides must be even'),
    ('nv12', bytes(5), {'step': 2}, '2x2 nv12 has 5 bytes, expected 6'),
])
def test_refused_images(encoding, data, size, match):
    with pytest.raises(ImageError, match=match):
        decode_image(message(encoding, data, **size))


# Compressed


def halves():
    """Left half red, right half blue, 64 wide and 32 high."""
    image = np.zeros((32, 64, 3), np.uint8)
    image[:, :32, 0], image[:, 32:, 2] = 255, 255
    return image


def assert_halves(image):
    away = np.r_[0:28, 36:64]  # from the border, where JPEG mixes the colours
    assert image.shape == (32, 64, 3) and image.dtype == np.uint8
    np.testing.assert_allclose(image[:, away].astype(int), halves()[:, away], atol=4)


def png(array_bgr):
    return cv2.imencode('.png', array_bgr)[1].tobytes()


def compressed(data, name='jpeg'):
    return SimpleNamespace(format=name, data=data)


@pytest.mark.parametrize('name', ['jpeg', 'jpg', 'bgr8; jpeg compressed bgr8',
                                  'rgb8; jpeg compressed bgr8', ''])
@pytest.mark.parametrize('kind', [bytes, lambda data: array('B', data),
                                  lambda data: np.frombuffer(data, np.uint8)])
def test_jpeg(name, kind):
    image = decode_compressed(compressed(kind(encode_jpeg(halves(), 95)), name))
    assert_halves(image)


def test_jpeg_with_red_and_blue_exchanged_as_image_transport_says():
    data = encode_jpeg(halves()[..., ::-1].copy(), 95)
    image = decode_compressed(compressed(data, 'rgb8; jpeg compressed rgb8'))
    assert_halves(image)


def test_png_is_exact():
    image = decode_compressed(compressed(png(halves()[..., ::-1]), 'png'))
    assert (image == halves()).all()


@pytest.mark.parametrize('name', ['mono8; jpeg compressed ', 'mono8; png compressed ', 'png'])
def test_grey_is_spread_over_the_channels(name):
    grey = np.full((16, 16), 90, np.uint8)
    data = cv2.imencode('.jpg' if 'jpeg' in name else '.png', grey)[1].tobytes()
    assert (decode_compressed(compressed(data, name)) == np.full((16, 16, 3), 90)).all()


def test_png_of_16_bit_is_scaled():
    data = png(np.array([[0, 0x80FF], [0xFFFF, 0x4000]], np.uint16))
    image = decode_compressed(compressed(data, 'mono16; png compressed '))
    np.testing.assert_allclose(image[..., 0], [[0, 128], [255, 64]], atol=1)


def test_exif_orientation_turns_messages_as_it_turns_files():
    jpeg = encode_jpeg(halves())
    entry = b'\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00'  # orientation: turn by 90 degrees
    tiff = b'MM\x00*\x00\x00\x00\x08\x00\x01' + entry + bytes(4)
    exif = b'Exif\x00\x00' + tiff
    segment = b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif
    turned = jpeg[:2] + segment + jpeg[2:]
    image = decode_compressed(compressed(turned))
    assert image.shape == (64, 32, 3)
    assert (image == decode_picture(turned, 'file')).all()


def noise():
    return np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)


@pytest.mark.parametrize('kept', [0.3, 0.9])
@pytest.mark.parametrize('padding', [b'', bytes(100)])
def test_truncated_jpeg_is_refused_although_opencv_fills_it_with_grey(kept, padding):
    data = encode_jpeg(noise())
    cut = data[:int(len(data) * kept)] + padding
    with pytest.raises(ImageError, match=f'JPEG of {len(cut)} bytes is truncated'):
        decode_compressed(compressed(cut))


def test_the_end_marker_of_a_thumbnail_does_not_make_a_cut_jpeg_whole():
    thumbnail, data = encode_jpeg(noise()[:8, :8]), encode_jpeg(noise())
    segment = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    whole = data[:2] + segment + data[2:]
    assert decode_compressed(compressed(whole)).shape == (64, 64, 3)
    with pytest.raises(ImageError, match='is truncated'):
        decode_compressed(compressed(whole[:-len(data) // 2]))


@pytest.mark.parametrize('flags', [
    [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 3],
    [cv2.IMWRITE_JPEG_OPTIMIZE, 1], [],
])
def test_every_way_of_coding_is_whole(flags):
    data = cv2.imencode('.jpg', noise(), flags)[1].tobytes()
    assert decode_compressed(compressed(data)).shape == (64, 64, 3)


def test_bytes_that_no_encoder_writes_are_damage():
    data = encode_jpeg(noise())
    middle = len(data) // 2
    with pytest.raises(ImageError, match=f'JPEG of {len(data)} bytes is damaged'):
        decode_compressed(compressed(data[:middle] + b'\xff\x33' * 20 + data[middle + 40:]))


@pytest.mark.parametrize('flags', [
    [], [cv2.IMWRITE_JPEG_RST_INTERVAL, 3],
    [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
])
@pytest.mark.parametrize('fill', [bytes(20), b'\x55' * 20, bytes(range(1, 200, 10))])
@pytest.mark.parametrize('where', [0.6, 0.7, 0.9])
def test_bytes_that_were_overwritten_are_damage(flags, fill, where):
    pytest.importorskip('numba')
    data = cv2.imencode('.jpg', noise(), flags)[1].tobytes()
    at = int(len(data) * where)
    hurt = data[:at] + fill + data[at + len(fill):]
    assert cv2.imdecode(np.frombuffer(hurt, np.uint8), cv2.IMREAD_COLOR) is not None
    with pytest.raises(ImageError, match=f'JPEG of {len(data)} bytes is damaged'):
        decode_compressed(compressed(hurt))


@pytest.mark.parametrize('shape', [(1, 1), (8, 8, 3), (17, 33, 3), (40, 9), (100, 120, 3)])
@pytest.mark.parametrize('quality', [5, 50, 100])
def test_pictures_of_any_size_and_quality_are_whole(shape, quality):
    pixels = np.random.default_rng(quality).integers(0, 255, shape, np.uint8)
    data = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    assert decode_compressed(compressed(data)).shape[:2] == shape[:2]


def test_restart_markers_that_are_missing_are_damage():
    data = cv2.imencode('.jpg', noise(), [cv2.IMWRITE_JPEG_RST_INTERVAL, 3])[1].tobytes()
    assert b'\xff\xd1' in data
    with pytest.raises(ImageError, match='is damaged'):
        decode_compressed(compressed(data.replace(b'\xff\xd1', b'\x00\x00', 1)))


def test_truncated_png_is_refused():
    data = png(noise())
    with pytest.raises(ImageError, match='PNG of .* is truncated'):
        decode_compressed(compressed(data[:-4], 'png'))


@pytest.mark.parametrize('padding', [
    bytes(37), b'\xff' * 5, b'\r\n', bytes([7, 19, 200]) * 40, b'--boundary', b'\xff\xd8\xff\xe1',
])
def test_padding_behind_the_end_marker_is_allowed(padding):
    data = encode_jpeg(noise())
    image = decode_compressed(compressed(data + padding))
    assert (image == decode_compressed(compressed(data))).all()


@pytest.mark.parametrize(('data', 'name', 'match'), [
    (b'', 'jpeg', "0 bytes of format 'jpeg' are neither JPEG nor PNG"),
    (b'RIFFxxxxWEBP', 'webp', "format 'webp' are neither JPEG nor PNG"),
    (b'\xff\xd8\xff\xd9', 'jpeg', "format 'jpeg': is damaged, or not a picture"),
    (bytes(12), '16UC1; compressedDepth png', 'is a depth image; supported: jpeg, png'),
])
def test_refused_compressed_images(data, name, match):
    with pytest.raises(ImageError, match=match):
        decode_compressed(compressed(data, name))


# 10 to 14 bits in 16


def grey16(values, encoding='mono16'):
    pixels = np.asarray(values, '<u2')
    height, width = pixels.shape[:2]
    return message(encoding, pixels.tobytes(), width=width, height=height)


def ramp(low, high):
    """Return a picture (64, 64) whose samples rise evenly."""
    return np.linspace(low, high, 64 * 64).astype(np.uint16).reshape(64, 64)


@pytest.mark.parametrize(('low', 'high'), [(0, 4095), (7000, 8020), (0, 1023), (100, 16383)])
def test_a_range_of_few_bits_is_stretched_to_eight(low, high, caplog):
    _say_once.cache_clear()
    images = [decode_image(grey16(ramp(low, high))) for _ in range(2)]
    assert images[0].min() == 0 and images[0].max() == 255
    expected = (ramp(low, high).astype(float) - low) * 255 / (high - low)
    np.testing.assert_allclose(images[1][..., 0], expected, atol=3)
    assert caplog.text.count('16-bit images stay below 16384') == 1


def test_a_hot_pixel_does_not_dim_the_picture():
    thermal = ramp(7000, 8020)
    thermal[5, 5] = 16000
    assert np.median(decode_image(grey16(thermal))) == pytest.approx(127, abs=3)


def test_png_files_and_messages_are_stretched_alike():
    data = png(ramp(7000, 8020))
    image = decode_compressed(compressed(data, 'mono16; png compressed '))
    assert (image == decode_image(grey16(ramp(7000, 8020)))).all()
    assert (image == decode_picture(data, 'file.png')).all()


def test_the_setting_turns_stretching_off_and_on():
    try:
        use_scaling('full')
        assert decode_image(grey16(ramp(0, 4095))).max() == 16
        use_scaling('stretch')
        assert decode_image(grey16(ramp(20000, 40000))).min() == 0
    finally:
        use_scaling('auto')
    assert decode_image(grey16(ramp(20000, 40000))).min() == 78
    assert {item.name: item for item in options()}['model.sixteen_bit'].choices == SCALINGS


def test_a_picture_of_one_value_is_not_divided_by_zero():
    assert decode_image(grey16(np.full((4, 4), 300))).max() == 0


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
def test_depth_is_not_taken_for_brightness(encoding):
    with pytest.raises(ImageError, match=f'{encoding} is a depth image; .* says mono16'):
        decode_image(message(encoding, bytes(32)))


# Writing


@pytest.mark.parametrize(('encoding', 'first_row'), [
    ('rgb8', [255, 0, 0, 0, 200, 0]),
    ('bgr8', [0, 0, 255, 0, 200, 0]),
    ('mono8', [76, 117]),  # 0.299 R, 0.587 G
])
def test_fields_of_a_message(encoding, first_row):
    fields = image_fields(np.array(RGB, np.uint8), encoding)
    assert (fields.height, fields.width, fields.is_bigendian) == (2, 2, 0)
    assert fields.encoding == encoding and fields.step == len(first_row)
    assert fields.data[:fields.step].tolist() == first_row
    assert fields.data.dtype == np.uint8 and fields.data.shape == (2 * fields.step,)


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8'])
def test_fields_read_back(encoding):
    view = np.random.default_rng(1).integers(0, 255, (5, 9, 3), np.uint8)[:, ::2]
    assert (decode_image(image_fields(view, encoding)) == view).all()


def test_jpeg_quality_costs_bytes():
    assert len(encode_jpeg(noise(), 95)) > 2 * len(encode_jpeg(noise(), 20))


@pytest.mark.parametrize('write', [encode_jpeg, image_fields])
@pytest.mark.parametrize('image', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32),
                                   np.zeros((0, 4, 3), np.uint8)])
def test_only_rgb_is_written(write, image):
    with pytest.raises(ImageError, match=r'expected uint8 \(height, width, 3\) RGB'):
        write(image)


def test_unknown_encoding_is_not_written():
    with pytest.raises(ImageError, match="'rgb16' is not written; supported: rgb8, bgr8, mono8"):
        image_fields(np.zeros((4, 4, 3), np.uint8), 'rgb16')
