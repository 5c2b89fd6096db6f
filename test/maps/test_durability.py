# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a map survives: kill -9, a full disk, flipped bits, a cut end."""

import json
import random
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from samples import HEADER, keyframe

from r2former_ros.config import RetrievalConfig
from r2former_ros.errors import MapError
from r2former_ros.mapping.repair import repair_map
from r2former_ros.maps.index import PlaceIndex
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.sessions import sessions_of

COMMON = """
import itertools, json, os, random, resource, signal, sys, time
path, here = sys.argv[1:]
sys.path.insert(0, here)
from samples import keyframe
from r2former_ros import PlaceMap
from r2former_ros.errors import MapError
frames = [keyframe(seed, count=300) for seed in range(20)]
"""
KILLED = COMMON + """
def add_until_killed(acknowledged):
    place_map = PlaceMap.open(path, writable=True)
    for frame in itertools.cycle(frames):
        os.write(acknowledged, b'%d\\n' % place_map.add(frame))

chance, ids = random.Random(5), set(range(1, 41))
for attempt in range(50):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        add_until_killed(writing)
    os.close(writing)
    with open(reading) as lines:
        if attempt % 2:  # else killed while it opens the map, or soon after
            ids.add(int(lines.readline()))
        time.sleep(chance.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        ids |= {int(line) for line in lines}
    with PlaceMap.open(path) as place_map:
        kept = set(place_map.places())
    assert ids <= kept, f'kill {attempt}: lost {ids - kept}'
    assert len(kept - ids) <= attempt + 1
print(json.dumps(sorted(ids)))
"""
FULL = COMMON + """
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
ids = []
try:
    with PlaceMap.open(path, writable=True) as place_map:
        for frame in itertools.cycle(frames):
            ids.append(place_map.add(frame))
except MapError as error:
    print(json.dumps([ids, str(error)]))
"""


def run(script, path):
    """Run a script on a map in a process without torch; return what it printed."""
    here = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, '-c', script, str(path), here], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def site(tmp_path):
    """A map with 40 places."""
    with PlaceMap.create(tmp_path / 'site.r2map', HEADER) as place_map:
        place_map.add_all(keyframe(seed, count=60) for seed in range(40))
    return tmp_path / 'site.r2map'


def test_a_writer_killed_at_50_instants_loses_no_acknowledged_place(site):
    acknowledged = run(KILLED, site)
    assert len(acknowledged) >= 40 + 25
    with PlaceMap.open(site, writable=True) as place_map:  # nobody else holds the lock
        assert list(place_map.problems()) == []
        places = place_map.places()
        assert set(acknowledged) <= set(places)
        index = PlaceIndex.of_map(place_map, places, RetrievalConfig(index='hnsw'))
        wanted = place_map.features([acknowledged[-1]])[0][0]
        assert index.search(wanted, 1)[0].similarity == pytest.approx(1, abs=1e-5)
    assert not Path(f'{site}-wal').exists()


def test_a_full_disk_is_one_clear_error_and_no_damage(site):
    acknowledged, message = run(FULL, site)
    assert 'cannot be written' in message
    assert 'is the disk full? Places added before are safe' in message
    assert len(acknowledged) > 0
    with PlaceMap.open(site, writable=True) as place_map:
        assert list(place_map.problems()) == []
        assert list(place_map.places()) == [*range(1, 41), *acknowledged]
        assert place_map.add(keyframe(0)) == len(acknowledged) + 41


def contents(path):
    """Read all of a map as a program would."""
    with PlaceMap.open(path) as place_map:
        places = place_map.places()
        index = PlaceIndex.of_map(place_map, places, RetrievalConfig())
        found = index.search(keyframe(3).descriptor, 40)
        rows = []
        for place_id in places:
            place = places[place_id]
            (descriptor,), (local,) = place_map.features([place_id])
            pose = None if place.map_T_camera is None else place.map_T_camera.tolist()
            rows.append((place_id, place.stamp_ns, place.source, pose, descriptor.tobytes(),
                         local.descriptors.tobytes(), local.xy.tobytes(),
                         place_map.thumbnail(place_id)))
        return place_map.header, found, rows


