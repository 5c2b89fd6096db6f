# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Mistakes that can be seen at once are reported before a model is loaded."""

import cv2
import pytest
from fakes import FakeModel, picture

from r2former_ros.cli import main
from r2former_ros.config import Config
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.build import build_map
from r2former_ros.records import Frame, PosedFrame, StampedPose
from r2former_ros.sources.bag_writer import BagWriter


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a bag, pictures, a map and a few files; loading a model fails the test."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'pics').mkdir()
    cv2.imwrite('pics/0.png', picture(0, 96, 128))
    frames = [PosedFrame(Frame(1, picture(1)), pose_from_yaw(0, 0, 0), 'a')]
    build_map(FakeModel(), 'm.r2map', frames, Config())
    with BagWriter('bag') as bag:
        bag.image('/camera', Frame(1, picture(0, 96, 128)))
        bag.odometry('/odom', StampedPose(1, pose_from_yaw(0, 0, 0)), frame_id='map',
                     child_frame_id='camera')
    (tmp_path / 'file').write_text('x')
    (tmp_path / 'poses.csv').write_text('file,x_m,y_m,yaw_rad\n0.png,0,0,0\n')
    (tmp_path / 'gt.json').write_text(
        '{"queries": ["pics/0.png"], "database": ["pics/0.png"], "positives": [[0]]}')

    def load(*_, **__):
        pytest.fail('a model was loaded')

    for name in LOADERS:
        monkeypatch.setattr(name, load)
    return tmp_path


LOADERS = ('r2former_ros.model.loading.load_configured',
           'r2former_ros.recognizer.load_configured', 'r2former_ros.model.load_model',
           'r2former_ros.model.official.read_official')
BUILD = ['map', 'build', 'new.r2map']
BAG = ['--bag', 'bag', '--pose-topic', '/odom']


