# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former train`` as a user runs it, on each kind of data."""

import json
import re

import cv2
import numpy as np
import pytest
import timm
import torch
import yaml
from fakes import picture
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from r2former_ros.cli import main, train_command
from r2former_ros.common.left_out import LeftOut
from r2former_ros.config import Config, options_of
from r2former_ros.errors import DatasetError
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.model import ModelSpec, load_network, save_weights
from r2former_ros.model.checkpoint import untrained_model
from r2former_ros.model.network import Origin
from r2former_ros.records import Frame, StampedPose
from r2former_ros.sources.bag_writer import BagWriter
from r2former_ros.sources.datasets import read_places
from r2former_ros.training import bootstrap
from r2former_ros.training.bootstrap import BootstrapConfig
from r2former_ros.training.data.drives import (
    Drive,
    DriveFrames,
    drive_sources,
    held_out,
    places_of,
    read_drives,
)
from r2former_ros.training.initial.reranker import start_reranker
from r2former_ros.training.initial.trunk import ARCHITECTURE
from r2former_ros.training.recipe import Recipe

SPEC = ModelSpec('tiny', 'deit_tiny_distilled_patch16_224', 32, 48, num_local=6)
SIZE = (32, 48)
PLACES = 8
SHORT = ['batch=4', 'epochs=1', 'hardest=3', 'warmup_epochs=0', 'learning_rate=0.001']


@pytest.fixture
def weights(tmp_path):
    """Weights that call themselves trained, though they are not."""
    model = untrained_model(SPEC)
    model.origin = Origin('a test', trained=True, reranker_trained=True)
    save_weights(model, tmp_path / 'start.safetensors')
    return str(tmp_path / 'start.safetensors')


@pytest.fixture
def bags(tmp_path):
    """Two drives past eight places ten metres apart, the second brighter and a metre beside."""
    paths = []
    for lap in range(2):
        paths.append(str(tmp_path / f'lap_{lap}'))
        with BagWriter(paths[-1]) as bag:
            for place in range(PLACES):
                stamp_ns = (1 + place + 100 * lap) * 10**9
                image = picture(place, 32, 48, brightness=20.0 * lap)
                bag.image('/camera', Frame(stamp_ns, image))
                pose = pose_from_yaw(10.0 * place, float(lap), 0.1 * lap)
                bag.odometry('/odom', StampedPose(stamp_ns, pose))
    return paths


def train(stage, weights, out, *options, recipe_set=SHORT):
    changes = [part for text in recipe_set for part in ('--recipe-set', text)]
    return main(['train', stage, '--weights', weights, '--device', 'cpu', '--out', str(out),
                 *map(str, options), *changes])


def scalars(out):
    events = EventAccumulator(str(out))
    events.Reload()
    return events


def of_bags(bags):
    return ['--bag', bags[0], '--bag', bags[1], '--image-topic', '/camera',
            '--pose-topic', '/odom']


