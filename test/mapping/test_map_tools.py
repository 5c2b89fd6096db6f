# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tools on maps of a stand-in model: what goes in must come out, in the right place."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeModel, picture

from r2former_ros.config import Config, with_values
from r2former_ros.errors import MapError
from r2former_ros.geometry.poses import (
    BODY_T_OPTICAL,
    inverse,
    latitude_longitude,
    local_east_north,
    pose_from_quaternion,
    pose_from_yaw,
)
from r2former_ros.mapping.build import MapBuilder, build_map
from r2former_ros.mapping.export import export_colmap, export_geojson, export_tum
from r2former_ros.mapping.merge import merge_maps
from r2former_ros.mapping.plot import plot_map
from r2former_ros.mapping.prune import near_places, prune_map
from r2former_ros.mapping.reencode import reencode_map
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.sessions import Source, origin_of, session_counts
from r2former_ros.records import Frame, Place, PosedFrame
from r2former_ros.sources.pictures import thumbnail_jpeg
from r2former_ros.sources.trajectory_files import read_trajectory

HERE, THERE = (47.3769, 8.5417), (47.4, 8.6)


class Killed(BaseException):
    """What ends a build in the middle of a frame."""


def frames(count, first=0, step_m=5.0):
    """Make a drive along x, a place each second."""
    for i in range(first, first + count):
        yield PosedFrame(Frame(i * 10**9, picture(i)), pose_from_yaw(step_m * i, 0, 0.3), f'{i}')


def make(path, count=4, first=0, origin=None, config=None, name='lap'):
    """Build a map and return its path."""
    builder = MapBuilder(FakeModel(), config or Config(),
                         source=Source('images', f'/data/{name}'), origin=origin)
    builder.new(path, frames(count, first))
    return str(path)


def contents(path):
    """Return what a map holds of each place, by source and stamp."""
    with PlaceMap.open(path) as place_map:
        held = {}
        for place_id, place in place_map.places().items():
            (descriptor,), (local,) = place_map.features([place_id])
            held[place.source, place.stamp_ns] = (
                None if place.map_T_camera is None else place.map_T_camera.tobytes(),
                descriptor.tobytes(), local.xy.tobytes(), local.attention.tobytes(),
                local.descriptors.tobytes(), place_map.thumbnail(place_id),
            )
    return held


@pytest.mark.parametrize('dtype', ['float16', 'int8'])
def test_merged_maps_hold_every_place_bit_by_bit(tmp_path, dtype):
    config = with_values(Config(), {'map.local_dtype': dtype})
    a = make(tmp_path / 'a.r2map', config=config)
    b = make(tmp_path / 'b.r2map', 3, first=10, config=config)
    out = tmp_path / 'out.r2map'
    assert merge_maps(out, [a, b]) == {a: 4, b: 3}
    assert contents(out) == {**contents(a), **contents(b)}
    with PlaceMap.open(out) as place_map:
        assert session_counts(place_map) == {'lap': 4, 'lap-2': 3}
        assert list(place_map.problems()) == []
    with pytest.raises(MapError, match='exists already'):
        merge_maps(out, [a, b])


def test_a_transform_moves_the_poses_of_its_map_only(tmp_path):
    a, b = make(tmp_path / 'a.r2map'), make(tmp_path / 'b.r2map', 1, first=2)
    out_T_b = pose_from_yaw(100.0, 0.0, np.pi / 2)
    merge_maps(tmp_path / 'out.r2map', [a, b], {'b.r2map': out_T_b})
    with PlaceMap.open(tmp_path / 'out.r2map') as place_map:
        places = place_map.places()
    assert np.allclose(places[3].map_T_camera, pose_from_yaw(10, 0, 0.3))
    assert np.allclose(places[5].map_T_camera, pose_from_yaw(100, 10, 0.3 + np.pi / 2))
    with pytest.raises(MapError, match='c.r2map: has a transform, but is not one of the maps'):
        merge_maps(tmp_path / 'x.r2map', [a, b], {'c.r2map': out_T_b})


