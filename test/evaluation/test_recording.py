# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings for the Rerun viewer, read back with its SDK."""

import json
import re
from pathlib import Path

import cv2
import pytest
from fakes import FakeModel, picture

from r2former_ros.cli import main
from r2former_ros.config import Config
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.build import build_map
from r2former_ros.records import Frame, PosedFrame

LAYOUT = Path(__file__).parents[2] / 'config' / 'foxglove.json'


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A map of three places, a picture of each, and a data set of them."""
    for i in range(3):
        cv2.imwrite(str(tmp_path / f'{i}.png'), picture(i, 96, 128)[..., ::-1])
    frames = [PosedFrame(Frame(i + 1, picture(i, 96, 128)), pose_from_yaw(10.0 * i, 0, 0), f'p{i}')
              for i in range(3)]
    build_map(FakeModel(), tmp_path / 'm.r2map', frames, Config())
    names = [f'{i}.png' for i in range(3)]
    (tmp_path / 'gt.json').write_text(json.dumps(
        {'queries': names, 'database': names, 'positives': [[0], [1], [2]]}))
    for name in ('r2former_ros.recognizer', 'r2former_ros.model.loading'):
        monkeypatch.setattr(f'{name}.load_configured', lambda *_: FakeModel())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recorded(path):
    """Return the paths of what a recording holds."""
    content = path.read_bytes()
    assert content[:3] == b'RRF'
    return {name for name in ('query', 'matches', 'score', 'state', 'plan/places', 'plan/query')
            if re.search(rb'/' + name.encode() + rb'\b', content)}


def test_localizing_and_evaluating_are_recorded(site, capsys):
    pytest.importorskip('rerun')
    assert main(['localize', '0.png', '2.png', '--map', 'm.r2map', '--rerun', 'l.rrd']) == 0
    assert {'query', 'matches', 'score', 'plan/places', 'plan/query'} <= recorded(site / 'l.rrd')
    assert main(['evaluate', '--dataset', 'gt.json', '--rerun', 'e.rrd']) == 0
    assert 'recording: e.rrd' in capsys.readouterr().out
    assert {'query', 'score', 'state'} <= recorded(site / 'e.rrd')


def test_without_the_viewer_the_option_names_the_package(site, monkeypatch, capsys):
    monkeypatch.setattr('r2former_ros.cli.checks.find_spec', lambda _: None)
    assert main(['localize', '0.png', '--map', 'm.r2map', '--rerun', 'l.rrd']) == 2
    assert '--rerun needs rerun-sdk; pip install rerun-sdk' in capsys.readouterr().err


def test_the_foxglove_layout_is_whole_and_names_topics_of_the_node():
    pytest.importorskip('rclpy')
    from r2former_ros.ros.interface import LOCALIZER, POSE_GRAPH

    layout = json.loads(LAYOUT.read_text())

    def panels(part):
        return [part] if isinstance(part, str) else panels(part['first']) + panels(part['second'])

    assert sorted(panels(layout['layout'])) == sorted(layout['configById'])
    published = {one.name.replace('~', f'/{node}') for node, interface in
                 (('localizer', LOCALIZER), ('pose_graph', POSE_GRAPH))
                 for one in interface.published}
    named = set(re.findall(r'"(/[a-z_]+(?:/[a-z_]+)?)', LAYOUT.read_text()))
    assert len(named) > 5 and named <= published