def test_two_processes_learn_what_one_does(weights, bags, tmp_path):
    tight = [*SHORT, 'positive_radius_m=3', 'same_place_radius_m=3']
    for devices in (1, 2):
        assert train('joint', weights, tmp_path / str(devices), *of_bags(bags),
                     '--recipe', 'joint', '--devices', devices, recipe_set=tight) == 0
    states = [torch.load(tmp_path / str(devices) / 'last.ckpt', weights_only=True)
              for devices in (1, 2)]
    one, two = (state['model'] for state in states)
    assert states[0]['progress'] == states[1]['progress']
    assert states[0]['progress']['step'] == 4
    start = load_network(weights).state_dict()
    moved, apart = (sum(float((one[name] - other[name]).abs().sum()) for name in one)
                    for other in (start, two))
    assert apart < 0.02 * moved
    losses = [[one.value for one in scalars(tmp_path / str(devices)).Scalars('loss')]
              for devices in (1, 2)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_bags_are_learned_with_validation_and_scalars(weights, bags, tmp_path, capsys):
    out = tmp_path / 'out'
    tight = [*SHORT, 'positive_radius_m=3', 'same_place_radius_m=3']
    options = [*of_bags(bags), '--recipe', 'joint']
    assert train('joint', weights, out, *options, '--hold-out', 0.25, recipe_set=tight) == 0
    printed = capsys.readouterr()
    assert 'learn from 12 queries, 12 database images' in printed.err
    assert '3 steps: ' in printed.out and 'final.safetensors' in printed.out
    assert re.search(r'best recall@1 [\d.]+: .*best\.safetensors', printed.out)
    header = yaml.safe_load((out / 'effective.yaml').read_text())
    assert header['recipe']['batch'] == 4
    assert header['config']['model']['weights'] == weights
    events = scalars(out)
    assert {'loss', 'learning_rate', 'images_per_s', 'memory_mb/cpu', 'mining/hard_share',
            'recall@1/retrieval', 'recall@1/rerank'} <= set(events.Tags()['scalars'])
    assert [one.step for one in events.Scalars('loss')] == [1, 2, 3]
    assert load_network(out / 'best.safetensors').spec == SPEC
    assert train('joint', weights, out, *options, recipe_set=tight) == 2
    assert 'written with different places; choose another output folder' in capsys.readouterr().err


def test_bags_teach_the_heads_alone_unless_another_recipe_is_named(weights, bags, tmp_path):
    changes = ['epochs=1', 'batch=8']
    assert train('joint', weights, tmp_path / 'out', *of_bags(bags), recipe_set=changes) == 0
    before, after = (load_network(path).state_dict()
                     for path in (weights, tmp_path / 'out' / 'final.safetensors'))
    changed = {name.removeprefix('encoder.').removeprefix('backbone.').split('.')[0]
               for name in before
               if not torch.allclose(before[name], after[name], atol=2e-4)}
    assert changed == {'head', 'head_dist', 'local_head'}


def test_steps_on_a_reranker_that_was_set_are_warned_of(bags, tmp_path, capsys):
    model = untrained_model(SPEC)
    start_reranker(model.reranker, 1 / 3)
    model.origin = Origin('a test', trained=True, reranker_trained=True)
    save_weights(model, tmp_path / 'set.safetensors')
    changes = ['positive_radius_m=3', 'same_place_radius_m=3', *SHORT]
    for held, out in (('false', 'steps'), ('true', 'held')):
        assert train('joint', str(tmp_path / 'set.safetensors'), tmp_path / out, *of_bags(bags),
                     '--recipe', 'joint', recipe_set=[*changes, f'hold_reranker={held}']) == 0
        assert (train_command.SET_NOT_LEARNED in capsys.readouterr().err) == (held == 'false')


def test_nothing_is_learned_through_a_reranker_without_training(bags, tmp_path, capsys):
    save_weights(untrained_model(SPEC), tmp_path / 'untrained.safetensors')
    assert train('joint', str(tmp_path / 'untrained.safetensors'), tmp_path / 'out',
                 *of_bags(bags)) == 2
    assert 'the reranker of these weights is untrained' in capsys.readouterr().err


def test_places_of_drives_are_near_and_head_the_same_way():
    yaws = (0.0, 0.0, 0.2, np.pi, 0.0)
    x = (0.0, 4.0, 1.0, 1.0, 30.0)
    poses = np.stack([pose_from_yaw(one, 0.0, yaw) for one, yaw in zip(x, yaws, strict=True)])
    stamps = np.array([0, 1, 100, 101, 102]) * 10**9
    frames = DriveFrames(tuple('abcde'), np.array([0, 0, 1, 1, 1]), stamps, poses, [])
    rows = np.arange(5)
    recipe = Recipe(positive_radius_m=5.0, positive_angle_deg=45.0, same_place_radius_m=10.0)
    places = places_of(frames, rows, rows, recipe)
    assert [one.tolist() for one in places.positives] == [[2], [2], [0, 1], [], []]
    assert [one.tolist() for one in places.same_place] == [[0, 1, 2, 3]] * 4 + [[4]]
    assert held_out(frames, 0.5, 5.0).tolist() == [True, True, True, True, False]
    assert held_out(frames, 0.5, 3.5).tolist() == [False, True, True, True, False]


def test_one_drive_is_learned_where_it_comes_again(bags, tmp_path):
    poses = np.stack([pose_from_yaw(float(x), 0.0, 0.0) for x in (0, 50, 0, 50)])
    frames = DriveFrames(tuple('abcd'), np.zeros(4, np.int64),
                         np.array([0, 10, 100, 110]) * 10**9, poses, [])
    source, none = drive_sources(frames, SIZE, Recipe())
    assert none is None
    assert [rows.tolist() for rows in source.places.positives] == [[2], [3], [0], [1]]


def test_bags_are_read_once(bags, tmp_path):
    drives = [Drive(bag, pose_topic='/odom') for bag in bags]
    first = read_drives(drives, tmp_path, SIZE, Config(), antialias=True, left_out=LeftOut())
    kept = sorted(path.name for path in tmp_path.glob('*-*'))
    again = read_drives(drives, tmp_path, SIZE, Config(), antialias=True, left_out=LeftOut())
    assert kept == sorted(path.name for path in tmp_path.glob('*-*'))
    assert len(again.names) == 2 * PLACES
    assert np.array_equal(first.images[9], again.images[9])
    assert np.array_equal(again.images[9], picture(1, 32, 48, brightness=20.0))
    assert again.poses[9, :2, 3].tolist() == [10.0, 1.0]


def test_mistakes_with_bags_are_one_line(weights, bags, tmp_path, capsys):
    (tmp_path / 'a.tum').touch()
    cases = {
        'places need poses': ['--bag', bags[0]],
        'does not divide the batch of 4': [*of_bags(bags), '--devices', '3'],
        '1 files for 2 bags': ['--bag', bags[0], '--bag', bags[1], '--trajectory',
                               tmp_path / 'a.tum'],
        'no frame has one of another visit within 5 m':
            ['--bag', bags[0], '--pose-topic', '/odom'],
        'has no topic /pose': ['--bag', bags[0], '--pose-topic', '/pose'],
        'at least 0 and below 1': [*of_bags(bags), '--hold-out', '1'],
    }
    for expected, options in cases.items():
        assert train('joint', weights, tmp_path / 'out', *options) == 2
        assert expected in capsys.readouterr().err


def test_a_mistake_in_another_process_is_one_line():
    raised = ('\n-- Process 1 terminated with the following error:\nTraceback ...\n'
              'r2former_ros.errors.DatasetError: a query has fewer than 9 other places\n')
    assert str(train_command._of_user(Exception(raised))).startswith('a query has fewer than 9')
    assert train_command._of_user(Exception('Traceback ...\nValueError: r2former')) is None


def write(path, place):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture(place, 32, 48)[..., ::-1])


