# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The map file: round trips, and what is refused."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from samples import HEADER, keyframe

from r2former_ros.errors import FileError, MapError
from r2former_ros.maps import codec as local_codec
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.sqlite import APPLICATION_ID
from r2former_ros.records import LocalFeatures


@pytest.fixture
def site(tmp_path):
    """A map with three places."""
    with PlaceMap.create(tmp_path / 'site.r2map', HEADER) as place_map:
        for seed in range(3):
            place_map.add(keyframe(seed, posed=seed != 1))
    return tmp_path / 'site.r2map'


@pytest.mark.parametrize(('dtype', 'tolerance'), [('float16', 0.005), ('int8', 0.06)])
def test_local_features_keep_their_precision(tmp_path, dtype, tolerance):
    wanted = keyframe(5).local_features
    header = replace(HEADER, local_dtype=dtype)
    with PlaceMap.create(tmp_path / 'm.r2map', header) as place_map:
        place_map.add(keyframe(5))
        descriptors, (stored,) = place_map.features([1])
    assert np.array_equal(descriptors[0], keyframe(5).descriptor)
    assert np.abs(stored.descriptors - wanted.descriptors).max() < tolerance
    assert np.abs(stored.xy - wanted.xy).max() < 5e-4
    assert np.abs(stored.attention - wanted.attention).max() < 5e-4


def test_an_int8_place_of_500_features_costs_less_than_70_kb(tmp_path):
    """In the file, all tables and indices included; thumbnails come on top."""
    rng = np.random.default_rng(0)
    features = LocalFeatures(
        rng.random((500, 2), np.float32), rng.random(500, np.float32),
        rng.standard_normal((500, 128)).astype(np.float32),
    )
    descriptor = np.full(256, 1 / 16, np.float32)
    one = replace(keyframe(0), descriptor=descriptor, local_features=features, thumbnail=b'')
    path = tmp_path / 'm.r2map'
    header = replace(HEADER, descriptor_dim=256, local_dim=128, local_dtype='int8')
    with PlaceMap.create(path, header) as place_map:
        empty = place_map.byte_size()
        assert place_map.add_all([one] * 100) == list(range(1, 101))
    assert (path.stat().st_size - empty) / 100 < 70_000
    blob = local_codec.encode(features, 'int8')
    assert len(blob) + descriptor.nbytes < 70_000
    assert len(blob) == local_codec.place_bytes(500, 'int8', 128)
    assert len(local_codec.decode(blob, 'int8', 128)) == 500
    with pytest.raises(MapError, match='no whole number of 134 each'):
        local_codec.decode(blob[:-1], 'int8', 128)


@pytest.mark.parametrize('dtype', ['float16', 'int8'])
def test_features_as_stored_have_the_same_values(tmp_path, dtype):
    header = replace(HEADER, local_dtype=dtype)
    with PlaceMap.create(tmp_path / 'm.r2map', header) as place_map:
        place_map.add(keyframe(1))
        _, (wide,) = place_map.features([1])
        _, (stored,) = place_map.features([1], widen=False)
    assert wide.descriptors.dtype == wide.xy.dtype == np.float32
    assert stored.xy.dtype == np.float16
    for name in ('xy', 'attention', 'descriptors'):
        assert np.array_equal(getattr(wide, name), getattr(stored, name))


def test_a_place_at_minus_zero_is_intact(site):
    pose = np.eye(4)
    pose[:3, 3] = 1.0, -0.0, -0.0
    with PlaceMap.open(site, writable=True) as place_map:
        place_map.add(replace(keyframe(9), map_T_camera=pose))
        assert list(place_map.problems()) == []
        assert np.array_equal(place_map.places()[4].map_T_camera, pose)


def test_places_can_be_added_later(site):
    with PlaceMap.open(site, writable=True) as place_map:
        assert place_map.add(keyframe(9)) == 4
    assert not site.with_name('site.r2map-wal').exists()  # a single file again
    with PlaceMap.open(site) as place_map:
        assert len(place_map) == 4


def test_a_finished_map_is_a_single_file_also_after_readers(site):
    with PlaceMap.open(site) as one, PlaceMap.open(site) as other:
        assert len(one) == len(other) == 3
    assert [path.name for path in site.parent.iterdir()] == ['site.r2map']
    with PlaceMap.open(site, writable=True) as place_map:
        place_map.add(keyframe(9))
        with PlaceMap.open(site) as reader:  # keeps the log in place until it has gone
            assert len(reader) == 4
    assert [path.name for path in site.parent.iterdir()] == ['site.r2map']


def test_a_writer_that_closes_under_a_reader_loses_nothing(site):
    with PlaceMap.open(site) as reader:
        with PlaceMap.open(site, writable=True) as writer:
            writer.add(keyframe(9))
            assert len(reader) == 4
        assert len(reader.places()) == 4
    with PlaceMap.open(site, writable=True) as writer:
        assert writer.add(keyframe(10)) == 5
    assert [path.name for path in site.parent.iterdir()] == ['site.r2map']