def test_whatever_bit_flips_a_map_is_read_right_or_refused(site):
    """200 bits anywhere in the file: never another map than the one that was written."""
    whole, wanted = site.read_bytes(), contents(site)
    chance, refused = random.Random(3), 0
    for _ in range(200):
        position = chance.randrange(len(whole))
        flipped = whole[position] ^ 1 << chance.randrange(8)
        site.write_bytes(whole[:position] + bytes([flipped]) + whole[position + 1 :])
        try:
            assert contents(site) == wanted, f'byte {position} became {flipped}'
        except MapError:
            refused += 1
    assert refused > 50


def test_repair_keeps_all_but_what_is_damaged(site, tmp_path):
    connection = sqlite3.connect(site)
    connection.execute('UPDATE places SET x = x + 1 WHERE id = 4')
    connection.execute("UPDATE features SET local = X'00' WHERE place_id = 7")
    connection.execute('DELETE FROM descriptors WHERE place_id = 9')
    connection.execute("UPDATE thumbnails SET jpeg = X'00' WHERE place_id = 11")
    for table in ('places', 'descriptors', 'features', 'thumbnails'):  # taken out on purpose
        column = 'id' if table == 'places' else 'place_id'
        connection.execute(f'DELETE FROM {table} WHERE {column} = 20')
    connection.commit()
    connection.close()
    with PlaceMap.open(site) as place_map:
        assert len(list(place_map.problems())) == 4
    with PlaceMap.open(site, writable=True) as place_map:
        place_map.write_note('sessions', [{'name': 'spring', 'first_place_id': 1}])
    repair = repair_map(site, tmp_path / 'out.r2map')
    assert repair.lost == (7, 9) and repair.poses_lost == (4,)
    assert repair.thumbnails_lost == (11,) and repair.kept == 37
    assert repair.end_known and not repair.complete
    with PlaceMap.open(tmp_path / 'out.r2map') as fresh, PlaceMap.open(site) as damaged:
        assert list(fresh.problems()) == []
        assert list(fresh.places()) == [one for one in range(1, 41) if one not in (7, 9, 20)]
        assert fresh.places()[4].map_T_camera is None
        assert fresh.places()[5].map_T_camera is not None
        assert fresh.features([40])[1][0].xy.tolist() == damaged.features([40])[1][0].xy.tolist()
        assert [one.name for one in sessions_of(fresh)] == ['spring']
        assert fresh.thumbnail(11) == b'' and fresh.thumbnail(12) == keyframe(0).thumbnail
    with pytest.raises(MapError, match='out.r2map: exists already'):
        repair_map(site, tmp_path / 'out.r2map')


def change_meta(site, *statements):
    """Damage rows of meta."""
    connection = sqlite3.connect(site)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize('statement', [
    "UPDATE meta SET value = '[3]' WHERE key = 'note.spring'",
    "UPDATE meta SET key = 'note.sprinh' WHERE key = 'note.spring'",
    "UPDATE meta SET value = CAST(X'FF22' AS TEXT) WHERE key = 'note.spring'",
    "UPDATE meta SET value = '\"0.0.0\"' WHERE key = 'package_version'",
])
def test_a_damaged_note_is_told_and_all_else_is_saved(site, tmp_path, statement):
    with PlaceMap.open(site, writable=True) as place_map:
        place_map.write_note('spring', [1, 2])
        place_map.write_note('autumn', [7])
    change_meta(site, statement)
    with pytest.raises(MapError, match='damaged.*r2former map check'):
        PlaceMap.open(site)
    repair = repair_map(site, tmp_path / 'out.r2map')
    hit = 'package_version' not in statement
    assert repair.kept == 40 and repair.header_given == () and repair.complete is not hit
    assert [key[:10] for key in repair.notes_lost] == ['note.sprin'] * hit
    with PlaceMap.open(tmp_path / 'out.r2map') as fresh:
        assert list(fresh.problems()) == [] and fresh.header == HEADER
        assert fresh.note('autumn') == [7]
        assert fresh.note('spring') == (None if hit else [1, 2])


