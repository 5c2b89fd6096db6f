# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The lines in docs/troubleshooting.md, against what is really said."""

import ast
import re
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import recordings
from samples import HEADER, keyframe

from r2former_ros import PlaceMap
from r2former_ros.config import Config
from r2former_ros.config.sections import with_values
from r2former_ros.maps.calibration import calibration_for
from r2former_ros.sources.bags import Bag
from r2former_ros.sources.encodings import decode_image
from r2former_ros.sources.frames import frames_of_folder
from r2former_ros.sources.pictures import encode_jpeg, read_image
from r2former_ros.sources.sixteen_bit import _say_once, to_8_bit
from r2former_ros.sources.trajectory_files import read_trajectory

ROOT = Path(__file__).parents[1]
LINES = re.findall(r'^`([^`]+)`$', (ROOT / 'docs' / 'troubleshooting.md').read_text(), re.M)
PICTURE = np.full((16, 16, 3), 90, np.uint8)


# What is said, by a distinctive part of its line. Each is given a folder and says its line, as an
# error or as a warning.


def no_map(folder):
    PlaceMap.open(folder / 'site.r2map')


def not_a_map(folder):
    (folder / 'hostname').write_text('robot')
    PlaceMap.open(folder / 'hostname')


def site(folder):
    """Make a map of three places."""
    with PlaceMap.create(folder / 'site.r2map', HEADER) as place_map:
        for seed in range(3):
            place_map.add(keyframe(seed))
    return folder / 'site.r2map'


def other_weights(folder):
    with PlaceMap.open(site(folder)) as place_map:
        place_map.require_weights('113607c5f1e43a12', 'untrained weights')


def two_writers(folder):
    path = site(folder)
    with PlaceMap.open(path, writable=True):
        PlaceMap.open(path, writable=True)


def damaged_place(folder):
    path = site(folder)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE places SET source = 'other' WHERE id = 3")
    connection.commit()
    connection.close()
    with PlaceMap.open(path) as place_map:
        list(place_map.places().values())


def not_calibrated(folder):
    with PlaceMap.open(site(folder)) as place_map:
        calibration_for(place_map, with_values(Config(), {'decision.false_accept_rate': 0.01}))


def no_weights(folder):
    from r2former_ros.model import load_model
    load_model('none.safetensors')


def no_device(folder):
    from r2former_ros.model.checkpoint import resolve_device
    resolve_device('cuda')


def out_of_range(folder):
    with_values(Config(), {'rerank.candidates': -3})


def no_folder_for_tum(folder):
    pytest.importorskip('rclpy')
    from r2former_ros.ros.pose_graph_node import TumFile
    TumFile(str(folder / 'nowhere' / 'path.tum'))


def no_metadata(folder):
    shutil.copytree(recordings.split(folder, ['drive_0.db3', 'drive_1.db3']), folder / 'drive')
    Bag(folder / 'drive').__enter__()


def two_bags(folder):
    shutil.copytree(recordings.split(folder, ['monday_0.db3', 'tuesday_0.db3']), folder / 'drive')
    Bag(folder / 'drive').__enter__()


def cut_off(folder):
    path = recordings.drive(folder / 'drive_0', range(3), storage='mcap') / 'drive_0.mcap'
    path.write_bytes(path.read_bytes()[:-100])
    Bag(path).__enter__()


def other_counts(folder):
    path = recordings.drive(folder / 'drive', range(3))
    recordings.edit_metadata(path, lambda bag: bag.update(message_count=99))
    Bag(path).__enter__()


def set_back(folder):
    recordings.positions(recordings.write_messages(
        folder / 'drive', recordings.two_runs(recorder_too=False), 'mcap'))


def file_set_back(folder):
    (folder / 'slam.tum').write_text(
        '10 0 0 0 0 0 0 1\n11 1 0 0 0 0 0 1\n# reset\n3 9 0 0 0 0 0 1\n')
    read_trajectory(folder / 'slam.tum')


def no_fix(folder):
    items = [('/fix', time, recordings.fix(time, 48.0, 11.0, -2)) for time in (1, 2, 3)]
    with Bag(recordings.write_messages(folder / 'drive', items, 'mcap')) as bag:
        bag.trajectory('/fix')


def depth(folder):
    decode_image(SimpleNamespace(height=1, width=1, encoding='16UC1', step=2, is_bigendian=0,
                                 data=b'00'))


def few_bits(folder):
    _say_once.cache_clear()
    to_8_bit(np.arange(100, dtype=np.uint16))


def cut_picture(folder):
    (folder / '1.jpg').write_bytes(encode_jpeg(PICTURE)[:-20])
    read_image(folder / '1.jpg')


def large_picture(folder):
    (folder / 'pano.png').write_bytes(recordings.huge_png(40_000, 30_000))
    read_image(folder / 'pano.png')


def other_files(folder):
    pictures = folder / 'pictures'
    (pictures / 'day2').mkdir(parents=True)
    (pictures / 'a.heic').touch()
    for name in '12':
        cv2.imwrite(str(pictures / f'{name}.png'), PICTURE)
    list(frames_of_folder(pictures, None, print))


SAID_BY = {
    'no such map file': no_map, 'file is not a database': not_a_map,
    'was built with weights': other_weights, 'no such weights file': no_weights,
    'does not work on this machine': no_device, 'is outside [0': out_of_range,
    'pose_graph.tum_path': no_folder_for_tum, 'has no metadata.yaml, as if': no_metadata,
    'holds files of 2 bags': two_bags, 'mcap recover': cut_off, 'counts 99': other_counts,
    'time runs backwards 1 time,': set_back, 'time runs backwards by': file_set_back,
    'none of 3 messages': no_fix, '16UC1': depth, '16-bit images': few_bits,
    'the JPEG of': cut_picture, 'make it smaller': large_picture, 'passes over': other_files,
    'is not calibrated': not_calibrated, 'one writer at a time': two_writers,
    'place 3 is damaged': damaged_place,
}


def pattern(line):
    """Return what a line says, whatever folder, weights and size it is about."""
    parts = re.split(r'…|/(?:[\w.-]+/)+|\b[0-9a-f]{16}\b|(?<=JPEG of )\d+', line)
    return '.*'.join(map(re.escape, parts))


@pytest.mark.parametrize('part', SAID_BY)
def test_a_line_is_what_is_said(part, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    (line,) = [line for line in LINES if part in line]
    said = []
    try:
        SAID_BY[part](tmp_path)
    except Exception as error:
        said = [str(error)]
    assert any(re.fullmatch(pattern(line), one, re.S) for one in [*said, *caplog.messages]), \
        f'{line}\nis said as\n{[*said, *caplog.messages]}'


# The node's own lines are held against its source; its tests provoke them.


def templates():
    """Yield the constant parts of every text in the package, one list per text."""
    for path in sorted((ROOT / 'r2former_ros').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield [part.value for part in node.values if isinstance(part, ast.Constant)]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield [node.value]


@pytest.mark.parametrize('line', [
    line for line in LINES if not any(part in line for part in SAID_BY)])
def test_the_node_says_its_lines_so(line):
    covered = np.zeros(len(line), bool)
    for parts in templates():
        found = re.search('.*?'.join(map(re.escape, parts)), line) \
            if sum(map(len, parts)) >= 14 and all(part in line for part in parts) else None
        if found:
            covered[found.start():found.end()] = True
    rest = ''.join(' ' if known else letter for known, letter in zip(covered, line))
    words = [word for word in rest.split() if re.fullmatch(r'[a-z]{3,}', word)]
    assert covered.any() and not words, f'{line}: nothing in the package says {words}'