def test_a_map_in_a_read_only_folder_opens(site):
    site.parent.chmod(0o500)
    try:
        with PlaceMap.open(site) as place_map:
            assert len(place_map) == 3
    finally:
        site.parent.chmod(0o700)


@pytest.mark.parametrize(('content', 'match'), [
    (None, 'no such map file; r2former map build makes one'),
    (b'', 'is no r2former map'),
    (b'hello, world' * 400, 'is damaged, or no map file'),
])
def test_what_is_no_map_is_refused(tmp_path, content, match):
    path = tmp_path / 'x.r2map'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MapError, match=match):
        PlaceMap.open(path)


def test_another_sqlite_file_is_refused(tmp_path):
    path = tmp_path / 'other.db'
    connection = sqlite3.connect(path)
    connection.execute('CREATE TABLE t (x)')
    connection.close()
    with pytest.raises(MapError, match='other.db: is no r2former map'):
        PlaceMap.open(path)


def test_a_newer_format_is_refused(site):
    connection = sqlite3.connect(site)
    connection.execute('PRAGMA user_version = 99')
    connection.close()
    with pytest.raises(MapError, match='map format 99 is newer than 2'):
        PlaceMap.open(site)


def test_a_truncated_map_is_refused(site):
    whole = site.read_bytes()
    for size in (17, 100, 16384, len(whole) // 2, len(whole) - 1):
        site.write_bytes(whole[:size])
        with pytest.raises(MapError, match='is truncated|is damaged|cannot be read'):
            PlaceMap.open(site)


def test_a_flipped_bit_in_a_feature_is_found(site):
    connection = sqlite3.connect(site)
    (blob,) = connection.execute('SELECT local FROM features WHERE place_id = 2').fetchone()
    flipped = bytes([blob[0] ^ 1]) + blob[1:]
    connection.execute('UPDATE features SET local = ? WHERE place_id = 2', (flipped,))
    connection.commit()
    connection.close()
    with PlaceMap.open(site) as place_map:
        assert list(place_map.problems()) == ['place 2: features do not match their checksum']
        with pytest.raises(MapError, match='place 2 is damaged; see r2former map check'):
            place_map.features([2])
        assert len(place_map.features([1, 3])[1]) == 2


def test_other_weights_are_refused(site):
    with PlaceMap.open(site) as place_map:
        place_map.require_weights(HEADER.fingerprint, 'tiny')
        with pytest.raises(MapError, match='0123456789abcdef .*not feedfeedfeedfeed .small, x.'):
            place_map.require_weights('feedfeedfeedfeed', 'small, x')


def test_an_existing_file_is_never_overwritten(site):
    before = site.read_bytes()
    with pytest.raises(MapError, match='exists already'):
        PlaceMap.create(site, HEADER)
    assert site.read_bytes() == before


def test_features_of_the_wrong_size_or_not_finite_are_refused(site):
    bad = keyframe(1)
    with PlaceMap.open(site, writable=True) as place_map:
        with pytest.raises(MapError, match='finite values'):
            place_map.add(replace(bad, descriptor=np.full(8, np.nan, np.float32)))
        with pytest.raises(MapError, match='shape'):
            place_map.add(replace(bad, descriptor=np.ones(9, np.float32)))
        assert len(place_map) == 3


def test_the_file_is_marked_as_ours_for_the_sqlite_shell(site):
    connection = sqlite3.connect(site)
    assert connection.execute('PRAGMA application_id').fetchone()[0] == APPLICATION_ID
    assert connection.execute('PRAGMA journal_mode').fetchone()[0] == 'delete'
    assert connection.execute('PRAGMA page_size').fetchone()[0] == 8192
    assert connection.execute('SELECT x, y FROM places WHERE id = 3').fetchone() == (2.0, 4.0)
    connection.close()


def test_a_copy_of_a_growing_map_is_one_file_and_replaces_the_copy_before(site, tmp_path):
    copy = tmp_path / 'copy.r2map'
    with PlaceMap.open(site, writable=True) as place_map:
        for count in (4, 5):
            place_map.add(keyframe(count))
            assert place_map.copy_to(copy) == count
        with pytest.raises(MapError, match=r'site.r2map: is this map itself'):
            place_map.copy_to(site)
        with pytest.raises(FileError, match='no_folder'):
            place_map.copy_to(tmp_path / 'no_folder' / 'copy.r2map')
    assert {path.name for path in tmp_path.iterdir()} == {'site.r2map', 'copy.r2map'}
    with PlaceMap.open(copy) as place_map:
        assert place_map.header == HEADER and list(place_map.problems()) == []
        (_, (local,)) = place_map.features([5])
        assert np.allclose(local.descriptors, keyframe(5).local_features.descriptors, atol=0.02)
