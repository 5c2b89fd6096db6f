# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Landmarks in the map: what they cost, that they come back, and maps that have none."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from samples import HEADER, keyframe

from r2former_ros.errors import MapError
from r2former_ros.geometry.poses import BODY_T_OPTICAL
from r2former_ros.mapping.copying import adopt_camera
from r2former_ros.mapping.merge import merge_maps
from r2former_ros.mapping.prune import prune_map
from r2former_ros.mapping.repair import repair_map
from r2former_ros.maps.landmarks import MOST, PlaceLandmarks, decode, encode
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.refine import map_camera_of, note_camera
from r2former_ros.records import Camera, Landmarks, MountedCamera

CAMERA = MountedCamera(
    Camera(np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]]), 320, 240), BODY_T_OPTICAL)


def landmarks(kind='sift', count=300, seed=0):
    rng = np.random.default_rng(seed)
    if kind == 'sift':
        descriptors = rng.integers(0, 180, (count, 128)).astype(np.uint8)
    else:
        descriptors = rng.normal(0, 16, (count, 64)).round().clip(-48, 42).astype(np.int8)
    return PlaceLandmarks(
        Landmarks(kind, rng.normal(5, 3, (count, 3)).astype(np.float32),
                  rng.random(count).astype(np.float32), descriptors, 0.01), BODY_T_OPTICAL)


@pytest.mark.parametrize(('kind', 'half_step'), [('sift', 6), ('xfeat', 3)])
def test_landmarks_come_back(kind, half_step):
    given = landmarks(kind)
    found = decode(encode(given), kind)
    assert np.array_equal(found.landmarks.xyz, given.landmarks.xyz)
    assert np.abs(found.landmarks.depth_sigma - given.landmarks.depth_sigma).max() < 1e-3
    error = found.landmarks.descriptors.astype(int) - given.landmarks.descriptors.astype(int)
    assert np.abs(error).max() <= half_step
    assert found.landmarks.descriptors.dtype == given.landmarks.descriptors.dtype
    assert np.array_equal(found.base_T_optical, BODY_T_OPTICAL)
    assert found.landmarks.scale_sigma == pytest.approx(0.01)


def test_a_place_with_both_kinds_costs_less_than_75_kb():
    many = [landmarks(kind, 1000) for kind in ('sift', 'xfeat')]
    assert sum(len(encode(one)) for one in many) < 75_000
    kept = decode(encode(many[0]), 'sift').landmarks
    assert len(kept) == MOST
    assert kept.depth_sigma.max() < np.median(many[0].landmarks.depth_sigma)


@pytest.mark.parametrize('blob', [b'', b'\1', encode(landmarks())[:-1]])
def test_a_blob_that_is_cut_off_is_named(blob):
    with pytest.raises(MapError, match='cut off'):
        decode(blob, 'sift')


def test_a_newer_kind_is_named():
    with pytest.raises(MapError, match='newer'):
        decode(encode(landmarks()), 'other')


@pytest.fixture
def site(tmp_path):
    """Three places; the first and the third have landmarks."""
    with PlaceMap.create(tmp_path / 'site.r2map', HEADER) as place_map:
        for seed in range(3):
            place_map.add(keyframe(seed))
        for place_id in (1, 3):
            place_map.write_landmarks(place_id, {
                kind: encode(landmarks(kind, seed=place_id)) for kind in ('sift', 'xfeat')})
        note_camera(place_map, CAMERA)
    return tmp_path / 'site.r2map'


def xyz(path, place_id):
    with PlaceMap.open(path) as place_map:
        found = place_map.landmarks(place_id, 'sift')
    return None if found is None else found.landmarks.xyz


def test_the_map_keeps_them_and_its_camera(site):
    assert np.array_equal(xyz(site, 3), landmarks(seed=3).landmarks.xyz)
    assert xyz(site, 2) is None
    with PlaceMap.open(site) as place_map:
        assert place_map.landmark_kinds() == ['sift', 'xfeat']
        camera = map_camera_of(place_map)
        assert list(place_map.problems()) == []
    assert np.array_equal(camera.camera.matrix, CAMERA.camera.matrix)
    assert np.array_equal(camera.base_T_optical, BODY_T_OPTICAL)


def test_a_map_of_before_opens_and_takes_them(site):
    connection = sqlite3.connect(site)
    connection.execute('DROP TABLE landmarks')
    connection.commit()
    connection.close()
    with PlaceMap.open(site) as place_map:
        assert place_map.landmark_kinds() == []
        assert place_map.landmarks(1, 'sift') is None
        assert list(place_map.problems()) == []
    with PlaceMap.open(site, writable=True) as place_map:
        place_map.write_landmarks(1, {'sift': encode(landmarks())})
    assert xyz(site, 1) is not None


def test_copies_merged_and_pruned_maps_keep_them(site, tmp_path):
    with PlaceMap.open(site) as place_map:
        place_map.copy_to(tmp_path / 'copy.r2map')
    prune_map(site, tmp_path / 'pruned.r2map', place_ids=[2])
    merge_maps(tmp_path / 'merged.r2map', [str(site), str(tmp_path / 'copy.r2map')])
    for name, place_id in (('copy', 3), ('pruned', 2), ('merged', 6)):
        path = tmp_path / f'{name}.r2map'
        assert np.array_equal(xyz(path, place_id), landmarks(seed=3).landmarks.xyz), name
        with PlaceMap.open(path) as place_map:
            assert map_camera_of(place_map) is not None, name


def test_damaged_ones_are_reported_and_left_behind_by_a_repair(site, tmp_path):
    connection = sqlite3.connect(site)
    connection.execute("UPDATE landmarks SET blob = x'00' WHERE place_id = 3 AND kind = 'sift'")
    connection.commit()
    connection.close()
    with PlaceMap.open(site) as place_map:
        assert list(place_map.problems()) == ['place 3: landmarks do not match their checksum']
        with pytest.raises(MapError, match='landmarks of place 3 are damaged'):
            place_map.landmarks(3, 'sift')
    repair_map(site, tmp_path / 'fresh.r2map')
    assert xyz(tmp_path / 'fresh.r2map', 3) is None
    assert xyz(tmp_path / 'fresh.r2map', 1) is not None
    with PlaceMap.open(tmp_path / 'fresh.r2map') as place_map:
        assert place_map.landmarks(3, 'xfeat') is not None


def test_a_keyframe_brings_its_own(tmp_path):
    with PlaceMap.create(tmp_path / 'm.r2map', HEADER) as place_map:
        place_map.add(replace(keyframe(0), landmarks={'sift': encode(landmarks())}))
        adopt_camera(place_map, [place_map])
        assert map_camera_of(place_map) is None
    assert xyz(tmp_path / 'm.r2map', 1) is not None