def test_a_damaged_header_is_taken_from_what_the_map_was_built_with(site, tmp_path):
    out = tmp_path / 'out.r2map'
    change_meta(site, "DELETE FROM meta WHERE key = 'map_id'",
                "UPDATE meta SET value = '\"0\"' WHERE key = 'fingerprint'",
                "UPDATE meta SET checksum = 0 WHERE key = 'frame_id'")
    with pytest.raises(MapError, match="its header is damaged.*--repair"):
        PlaceMap.open(site)
    with pytest.raises(MapError, match='has lost fingerprint, frame_id; name the weights'):
        repair_map(site, out)
    with pytest.raises(MapError, match='was built with local_dim 16, not 9'):
        repair_map(site, out, built_with=lambda: replace(HEADER, local_dim=9))
    with pytest.raises(MapError, match='was built with weights tiny, test, not small, test'):
        repair_map(site, out, built_with=lambda: replace(HEADER, weights='small, test'))
    assert not out.exists()
    given = replace(HEADER, frame_id='hall', local_dtype='not used: intact')
    repair = repair_map(site, out, built_with=lambda: given)
    assert repair.header_given == ('fingerprint', 'frame_id') and repair.complete
    with PlaceMap.open(out) as fresh:
        assert fresh.header == replace(HEADER, frame_id='hall') and len(fresh) == 40


def test_places_outlive_a_header_of_which_nothing_can_be_read(site, tmp_path):
    connection = sqlite3.connect(site)
    page, = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'meta'").fetchone()
    connection.close()
    content = bytearray(site.read_bytes())
    content[(page - 1) * 8192 : page * 8192] = bytes(8192)
    site.write_bytes(content)
    with pytest.raises(MapError, match='is damaged'):
        PlaceMap.open(site)
    repair = repair_map(site, tmp_path / 'out.r2map', built_with=lambda: HEADER)
    assert repair.kept == 40 and not repair.complete
    assert 'cannot be read' in repair.notes_lost[0]
    with PlaceMap.open(tmp_path / 'out.r2map') as fresh:
        assert fresh.header == HEADER and list(fresh.problems()) == []


def test_repair_takes_what_a_truncated_map_still_has(site, tmp_path):
    with PlaceMap.open(site, writable=True) as place_map:
        for seed in range(100):
            place_map.add(keyframe(seed, count=300))
    whole = site.read_bytes()
    site.write_bytes(whole[: len(whole) * 2 // 3])
    repair = repair_map(site, tmp_path / 'out.r2map')
    with PlaceMap.open(tmp_path / 'out.r2map') as fresh:
        assert list(fresh.problems()) == []
        assert len(fresh) == repair.kept
        assert set(range(1, 41)) <= set(fresh.places())
    assert 40 < repair.kept < 140 and not repair.complete


def test_nothing_is_recovered_from_a_file_without_a_header(tmp_path):
    foreign = tmp_path / 'x.r2map'
    foreign.write_bytes(b'hello, world' * 5000)
    with pytest.raises(MapError, match='is damaged, or no map file'):
        repair_map(foreign, tmp_path / 'out.r2map')
    assert not (tmp_path / 'out.r2map').exists()


@pytest.mark.parametrize('share', [0.1, 0.18, 0.3])
def test_what_a_file_still_holds_is_saved_though_the_poses_were_cut_off(tmp_path, share):
    """The rows of places are written anew once they fill a page, far behind the first features."""
    whole, cut, out = (tmp_path / f'{name}.r2map' for name in ('whole', 'cut', 'out'))
    random_bytes = np.random.default_rng(0).bytes
    with PlaceMap.create(whole, HEADER) as place_map:
        place_map.add_all(
            replace(keyframe(i, 300), source='s' * 100, thumbnail=random_bytes(9000))
            for i in range(120))
    content = whole.read_bytes()
    cut.write_bytes(content[: int(share * len(content))])
    repair = repair_map(cut, out)
    roots = 3  # the first pages, as large as three places, hold the roots of the tables
    assert repair.kept == len(repair.poses_lost) >= 0.8 * (share * 120 - roots)
    assert not repair.complete
    with PlaceMap.open(out) as fresh, PlaceMap.open(whole) as wanted:
        assert list(fresh.problems()) == [] and len(fresh) == repair.kept
        for place_id in list(fresh.places())[:5]:
            saved, written = (one.features([place_id]) for one in (fresh, wanted))
            assert np.array_equal(saved[0], written[0])
            assert np.array_equal(saved[1][0].descriptors, written[1][0].descriptors)
            assert fresh.thumbnail(place_id) in (b'', wanted.thumbnail(place_id))
            assert fresh.places()[place_id].map_T_camera is None