def ground_truth(folder):
    for place in range(PLACES):
        write(folder / f'q{place}.png', place)
        write(folder / f'd{place}.png', place)
    names = {part: [f'{part[0]}{place}.png' for place in range(PLACES)]
             for part in ('queries', 'database')}
    content = {**names, 'positives': [[place] for place in range(PLACES)]}
    (folder / 'ground_truth.json').write_text(json.dumps(content))
    return folder / 'ground_truth.json'


def vg(folder):
    for part in ('queries', 'database'):
        for place in range(PLACES):
            name = f'@{100 * place}@{int(part == "queries")}@.jpg'
            write(folder / 'images' / 'train' / part / name, place)
    return folder


def msls(folder):
    """Two cities as MSLS documents them, with a panorama and a query that nothing shows."""
    for city in range(2):
        for part in ('query', 'database'):
            where = folder / 'train_val' / f'city{city}' / part
            keys = [f'{part[0]}{city}{place}' for place in range(PLACES)]
            for place, key in enumerate(keys):
                write(where / 'images' / f'{key}.jpg', place)
            lines = [f'{row},{key},{100 * row + 5 * (part == "query")}.0,5.0,Forward,False,0'
                     for row, key in enumerate(keys)]
            header = ',key,easting,northing,view_direction,night,unique_cluster'
            (where / 'postprocessed.csv').write_text('\n'.join([header, *lines]))
            header = ',key,lon,lat,ca,captured_at,pano'
            lines = [f'{row},{key},0.1,0.2,0,2019-01-01,{row == 3}'
                     for row, key in enumerate(keys)]
            (where / 'raw.csv').write_text('\n'.join([header, *lines]))
            lines = [f'{row},{key},abc,{row}' for row, key in enumerate(keys)]
            (where / 'seq_info.csv').write_text('\n'.join([',key,sequence_key,frame_number',
                                                           *lines]))
    return folder


