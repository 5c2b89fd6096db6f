# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it."""

import json
import re

import cv2
import numpy as np
import pytest
import torch
from fakes import picture
from recipe import make_state_dict

from r2former_ros.cli import main
from r2former_ros.config import Config, to_yaml
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.records import Frame, StampedPose
from r2former_ros.sources.bag_writer import BagWriter

SMALL = ['--weights', 'tiny', '--device', 'cpu', '--set', 'model.image_height=64',
         '--set', 'model.image_width=96']


@pytest.fixture
def folder(tmp_path):
    """Four pictures and their poses."""
    images = tmp_path / 'images'
    images.mkdir()
    lines = ['file,x_m,y_m,yaw_rad']
    for i in range(4):
        cv2.imwrite(str(images / f'{i}.png'), picture(i, 96, 128)[..., ::-1])
        lines.append(f'{i}.png,{5 * i},0,0.5')
    (tmp_path / 'poses.csv').write_text('\n'.join(lines))
    return tmp_path


@pytest.fixture
def bag(tmp_path):
    """A bag with five images, one of them too small to use, and odometry."""
    with BagWriter(tmp_path / 'bag') as writer:
        for i in range(5):
            image = picture(i, 96, 128) if i != 2 else picture(i, 4, 4)
            writer.image('/camera', Frame(10**9 + i, image))
            writer.odometry('/odom', StampedPose(10**9 + i, pose_from_yaw(i, 0, 0)),
                            frame_id='map', child_frame_id='camera')
    return tmp_path / 'bag'


