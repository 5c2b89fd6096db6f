# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Labelled places: what ground truths, VG names and MSLS tables may say."""

import csv
import json

import numpy as np
import pytest

from r2former_ros.errors import DatasetError, FileError
from r2former_ros.sources.datasets import read_ground_truth, read_places
from r2former_ros.sources.pictures import encode_jpeg


def truth(tmp_path, positives, **other):
    path = tmp_path / 'gt.json'
    path.write_text(json.dumps({'queries': ['q.jpg'] * len(positives), 'positives': positives,
                                'database': ['a.jpg', 'b.jpg', 'c.jpg'], **other}))
    return path


def test_rows_are_read_as_they_are(tmp_path):
    places = read_ground_truth(truth(tmp_path, [[0], [2, 1], []]))
    assert [rows.tolist() for rows in places.positives] == [[0], [2, 1], []]
    assert places.database[2] == tmp_path / 'c.jpg'


@pytest.mark.parametrize(('row', 'said'), [
    (-1, '-1'), (3, '3'), (0.9, '0.9'), (1.0, '1.0'), (True, 'True'), ('1', "'1'"),
    ([0], r'\[0\]'), (None, 'None'), (10**30, '1000000'), ('x' * 5000, 'characters'),
])
def test_what_is_no_row_of_the_database_is_refused(tmp_path, row, said):
    with pytest.raises(DatasetError, match=rf'positives of query 1 name .*{said}') as error:
        read_ground_truth(truth(tmp_path, [[0], [row]]))
    assert len(str(error.value)) < 400


@pytest.mark.parametrize('rows', [0, None, {'0': 1}, 'abc'])
def test_positives_that_are_no_lists_are_refused(tmp_path, rows):
    with pytest.raises(DatasetError, match='positives of query 0 are .*, expected a list of rows'):
        read_ground_truth(truth(tmp_path, [rows, [1]]))


@pytest.mark.parametrize('content', [
    '', '[]', '{}', 'null', '{"queries": 1}', '[' * 100_000, '{"queries": ["a"], "database": [1]}',
    '{"queries": "abc", "database": ["a"], "positives": []}',
    '{"queries": ["a"], "database": ["a"], "positives": {"a": [0]}}',
    '{"queries": ["a"], "database": ["a"], "positives": []}',
])
def test_what_is_no_ground_truth_is_one_of_our_errors(tmp_path, content):
    path = tmp_path / 'gt.json'
    path.write_text(content)
    with pytest.raises(DatasetError):
        read_ground_truth(path)


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / 'gt.json'
    path.write_bytes(b'\xff\xd8\xff')
    with pytest.raises(FileError, match='gt.json: is not a text file'):
        read_ground_truth(path)


# Names with coordinates


def vg(tmp_path, *names):
    """Write a VG dataset of one name per query, and the same for the database."""
    for part in ('queries', 'database'):
        folder = tmp_path / 'images' / 'test' / part
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(encode_jpeg(np.zeros((8, 8, 3), np.uint8)))
    return tmp_path


def test_metres_tell_places_apart(tmp_path):
    names = '@543000.12@4178900.55@a.jpg', '@543100.12@4178900.55@b.jpg'
    places = read_places(vg(tmp_path, *names), 'test')
    assert [rows.tolist() for rows in places.same_place] == [[0], [1]]


@pytest.mark.parametrize('names', [
    ('@120.439000@36.599000@a.jpg', '@120.442000@36.602000@b.jpg'),
    ('@36.599000@120.439000@a.jpg', '@-36.6020@-120.4420@b.jpg'),
])
def test_degrees_are_not_taken_for_metres(tmp_path, names):
    with pytest.raises(DatasetError, match='hold degrees, expected UTM easting and northing'):
        read_places(vg(tmp_path, *names), 'test')


def test_places_that_all_lie_together_are_said(tmp_path, caplog):
    read_places(vg(tmp_path, '@120.4@36.5@a.jpg', '@120.5@36.6@b.jpg'), 'test')
    assert 'all images lie within 2 m of each other; names must hold metres' in caplog.text


@pytest.mark.parametrize('name', ['@nan@nan@a.jpg', '@inf@0@a.jpg', '@1e300@0@a.jpg'])
def test_names_that_hold_no_numbers_are_refused(tmp_path, name):
    with pytest.raises(DatasetError, match='are not finite, or beyond'):
        read_places(vg(tmp_path, name), 'test')


# MSLS


def msls(tmp_path, panoramas=(), **row):
    """Write two cities of the validation split; some parts hold panoramas only."""
    for city in ('cph', 'sf'):
        for part in ('query', 'database'):
            folder = tmp_path / 'train_val' / city / part
            folder.mkdir(parents=True)
            key = f'{city}_{part}'
            for name, fields in (
                ('postprocessed.csv', {'key': key, 'easting': 543000, 'northing': 4178900, **row}),
                ('raw.csv', {'key': key, 'pano': key in panoramas}),
            ):
                with (folder / name).open('w', newline='') as file:
                    writer = csv.DictWriter(file, list(fields))
                    writer.writeheader()
                    writer.writerow(fields)
    return tmp_path


def test_a_part_of_panoramas_only_is_empty(tmp_path):
    places = read_places(msls(tmp_path, {'cph_query'}), 'val')
    assert [path.stem for path in places.queries] == ['sf_query']
    assert [path.stem for path in places.database] == ['cph_database', 'sf_database']
    assert [rows.tolist() for rows in places.positives] == [[1]]


def test_a_split_of_panoramas_only_is_refused(tmp_path):
    with pytest.raises(DatasetError, match='no city of the split val with pictures of query and'):
        read_places(msls(tmp_path, {'cph_query', 'sf_query'}), 'val')


@pytest.mark.parametrize('value', ['nan', 'inf', '', 'east'])
def test_positions_that_are_no_numbers_are_refused(tmp_path, value):
    with pytest.raises(DatasetError, match='not finite|cannot be read as MSLS'):
        read_places(msls(tmp_path, easting=value), 'val')