def test_maps_that_do_not_compare_are_not_merged(tmp_path):
    a = make(tmp_path / 'a.r2map', origin=HERE)
    int8 = make(tmp_path / 'b.r2map', config=with_values(Config(), {'map.local_dtype': 'int8'}))
    with pytest.raises(MapError, match=r'b.r2map: local_dtype is int8, but float16 in .*a.r2map'):
        merge_maps(tmp_path / 'out.r2map', [a, int8])
    build_map(FakeModel(fingerprint='other'), tmp_path / 'c.r2map', frames(1), Config())
    with pytest.raises(MapError, match='c.r2map: fingerprint is other'):
        merge_maps(tmp_path / 'out.r2map', [a, str(tmp_path / 'c.r2map')])
    far = make(tmp_path / 'd.r2map', origin=THERE)
    with pytest.raises(MapError, match='have different geographic origins'):
        merge_maps(tmp_path / 'out.r2map', [a, far])
    assert not list(tmp_path.glob('out*'))
    merge_maps(tmp_path / 'out.r2map', [a, far], {'d.r2map': pose_from_yaw(9.0, 0.0, 0.0)})
    with PlaceMap.open(tmp_path / 'out.r2map') as place_map:
        assert origin_of(place_map) == HERE


def test_pruning_drops_what_was_asked_for_and_nothing_else(tmp_path):
    path = make(tmp_path / 'a.r2map', 6, origin=HERE)
    builder = MapBuilder(FakeModel(), Config(), source=Source('bag', '/lap'))
    builder.append(path, frames(3, first=20))
    before = contents(path)
    dropped = prune_map(path, tmp_path / 'out.r2map', distance_m=9.0, place_ids={1},
                        sessions=['lap-2'])
    assert dropped == {'listed': [1], 'session': [7, 8, 9], 'near': [3, 5]}
    assert contents(path) == before
    kept = contents(tmp_path / 'out.r2map')
    assert kept == {key: before[key] for key in before if key[0] in ('1', '3', '5')}
    with PlaceMap.open(tmp_path / 'out.r2map') as place_map:
        assert session_counts(place_map) == {'lap': 3} and origin_of(place_map) == HERE
    with pytest.raises(MapError, match="has no session 'x'; it has lap, lap-2"):
        prune_map(path, tmp_path / 'y.r2map', sessions=['x'])
    with pytest.raises(MapError, match='has no place 99'):
        prune_map(path, tmp_path / 'y.r2map', place_ids={99})
    with pytest.raises(MapError, match='no place would be left'):
        prune_map(path, tmp_path / 'y.r2map', sessions=['lap', 'lap-2'])


def test_a_place_seen_in_another_heading_is_not_near():
    yaws = (0.0, 0.2, np.pi, np.pi)
    places = {i: Place(i, 0, pose_from_yaw(0.1 * i, 0, yaw), '') for i, yaw in enumerate(yaws)}
    assert near_places(places, 1.0, 30.0) == [1, 3]
    assert near_places(places, 1.0, 180.0) == [1, 2, 3]


def test_a_killed_build_resumes_to_the_map_it_would_have_been(tmp_path):
    config = with_values(Config(), {'map.keyframe_distance_m': 10.0})
    whole = tmp_path / 'whole.r2map'
    source = Source('bag', '/data/lap')
    builder = MapBuilder(FakeModel(), config, source=source)
    builder.new(whole, frames(12, step_m=4.0))

    def killed():
        for number, frame in enumerate(frames(12, step_m=4.0)):
            if number == 8:
                raise Killed
            yield frame

    path = tmp_path / 'm.r2map'
    with pytest.raises(Killed):
        builder.resume(path, killed())
    summary = builder.resume(path, frames(12, step_m=4.0))
    assert (summary.present, summary.added, summary.between) == (3, 1, 8)
    assert contents(path) == contents(whole)
    with PlaceMap.open(path) as place_map:
        assert session_counts(place_map) == {'lap': 4}
    other = MapBuilder(FakeModel(), config, source=Source('bag', '/data/other'))
    with pytest.raises(MapError, match='/data/other: is not what the last session'):
        other.resume(path, frames(2))