def test_a_map_from_a_folder_localizes_its_own_pictures(folder, capsys):
    site = str(folder / 'site.r2map')
    build = ['map', 'build', site, '--images', str(folder / 'images'),
             '--poses', str(folder / 'poses.csv'), *SMALL]
    assert main(build) == 0
    printed = capsys.readouterr()
    assert 'site.r2map: 4 places added' in printed.out
    assert '[untrained weights]' in printed.out
    assert main(['map', 'info', site]) == 0
    assert '4, 4 with a pose' in capsys.readouterr().out
    assert main(['map', 'check', site]) == 0
    assert '4 places, 0 problems' in capsys.readouterr().out
    assert main(['map', 'check', site, '--repair', str(folder / 'fresh.r2map')]) == 0
    assert 'fresh.r2map: 4 places kept' in capsys.readouterr().out
    assert main(['map', 'info', site, '--estimate', '1000', *SMALL]) == 0
    estimate = capsys.readouterr().out
    assert re.search(r'1000 places +\d+ MiB in the file, .*as in this map', estimate)
    query = str(folder / 'images' / '2.png')
    assert main(['localize', query, '--map', site, '--json', *SMALL]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said['trained_weights'] is False
    most_similar = max(said['hypotheses'], key=lambda one: one['similarity'])
    assert most_similar['place_id'] == 3 and most_similar['source'] == '2.png'
    assert most_similar['map_T_camera'][0][3] == 10.0
    assert main(['localize', query, '--map', site, *SMALL]) == 0
    assert '[untrained weights]' in capsys.readouterr().out


def test_a_map_from_a_bag_leaves_bad_frames_out_and_appends(bag, capsys):
    site = str(bag.parent / 'site.r2map')
    build = ['map', 'build', site, '--bag', str(bag), '--pose-topic', '/odom', *SMALL]
    assert main(build) == 0
    assert '4 places added, 0 frames between keyframes, 1 left out' in capsys.readouterr().out
    assert main(build) == 2
    assert 'exists already' in capsys.readouterr().err
    assert main([*build, '--append']) == 0
    with PlaceMap.open(site) as place_map:
        places = place_map.places()
    assert [place.map_T_camera[0, 3] for place in places.values()] == [0, 1, 3, 4] * 2


def test_encode_writes_the_documented_arrays(folder, capsys):
    out = folder / 'f.npz'
    images = [str(folder / 'images' / f'{i}.png') for i in (0, 1)]
    assert main(['encode', *images, '--out', str(out), *SMALL]) == 0
    arrays = np.load(out)
    assert arrays['names'].tolist() == images
    assert arrays['descriptor'].shape == (2, 256)
    assert arrays['xy'].shape == (2, 24, 2)
    assert arrays['descriptors'].shape == (2, 24, 128)


def test_results_go_where_they_were_asked_for_or_nowhere(folder, capsys):
    images, site = folder / 'images', str(folder / 'site.r2map')
    image = str(images / '0.png')
    assert main(['encode', image, '--out', str(folder / 'plain'), *SMALL]) == 0
    assert np.load(folder / 'plain')['descriptor'].shape == (1, 256)
    assert main(['map', 'build', site, '--images', str(images),
                 '--poses', str(folder / 'poses.csv'), *SMALL]) == 0
    assert main(['map', 'plot', site, str(folder / 'plan')]) == 0
    assert cv2.imread(str(folder / 'plan')) is not None
    for mistake, reason in (
        (['encode', image, '--out', str(images), *SMALL], 'is a folder; name a file in it'),
        (['map', 'plot', site, str(images)], 'is a folder; name a file in it'),
        (['map', 'prune', site, str(folder / 'no' / 'x.r2map'), '--ids', '1'],
         'x.r2map: there is no folder'),
    ):
        capsys.readouterr()
        assert main(mistake) == 2
        assert reason in capsys.readouterr().err.splitlines()[-1]


def test_a_released_checkpoint_converts_and_describes_itself(tmp_path, capsys):
    state = {f'module.{k}': torch.from_numpy(v) for k, v in make_state_dict('deit').items()}
    torch.save({'model_state_dict': state}, tmp_path / 'in.pth')
    out = str(tmp_path / 'out.safetensors')
    assert main(['weights', 'convert', str(tmp_path / 'in.pth'), out]) == 0
    assert main(['weights', 'info', out]) == 0
    printed = capsys.readouterr().out
    for line in ('small (deit_small_distilled_patch16_224)', '480x640 px', '500 of 128',
                 'yes, as released', 'released checkpoint in.pth'):
        assert line in printed


def test_print_config_shows_what_would_be_used(tmp_path, capsys):
    path = tmp_path / 'c.yaml'
    path.write_text('/**: {ros__parameters: {rerank: {candidates: 7, batch: 3}}}')
    with pytest.raises(SystemExit) as stop:
        main(['encode', 'x', '--out', 'y', '--config', str(path), '--print-config',
              '--set', 'rerank.batch=4', '--weights', 'small'])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert 'candidates: 7' in printed and 'batch: 4' in printed and 'weights: "small"' in printed
    assert len(printed.splitlines()) == len(to_yaml(Config()).splitlines())


@pytest.mark.parametrize(('arguments', 'match'), [
    (['localize', 'x.jpg', '--map', 'no.r2map'], 'x.jpg: cannot be read'),
    (['encode', 'x.jpg', '--out', 'f.npz', *SMALL], 'x.jpg: cannot be read'),
    (['encode', 'x.jpg', '--out', 'f.npz', '--set', 'a.b=1'], 'a.b: no such setting'),
    (['encode', 'x.jpg', '--out', 'f.npz', '--set', 'rerank.batch'], 'expected NAME=VALUE'),
    (['encode', 'x.jpg', '--out', 'f.npz', '--set', 'rerank.batch=['], "'[' is not YAML"),
    (['encode', 'x.jpg', '--out', 'f.npz', '--weights', 'huge'], 'x.jpg: cannot be read'),
    (['encode', '.', '--out', 'f.npz', *SMALL], '.: is a folder; name the pictures in it'),
    (['weights', 'info', '.'], '.: is a folder; give a .safetensors or .pth file'),
    (['evaluate', '--dataset', 'list.json', *SMALL],
     'it holds a list, not an object with these keys'),
    (['map', 'build', 'm.r2map', '--bag', 'no_bag'], 'no_bag'),
    (['map', 'build', 'm.r2map', '--images', 'no_folder'], 'no_folder: no such file or folder'),
    (['map', 'info', 'no.r2map'], 'no.r2map: no such map file'),
    (['map', 'info'], 'give a map, or --estimate'),
    (['weights', 'info', 'no.pth'], 'no.pth: no such weights file'),
    (['weights', 'convert', 'file.safetensors', 'w.safetensors'],
     'file.safetensors: is not a PyTorch checkpoint'),
    (['train', 'bootstrap', '--images', '.', '--out', 'file'],
     'file: cannot be written (File exists)'),
    (['train', 'bootstrap', '--images', '.', '--out', 'x', '--recipe-set', 'seed'],
     '--recipe-set seed: expected NAME=VALUE'),
    (['play', 'no_bag', '--rate', '0'], '--rate 0: must be above 0'),
    (['play', 'no_bag'], 'no_bag'),
    (['demo', '--frames', '1'], '--frames 1: must be at least 2'),
    (['demo', '--out', 'file'], 'file: cannot be written (File exists)'),
    (['demo', '--out', '..'], 'holds files that no demo made'),
])
def test_a_mistake_gives_one_line_and_exit_code_2(
    arguments, match, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ('file', 'file.safetensors'):
        (tmp_path / name).write_text('no folder, no weights')
    (tmp_path / 'list.json').write_text('[1, 2]')
    assert main(arguments) == 2
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith('r2former: ')]
    assert len(lines) == 1 and match in lines[0]
    assert 'Traceback' not in printed.err and not printed.out


@pytest.mark.parametrize(('arguments', 'match'), [
    ([], 'COMMAND'),
    (['localise'], 'invalid choice'),
    (['map', 'build', 'm.r2map'], 'one of the arguments --bag --images --dataset is required'),
])
def test_a_wrong_command_line_gives_one_line(arguments, match, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    printed = capsys.readouterr().err
    assert stop.value.code == 2
    assert len(printed.splitlines()) == 1 and match in printed


def test_bag_mistakes_name_the_topics(bag, capsys):
    site = str(bag.parent / 'x.r2map')
    for extra, match in (
        (['--image-topic', '/left'], '/camera'),
        (['--pose-topic', '/gps'], '/gps'),
        (['--pose-topic', '/camera'], '/camera'),
        (['--poses', 'p.csv'], '--poses belongs to --images'),
        (['--pose-topic', '/odom', '--trajectory', 't.txt'], 'not both'),
    ):
        assert main(['map', 'build', site, '--bag', str(bag), *extra, *SMALL]) == 2
        assert match in capsys.readouterr().err