@pytest.mark.parametrize(('arguments', 'match'), [
    ([*BUILD, '--images', 'pics', '--trajectory', 't.tum'], '--trajectory belongs to --bag'),
    ([*BUILD, '--images', 'pics', '--pose-topic', '/odom'], '--pose-topic belongs to --bag'),
    ([*BUILD, '--images', 'pics', '--image-topic', '/c'], '--image-topic belongs to --bag'),
    ([*BUILD, '--dataset', 'gt.json', '--pose-topic', '/odom'], '--pose-topic belongs to --bag'),
    ([*BUILD, '--dataset', 'gt.json', '--poses', 'poses.csv'], '--poses belongs to --images'),
    ([*BUILD, *BAG, '--poses', 'poses.csv'], '--poses belongs to --images'),
    ([*BUILD, *BAG, '--trajectory', 'file'], 'give --pose-topic or --trajectory, not both'),
    ([*BUILD, '--images', 'pics', '--poses', 'no.csv'], 'no.csv: no such file'),
    ([*BUILD, '--bag', 'no_bag'], 'no_bag: no such file or folder'),
    ([*BUILD, '--bag', 'bag', '--trajectory', 'no.tum'], 'no.tum: no such file'),
    (['map', 'build', 'm.r2map', '--images', 'pics'], 'm.r2map: exists already'),
    (['map', 'build', 'no/m.r2map', '--images', 'pics'], 'there is no folder no'),
    (['map', 'build', 'new.r2map', '--images', 'pics', '--append'], 'new.r2map: no such map'),
    (['map', 'merge', 'new.r2map', 'm.r2map'], 'give at least two maps'),
    (['map', 'merge', 'new.r2map', 'm.r2map', './m.r2map'], 'is named twice'),
    (['map', 'merge', 'new.r2map', 'm.r2map', 'no.r2map'], 'no.r2map: no such map'),
    (['map', 'prune', 'm.r2map', 'new.r2map'], 'to say what to drop'),
    (['map', 'prune', 'm.r2map', 'new.r2map', '--ids', '5-1'], "'5-1' runs backwards"),
    (['map', 'prune', 'm.r2map', 'new.r2map', '--ids', '1', '--angle', '5'],
     '--angle belongs to --distance'),
    (['map', 'prune', 'm.r2map', 'new.r2map', '--distance', 'nan'], 'must be above 0'),
    (['map', 'reencode', 'm.r2map', 'm.r2map'], 'm.r2map: exists already'),
    (['map', 'reencode', 'm.r2map', 'new.r2map', '--look-in', 'no'], 'no: no such folder'),
    (['map', 'check', 'm.r2map', '--repair', 'm.r2map'], 'm.r2map: exists already'),
    (['map', 'export', 'm.r2map', 'no/x.tum', '--format', 'tum'], 'there is no folder no'),
    (['map', 'plot', 'm.r2map', 'no/x.png'], 'there is no folder no'),
    (['map', 'calibrate', 'no.r2map'], 'no.r2map: no such map'),
    (['map', 'calibrate', 'm.r2map', '--outside', 'no'], 'no: no such folder'),
    (['map', 'calibrate', 'm.r2map', '--near', '60'], 'expected 0 < near <= radius'),
    (['map', 'calibrate', 'm.r2map', '--false-accept-rate', '1'], 'must be above 0 and below 1'),
    (['map', 'info', 'm.r2map', '--estimate', '0'], '--estimate 0: must be at least 1'),
    (['encode', 'pics/0.png', '--out', 'no/f.npz'], 'there is no folder no'),
    (['encode', 'pics/1.png', '--out', 'f.npz'], 'pics/1.png: cannot be read'),
    (['localize', 'pics/1.png', '--map', 'm.r2map'], 'pics/1.png: cannot be read'),
    (['localize', 'pics/0.png', '--map', 'no.r2map'], 'no.r2map: no such map'),
    (['evaluate', *BAG, '--map', 'no.r2map'], 'no.r2map: no such map'),
    (['evaluate', *BAG, '--map', 'm.r2map', '--split', 'val'], '--split belongs to --dataset'),
    (['evaluate', *BAG, '--map', 'm.r2map', '--exclude-s', '3'], '--exclude-s belongs to --self'),
    (['evaluate', *BAG, '--map', 'm.r2map', '--rate', '3'], '--rate belongs to --live'),
    (['evaluate', *BAG, '--map', 'm.r2map', '--negatives', 'no'], 'no: no such file or folder'),
    (['evaluate', *BAG, '--map', 'm.r2map', '--out', 'file'], 'file: cannot be written'),
    (['evaluate', *BAG, '--map', 'm.r2map', '--json', 'no/x.json'], 'there is no folder no'),
    (['evaluate', *BAG, '--map', 'm.r2map', '--cache', 'file'], 'file: cannot be written'),
    (['evaluate', *BAG, '--map', 'm.r2map', '--trajectory', 'file'], 'not both'),
    (['evaluate', *BAG, '--map', 'm.r2map', '--live', '--cache', 'c'], '--cache does not go'),
    (['evaluate', *BAG, '--map', 'm.r2map', '--methods', 'sift'], 'sift: no such method'),
    (['evaluate', '--dataset', 'gt.json', '--map', 'm.r2map'], '--map belongs to --bag'),
    (['evaluate', '--dataset', 'gt.json', '--pose-topic', '/o'], '--pose-topic belongs to --bag'),
    (['evaluate', '--dataset', 'gt.json', '--image-topic', '/o'],
     '--image-topic belongs to --bag or --negatives'),
    (['evaluate', '--dataset', 'gt.json', '--split', 'val'], 'gt.json has no splits'),
    (['evaluate', '--dataset', 'gt.json', '--positive-radius-m', '5'], 'so no radius applies'),
    (['evaluate', '--bag', 'bag', '--map', 'm.r2map', '--pose-topic', '/no'], '/no'),
    (['weights', 'convert', 'file', 'no/w.safetensors'], 'there is no folder no'),
    (['weights', 'convert', 'file', 'file'], 'file: exists already'),
    (['weights', 'convert', 'file', 'w.safetensors', '--size', 'big'], 'expected HxW'),
    (['weights', 'export', 'tiny', 'file'], 'file: cannot be written'),
    (['train', 'joint', '--images', 'pics', '--out', 'x', '--hold-out', '.2'],
     '--hold-out belongs to --bag'),
    (['train', 'joint', '--bag', 'bag', '--out', 'x'], 'needs --pose-topic or --trajectory'),
    (['train', 'joint', '--dataset', 'no.json', '--out', 'x'], 'no.json: no such file'),
    (['train', 'bootstrap', '--dataset', 'gt.json', '--out', 'x'], 'bootstrap needs --images'),
    (['train', 'bootstrap', '--images', 'pics', '--out', 'x', '--recipe', 'site'],
     '--recipe does not go with bootstrap'),
    (['train', 'joint', *BAG, '--hold-out', '.2', '--validation', 'gt.json', '--out', 'x'],
     'give --hold-out or --validation, not both'),
    (['train', 'joint', *BAG, '--hold-out', '1', '--out', 'x'], 'at least 0 and below 1'),
    (['bench', '--repeats', '0'], '--repeats 0: must be at least 1'),
    (['localize', 'pics/0.png', '--map', 'm.r2map', '--set', '=5'], '--set =5: expected NAME'),
])
def test_a_mistake_is_told_before_a_model_is_loaded(arguments, match, here, capsys):
    before = sorted(path.name for path in here.iterdir())
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert match in printed.err and len(printed.err.splitlines()) == 1 and not printed.out
    assert sorted(path.name for path in here.iterdir()) == before


@pytest.mark.parametrize('arguments', [
    ['localize', '', '--map', 'm.r2map'], ['localize', 'x.png', '--map', ''],
    ['map', 'info', ''], ['map', 'build', 'm', '--bag', ''],
])
def test_an_empty_value_is_named(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert 'is empty' in capsys.readouterr().err


def test_a_long_value_is_not_echoed_whole(capsys):
    assert main(['localize', 'x.png', '--map', 'A' * 5000]) == 2
    printed = capsys.readouterr().err
    assert len(printed) < 600 and 'x.png: cannot be read' in printed
    assert main(['map', 'info', 'A' * 5000]) == 2
    printed = capsys.readouterr().err
    assert len(printed) < 600 and '(50' in printed


def test_one_bad_picture_does_not_stop_the_others(here, monkeypatch, capsys):
    for name in LOADERS:
        monkeypatch.setattr(name, lambda *_, **__: FakeModel())
    (here / 'bad.png').write_bytes(b'no picture')
    assert main(['encode', 'bad.png', 'pics/0.png', '--out', 'f.npz']) == 0
    printed = capsys.readouterr()
    assert '1 images' in printed.out and '1 left out' in printed.out and 'bad.png' in printed.err
    assert main(['localize', 'bad.png', 'pics/0.png', '--map', 'm.r2map', '--json']) == 0
    bad, good = capsys.readouterr().out.splitlines()
    assert '"error"' in bad and '"hypotheses"' in good
    assert main(['encode', 'bad.png', '--out', 'g.npz']) == 2
    assert 'none of 1 pictures can be used' in capsys.readouterr().err
