# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tools of ``r2former map`` as a user meets them."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from fakes import picture

from r2former_ros.cli import main
from r2former_ros.cli.map.prune import listed_ids
from r2former_ros.cli.options import compact_ids
from r2former_ros.errors import UsageError
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.sessions import session_counts
from r2former_ros.records import Frame
from r2former_ros.sources.bag_writer import BagWriter

SMALL = ['--weights', 'tiny', '--device', 'cpu', '--set', 'model.image_height=64',
         '--set', 'model.image_width=96']


@pytest.fixture
def dataset(tmp_path):
    """A ground truth with three database images in a folder beside it."""
    (tmp_path / 'photos').mkdir()
    names = [f'photos/{i}.png' for i in range(3)]
    for i, name in enumerate(names):
        cv2.imwrite(str(tmp_path / name), picture(i, 96, 128)[..., ::-1])
    content = {'queries': names[:1], 'database': names, 'positives': [[0]]}
    (tmp_path / 'gt.json').write_text(json.dumps(content))
    return tmp_path / 'gt.json'


def test_a_dataset_becomes_a_map_and_the_tools_work_on_it(dataset, capsys, monkeypatch):
    monkeypatch.chdir(dataset.parent)
    assert main(['map', 'build', 'm.r2map', '--dataset', 'gt.json', *SMALL]) == 0
    assert main(['map', 'build', 'm.r2map', '--images', 'photos', '--append', *SMALL]) == 0
    assert main(['map', 'build', 'm.r2map', '--images', 'photos', '--resume', *SMALL]) == 0
    assert '0 places added, 3 already there' in capsys.readouterr().out
    assert main(['map', 'info', 'm.r2map']) == 0
    printed = capsys.readouterr().out
    assert 'gt.json (3), photos (3)' in printed
    assert 'no (r2former map calibrate)' in printed
    assert main(['map', 'prune', 'm.r2map', 'p.r2map', '--session', 'photos', '--ids', '2']) == 0
    printed = capsys.readouterr().out
    assert 'dropped, listed: 1 (2)' in printed and 'dropped, session: 3 (4-6)' in printed
    assert main(['map', 'reencode', 'm.r2map', 'r.r2map', *SMALL]) == 0
    assert '6 places from source images, 0 from thumbnails' in capsys.readouterr().out
    assert main(['map', 'merge', 'j.r2map', 'p.r2map', 'r.r2map']) == 0
    assert 'j.r2map: 8 places, not calibrated' in capsys.readouterr().out
    with PlaceMap.open('j.r2map') as place_map:
        assert session_counts(place_map) == {'gt.json': 2, 'gt.json-2': 3, 'photos': 3}
        assert place_map.places()[2].source == 'photos/2.png'


def test_a_map_of_satellite_fixes_knows_where_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, first in (('a', 0), ('b', 5)):
        with BagWriter(tmp_path / name) as writer:
            for i in range(first, first + 3):
                writer.image('/camera', Frame(10**9 * (i + 1), picture(i, 96, 128)))
                writer.nav_sat_fix('/fix', 10**9 * (i + 1), latitude_deg=47 + 1e-4 * i,
                                   longitude_deg=8.0)
    assert main(['map', 'build', 'm.r2map', '--bag', 'a', '--pose-topic', '/fix', *SMALL]) == 0
    assert main(['map', 'build', 'm.r2map', '--bag', 'b', '--pose-topic', '/fix', '--append',
                 *SMALL]) == 0
    assert main(['map', 'info', 'm.r2map']) == 0
    assert 'zero at 47.0000000 8.0000000' in capsys.readouterr().out
    assert main(['map', 'export', 'm.r2map', 'm.geojson', '--format', 'geojson']) == 0
    points = json.loads(Path('m.geojson').read_text())['features']
    latitudes = [point['geometry']['coordinates'][1] for point in points]
    assert latitudes == pytest.approx([47 + 1e-4 * i for i in (0, 1, 2, 5, 6, 7)], abs=1e-8)
    assert main(['map', 'reencode', 'm.r2map', 'r.r2map', *SMALL]) == 0
    assert '6 places from source images' in capsys.readouterr().out


def test_a_build_that_was_killed_goes_on(tmp_path):
    """Kill -9 a build once it has stored a place, then give the same command again."""
    for i in range(40):
        cv2.imwrite(str(tmp_path / f'{i:02d}.png'), picture(i, 96, 128)[..., ::-1])
    path = tmp_path / 'm.r2map'
    code = ('import sys; from r2former_ros import PlaceMap; from r2former_ros.cli import main\n'
            'add = PlaceMap.add\n'
            'PlaceMap.add = lambda *given: print(add(*given), flush=True)\n'
            'sys.exit(main(sys.argv[1:]))')
    arguments = ['map', 'build', str(path), '--images', str(tmp_path), '--resume', *SMALL]
    with subprocess.Popen([sys.executable, '-c', code, *arguments], stdout=subprocess.PIPE,
                          text=True, cwd=Path(__file__).parents[2]) as process:
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    with PlaceMap.open(path) as place_map:
        assert 3 <= len(place_map) < 40
    assert main(arguments) == 0
    with PlaceMap.open(path) as place_map:
        names = [place.source for place in place_map.places().values()]
        assert names == [f'{i:02d}.png' for i in range(40)]
        assert list(place_map.problems()) == []


@pytest.mark.parametrize(('arguments', 'match'), [
    (['export', 'm.r2map', 'x', '--format', 'tum'], 'none of 3 places has a pose'),
    (['plot', 'm.r2map', 'x.png'], 'none of 3 places has a pose'),
    (['calibrate', 'm.r2map', *SMALL], 'only 0 places have others further than 50 m'),
])
def test_a_mistake_gives_one_line(dataset, arguments, match, capsys, monkeypatch):
    monkeypatch.chdir(dataset.parent)
    assert main(['map', 'build', 'm.r2map', '--dataset', 'gt.json', *SMALL]) == 0
    capsys.readouterr()
    assert main(['map', *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('r2former:')]
    assert len(lines) == 1 and match in lines[0]
    assert not Path('x.r2map').exists()


def test_lists_of_ids_are_read_and_written_alike():
    assert listed_ids('3,10-12') == {3, 10, 11, 12}
    assert compact_ids([3, 10, 11, 12]) == '3, 10-12'
    for wrong, match in (('1,x', "'x' is not an id or a range"), ('5-1', 'write 1-5'),
                         ('', 'is not an id'), ('3-', 'is not an id'),
                         ('1-999999999999', 'names more than')):
        with pytest.raises(UsageError, match=match):
            listed_ids(wrong)