def test_exports_put_places_where_they_are(tmp_path):
    path = make(tmp_path / 'a.r2map', 3, origin=HERE)
    with PlaceMap.open(path) as place_map:
        assert export_tum(place_map, tmp_path / 'm.tum') == 3
        assert export_colmap(place_map, tmp_path / 'colmap') == 3
        assert export_geojson(place_map, tmp_path / 'm.geojson') == 3
    trajectory = read_trajectory(tmp_path / 'm.tum')
    assert np.allclose(trajectory.poses[2], pose_from_yaw(10, 0, 0.3), atol=1e-6)
    lines = (tmp_path / 'colmap' / 'images.txt').read_text().splitlines()[3::2]
    key, qw, qx, qy, qz, x, y, z, camera, name = lines[1].split()
    optical_T_map = pose_from_quaternion(list(map(float, (x, y, z))),
                                         list(map(float, (qx, qy, qz, qw))))
    assert (key, camera, name) == ('2', '1', '1')
    assert np.allclose(inverse(optical_T_map) @ BODY_T_OPTICAL.T, pose_from_yaw(5, 0, 0.3),
                       atol=1e-6)
    camera = (tmp_path / 'colmap' / 'cameras.txt').read_text().splitlines()[-1]
    assert camera == '1 SIMPLE_PINHOLE 64 48 76.8 32 24'
    points = json.loads((tmp_path / 'm.geojson').read_text())['features']
    longitude, latitude = points[2]['geometry']['coordinates']
    assert np.allclose(local_east_north(latitude, longitude, HERE), [[10, 0]], atol=1e-3)
    assert points[2]['properties']['heading_deg'] == pytest.approx(90 - np.degrees(0.3), abs=1e-2)
    assert points[2]['properties']['session'] == 'lap'


def test_a_map_without_an_origin_is_not_put_on_the_globe(tmp_path):
    with PlaceMap.open(make(tmp_path / 'a.r2map')) as place_map:
        with pytest.raises(MapError, match='has no geographic origin'):
            export_geojson(place_map, tmp_path / 'm.geojson')


def test_latitudes_and_longitudes_come_back():
    xy = np.random.default_rng(0).uniform(-20_000, 20_000, (50, 2))
    degrees = latitude_longitude(xy, HERE)
    assert np.abs(local_east_north(degrees[:, 0], degrees[:, 1], HERE) - xy).max() < 1e-6


def test_sessions_of_satellite_fixes_share_one_zero(tmp_path):
    path = make(tmp_path / 'a.r2map', origin=HERE)
    here, there = (MapBuilder(FakeModel(), Config(), origin=one) for one in (HERE, THERE))
    here.append(path, frames(1))
    with pytest.raises(MapError, match='have another origin'):
        there.append(path, frames(1))
    with pytest.raises(MapError, match='have another origin'):
        here.append(make(tmp_path / 'b.r2map'), frames(1))


def test_places_without_stamps_are_not_exported_as_tum(tmp_path):
    unstamped = [replace(one, frame=replace(one.frame, stamp_ns=0)) for one in frames(3)]
    build_map(FakeModel(), tmp_path / 'a.r2map', unstamped, Config())
    with PlaceMap.open(tmp_path / 'a.r2map') as place_map, \
            pytest.raises(MapError, match='3 of 3 places with a pose have no stamp.*t_s'):
        export_tum(place_map, tmp_path / 'm.tum')
    assert not (tmp_path / 'm.tum').exists()


def test_reencoding_takes_the_source_where_it_is_there_else_the_thumbnail(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for i in (0, 2):
        (folder / str(i)).write_bytes(thumbnail_jpeg(picture(i), 64, quality=100))
    path = make(tmp_path / 'a.r2map', name='gone/photos')
    out = tmp_path / 'out.r2map'
    summary = reencode_map(FakeModel(fingerprint='new'), path, out, Config(), look_in=tmp_path)
    assert (summary.from_source, summary.from_thumbnail, summary.left_out) == (2, 2, 0)
    with PlaceMap.open(path) as old, PlaceMap.open(out) as new:
        assert new.header == replace(old.header, fingerprint='new')
        assert list(new.places().items()) == list(old.places().items())
        assert new.thumbnail(1) == old.thumbnail(1)
        similar = (new.descriptors()[1] * old.descriptors()[1]).sum(axis=1)
        assert session_counts(new) == {'photos': 4}
    assert similar.min() > 0.98


def test_a_plan_is_drawn_of_every_session(tmp_path):
    path = make(tmp_path / 'a.r2map')
    MapBuilder(FakeModel(), Config()).append(path, frames(2, first=9))
    with PlaceMap.open(path) as place_map:
        assert plot_map(place_map, tmp_path / 'plan.svg', 'a') == 6
    drawn = (tmp_path / 'plan.svg').read_text()
    assert '<!-- lap (4) -->' in drawn and '<!-- session (2) -->' in drawn