def test_msls_is_read_without_panoramas_and_across_no_cities(tmp_path):
    places = read_places(msls(tmp_path))
    assert len(places.queries) == len(places.database) == 2 * (PLACES - 1)
    assert [rows.tolist() for rows in places.positives] == [[row] for row in range(14)]
    assert places.queries[3].name == 'q04.jpg'


def test_places_by_utm_in_file_names(tmp_path):
    for part, eastings in (('queries', (100, 500)), ('database', (105, 120, 300))):
        folder = tmp_path / 'images' / 'train' / part
        folder.mkdir(parents=True)
        for easting in eastings:
            (folder / f'@{easting}.0@7.0@.jpg').write_bytes(b'')
    places = read_places(tmp_path)
    assert [rows.tolist() for rows in places.positives] == [[0], []]
    assert [rows.tolist() for rows in places.same_place] == [[0, 1], []]
    assert len(places.with_positives_only().queries) == 1
    with pytest.raises(DatasetError, match='neither a ground_truth.json'):
        read_places(tmp_path / 'images')


@pytest.mark.parametrize('make', [ground_truth, vg, msls])
def test_datasets_are_learned(weights, tmp_path, make):
    out = tmp_path / 'out'
    changes = ['batch=4', 'epochs=1', 'queries_per_epoch=4']
    data = make(tmp_path / 'data')
    assert train('retrieval', weights, out, '--dataset', data, recipe_set=changes) == 0
    assert (out / 'final.safetensors').exists()


def test_images_without_labels_are_learned(weights, tmp_path):
    for place in range(PLACES):
        write(tmp_path / 'pictures' / f'{place}.jpg', place)
    out = tmp_path / 'out'
    assert train('joint', weights, out, '--images', tmp_path / 'pictures') == 0
    effective = yaml.safe_load((out / 'effective.yaml').read_text())
    assert effective['recipe']['augment'] == 'strong'


def test_bootstrap_makes_weights_from_a_trunk_and_pictures(tmp_path, capsys, monkeypatch):
    torch.manual_seed(0)
    published = tmp_path / 'published.pth'
    torch.save(timm.create_model(ARCHITECTURE, pretrained=False).state_dict(), published)
    monkeypatch.setattr(bootstrap, 'published_weights', lambda: published)
    few = tmp_path / 'few'
    write(few / 'one.jpg', 0)
    assert main(['train', 'bootstrap', '--images', str(few), '--out', str(tmp_path / 'no')]) == 2
    assert '1 pictures: at least 3200 are needed' in capsys.readouterr().err
    folder = tmp_path / 'pictures'
    for place in range(260):
        write(folder / f'{place}.jpg', place)
    changes = ['start_pairs=32', 'word_images=8', 'pool_components=256', 'pool_images=260',
               'viewed_images=20', 'class_steps=2', 'class_batch=6', 'pair_images=20',
               'towns=0', 'reranker_steps=2']
    command = ['train', 'bootstrap', '--images', str(folder), '--out', str(tmp_path / 'out'),
               *(part for text in changes for part in ('--recipe-set', text))]
    assert main(command) == 0
    made = load_network(tmp_path / 'out' / 'r2former-tiny.safetensors')
    assert made.origin.trained
    assert made.origin.reranker_trained
    before = made.state_dict()
    assert main(command) == 0  # from the finished parts
    after = load_network(tmp_path / 'out' / 'r2former-tiny.safetensors').state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_setting_of_a_recipe_is_explained(capsys):
    with pytest.raises(SystemExit, match='0'):
        main(['train', '--recipe-help'])
    printed = capsys.readouterr().out
    recipe, bootstrap = printed.split('## bootstrap\n')
    for part, kind in ((recipe, Recipe), (bootstrap, BootstrapConfig)):
        assert kind(**yaml.safe_load(part)) == kind()
        assert all(item.comment() in part for item in options_of(kind))
