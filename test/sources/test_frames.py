# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Folders and datasets of pictures, as cameras and people leave them."""

import json
import os

import cv2
import numpy as np
import pytest
from recordings import huge_png

from r2former_ros.errors import DatasetError, ImageError
from r2former_ros.sources import pictures
from r2former_ros.sources.datasets import pictures_in
from r2former_ros.sources.frames import count_pictures, frames_of_dataset, frames_of_folder
from r2former_ros.sources.pictures import PICTURES, encode_jpeg, read_image

WRITTEN = [ending for ending in PICTURES if ending not in ('.pnm', '.jpeg', '.tiff')]


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)


def write(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(picture(seed)))
    return path


def read(folder, poses=None):
    """Return the names of the pictures of a folder, and what was left out."""
    left_out = []
    return [posed.source for posed in frames_of_folder(folder, poses, left_out.append)], left_out


# Order and completeness


def test_numbers_in_names_count_by_value(tmp_path):
    for number in (1, 2, 10, 11, 9, 100):
        write(tmp_path / f'{number}.jpg')
    assert read(tmp_path)[0] == [f'{number}.jpg' for number in (1, 2, 9, 10, 11, 100)]


def test_padded_numbers_and_words_keep_their_order(tmp_path):
    names = ['a_007.jpg', 'a_08.jpg', 'b1_2.jpg', 'b1_10.jpg', 'b02_1.jpg']
    for name in names:
        write(tmp_path / name)
    assert read(tmp_path)[0] == names


@pytest.mark.parametrize('ending', WRITTEN)
def test_every_ending_is_read_from_folders_and_datasets(tmp_path, ending):
    shown = picture() if ending != '.pgm' else picture()[..., 0]
    for name in (f'1{ending}', f'2{ending.upper()}'):
        (tmp_path / name).write_bytes(cv2.imencode(ending, shown)[1].tobytes())
    assert read(tmp_path) == ([f'1{ending}', f'2{ending.upper()}'], [])
    assert len(pictures_in(tmp_path)) == 2


def test_what_is_passed_over_is_said(tmp_path, caplog):
    write(tmp_path / '1.jpg')
    (tmp_path / 'IMG_1.HEIC').touch()
    (tmp_path / 'IMG_2.heic').touch()
    (tmp_path / 'day2').mkdir()
    (tmp_path / 'poses.csv').touch()
    (tmp_path / '.hidden').touch()
    assert read(tmp_path) == (['1.jpg'], [])
    assert caplog.messages == [f'{tmp_path}: 1 picture read, passes over 2 .heic files, 1 folder']


def test_a_folder_of_folders_says_so(tmp_path):
    write(tmp_path / 'day1' / '1.jpg')
    with pytest.raises(DatasetError, match=r'\(.jpg .*\), but 1 folder; give a folder'):
        read(tmp_path)


def test_pictures_without_a_line_in_the_pose_file_are_counted(tmp_path):
    for number in range(4):
        write(tmp_path / f'{number}.jpg')
    poses = tmp_path / 'poses.csv'
    poses.write_text('file,x_m,y_m,yaw_rad\n2.jpg,0,0,0\n0.jpg,0,0,0\ngone.jpg,0,0,0\n')
    names, left_out = read(tmp_path, poses)
    assert names == ['2.jpg', '0.jpg']
    assert [line.split(': ')[0] for line in left_out] == [
        str(tmp_path / name) for name in ('1.jpg', '3.jpg', 'gone.jpg')]
    assert left_out[0].endswith('poses.csv lists no pose for it')


# Names


def test_a_name_that_is_not_utf_8_can_be_read_stored_and_printed(tmp_path):
    (tmp_path / os.fsdecode(b'caf\xe9.jpg')).write_bytes(encode_jpeg(picture()))
    names, left_out = read(tmp_path)
    assert names == ['caf\\xe9.jpg'] and left_out == []
    names[0].encode('utf-8')


def test_absolute_names_are_read_wherever_they_are(tmp_path):
    inside, outside = write(tmp_path / 'in' / '1.jpg'), write(tmp_path / 'out' / '2.jpg')
    poses = tmp_path / 'poses.csv'
    poses.write_text(f'file,x_m,y_m,yaw_rad\n{inside},0,0,0\n{outside},0,0,0\n')
    assert read(tmp_path / 'in', poses) == (['1.jpg', str(outside)], [])
    truth = tmp_path / 'in' / 'gt.json'
    truth.write_text(json.dumps({'queries': [str(inside)], 'positives': [[1]],
                                 'database': [str(outside), '1.jpg']}))
    assert [posed.source for posed in frames_of_dataset(truth, print)] == [str(outside), '1.jpg']


# Pictures that cannot be used


@pytest.mark.parametrize(('content', 'said'), [
    (b'', 'is damaged, or not a picture'),
    (b'<!DOCTYPE html>', 'is damaged, or not a picture'),
    (huge_png(40_000, 30_000), 'has 40000x30000 pixels, more than 67,108,864; make it smaller'),
    (huge_png(12_000, 12_000), 'has 12000x12000 pixels'),
    (huge_png(2**31, 2**31), 'pixels, more than'),
    (b'P6 40000 30000 255\n', 'cannot be decoded'),
    (encode_jpeg(picture())[:-200], 'is truncated'),
])
def test_one_bad_picture_does_not_end_the_others(tmp_path, content, said):
    write(tmp_path / '1.jpg')
    (tmp_path / '2.jpg').write_bytes(content)
    write(tmp_path / '3.jpg')
    assert count_pictures(tmp_path, None) == 3
    names, (line,) = read(tmp_path)
    assert names == ['1.jpg', '3.jpg'] and said in line and '2.jpg' in line


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path, monkeypatch):
    large = np.kron(picture()[:32, :32], np.ones((16, 16, 1), np.uint8))
    (tmp_path / '1.jpg').write_bytes(encode_jpeg(large, 95))
    monkeypatch.setattr(pictures, 'MOST_PIXELS', 200 * 200)
    image = read_image(tmp_path / '1.jpg')
    assert image.shape == (128, 128, 3)
    monkeypatch.setattr(pictures, 'MOST_PIXELS', 10)
    with pytest.raises(ImageError, match='has 512x512 pixels, more than 10'):
        read_image(tmp_path / '1.jpg')


def test_a_picture_of_floats_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / 'depth.tiff'), np.zeros((8, 8, 3), np.float32))
    with pytest.raises(ImageError, match='depth.tiff: holds float32 samples, expected 8 or 16'):
        read_image(tmp_path / 'depth.tiff')
