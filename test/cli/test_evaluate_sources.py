# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What can be evaluated: a bag on a map, a bag on itself, datasets, queries outside the map."""

import json

import cv2
import pytest
from fakes import FakeModel, picture

from r2former_ros.cli import main
from r2former_ros.config import Config
from r2former_ros.errors import DatasetError
from r2former_ros.evaluation.cache import cached
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.build import build_map
from r2former_ros.records import Frame, PosedFrame, StampedPose
from r2former_ros.sources.bag_writer import BagWriter
from r2former_ros.sources.datasets import read_places

STEP_M = 10.0
PERIOD_NS = 10**10


def write_bag(path, seeds):
    """Record pictures ten seconds and, by their seed, ten metres apart; equal seeds look alike."""
    with BagWriter(path) as bag:
        for number, seed in enumerate(seeds):
            stamp_ns = (number + 1) * PERIOD_NS
            bag.image('/camera', Frame(stamp_ns, picture(seed, 96, 128, brightness=number)))
            pose = StampedPose(stamp_ns, pose_from_yaw(STEP_M * seed, 0, 0))
            bag.odometry('/odom', pose, frame_id='map', child_frame_id='camera')
    return path


@pytest.fixture
def fake(monkeypatch):
    """Let the command line run the stand-in model."""
    model = FakeModel()
    monkeypatch.setattr('r2former_ros.model.loading.load_configured', lambda _: model)
    return model


@pytest.fixture
def site(tmp_path):
    """A map of places 0 to 5; place id n is that of seed n - 1."""
    frames = [PosedFrame(Frame(i + 1, picture(i, 96, 128)), pose_from_yaw(STEP_M * i, 0, 0), '')
              for i in range(6)]
    build_map(FakeModel(), tmp_path / 'site.r2map', frames, Config())
    return tmp_path / 'site.r2map'


def evaluate(tmp_path, *arguments):
    """Run the command and return what it wrote."""
    out = tmp_path / 'result.json'
    command = ['evaluate', *map(str, arguments), '--json', str(out)]
    assert main(command) == 0
    return json.loads(out.read_text())


def test_a_bag_on_a_map_is_judged_by_the_poses_of_both(tmp_path, site, fake, capsys):
    bag = write_bag(tmp_path / 'bag', [0, 3, 5, 9])  # the last one is 40 m from every place
    result = evaluate(tmp_path, '--bag', bag, '--map', site, '--pose-topic', '/odom',
                      '--positive-radius-m', 4)
    assert (result['queries'], result['outside'], result['database']) == (4, 1, 6)
    assert result['retrieval']['recall@1'] == result['rerank']['recall@1'] == 1.0
    assert [one['positives'] for one in result['per_query']] == [[1], [4], [6], []]
    assert result['decision']['accepted'] == 1.0 and result['decision']['error_p95_m'] < 1e-9
    assert result['protocol'].startswith('right within 4 m, any heading')
    assert sum(result['states'].values()) == 4
    assert 'right within 4 m' in capsys.readouterr().out
    wide = evaluate(tmp_path, '--bag', bag, '--map', site, '--pose-topic', '/odom')
    assert wide['outside'] == 1 and wide['per_query'][0]['positives'] == [1, 2, 3]


def test_images_that_cannot_be_used_are_left_out_named_and_counted(
    tmp_path, site, fake, capsys
):
    with BagWriter(tmp_path / 'bag') as bag:
        for stamp_ns, image in ((10, picture(2, 96, 128)), (20, picture(3, 4, 4))):
            bag.image('/camera', Frame(stamp_ns, image))
        bag.image('/camera', Frame(10**11, picture(4, 96, 128)))  # after the last pose
        pose = StampedPose(10, pose_from_yaw(2 * STEP_M, 0, 0))
        bag.odometry('/odom', pose, frame_id='map', child_frame_id='camera')
    strangers = tmp_path / 'strangers'
    strangers.mkdir()
    (strangers / 'half.jpg').write_bytes(b'half')
    result = evaluate(tmp_path, '--bag', tmp_path / 'bag', '--map', site, '--pose-topic', '/odom',
                      '--negatives', strangers)
    assert (result['queries'], result['left_out']) == (1, 3)
    said = capsys.readouterr().err
    for match in ('20: image of 4x4 pixels', 'no pose at stamp 100000000000',
                  'half.jpg: is damaged'):
        assert match in said


def test_a_bag_on_itself_names_only_keyframes_that_are_old_enough(tmp_path, fake):
    seeds = [0, 1, 2, 3, 0, 1, 7, 3]
    bag = write_bag(tmp_path / 'bag', seeds)
    result = evaluate(tmp_path, '--bag', bag, '--self', '--pose-topic', '/odom',
                      '--positive-radius-m', 4, '--exclude-s', 25)
    asked = {one['name'].rsplit(':', 1)[1]: one for one in result['per_query']}
    assert len(asked) == 5  # the first three have no place that is 25 s older
    for number in range(3, 8):
        one = asked[str((number + 1) * PERIOD_NS)]
        assert set(one['answers']['rerank']['places']) == set(range(1, number - 1))
        old = [place + 1 for place in range(number - 2) if seeds[place] == seeds[number]]
        assert one['positives'] == old
    assert result['outside'] == 2  # at 3 and at 7 for the first time
    assert result['rerank']['recall@1'] == 1.0
    assert 'at least 25 s older' in result['protocol']


def test_negatives_are_false_accepts_where_the_score_is_high(tmp_path, site, fake):
    bag = write_bag(tmp_path / 'bag', [0, 3])
    strangers = tmp_path / 'strangers'
    strangers.mkdir()
    for name, seed in (('alike', 4), ('strange', 70)):  # one looks like a place of the map
        cv2.imwrite(str(strangers / f'{name}.png'), picture(seed, 96, 128)[..., ::-1])
    common = ['--bag', bag, '--map', site, '--pose-topic', '/odom', '--positive-radius-m', 4]
    result = evaluate(tmp_path, *common, '--negatives', strangers)
    assert (result['queries'], result['negatives'], result['outside']) == (2, 2, 2)
    assert result['rerank']['false_accepts@100p'] == 0.5
    assert result['decision']['false_accepts'] == 0.5
    other = write_bag(tmp_path / 'other', [80, 81, 82])
    assert evaluate(tmp_path, *common, '--negatives', other)['negatives'] == 3
    assert evaluate(tmp_path, *common)['rerank']['false_accepts@100p'] is None


def test_a_cached_run_goes_on_without_the_model_and_says_the_same(tmp_path, site, fake):
    bag = write_bag(tmp_path / 'bag', [0, 3, 5])
    arguments = ['--bag', bag, '--map', site, '--pose-topic', '/odom', '--cache', tmp_path / 'c']
    first = evaluate(tmp_path, *arguments)
    assert fake.calls == 3
    second = evaluate(tmp_path, *arguments)
    assert fake.calls == 3
    assert second['per_query'] == first['per_query']
    assert second['latency_ms']['encode'] > 0
    for path in (tmp_path / 'c').rglob('*.npz'):
        path.write_bytes(b'half')
    assert main(['evaluate', *map(str, arguments)]) == 2
    cached(FakeModel(fingerprint='other'), tmp_path / 'c')  # other weights share nothing
    assert len(list((tmp_path / 'c').iterdir())) == 1


def test_a_stopped_run_keeps_what_it_has_and_says_how_to_go_on(
    tmp_path, site, fake, monkeypatch, capsys
):
    bag = write_bag(tmp_path / 'bag', [0, 3, 5])
    encode = fake.encoder.encode

    def stopped(images):
        if fake.calls == 2:
            raise KeyboardInterrupt
        return encode(images)

    monkeypatch.setattr(fake.encoder, 'encode', stopped)
    arguments = ['--bag', bag, '--map', site, '--pose-topic', '/odom', '--cache', tmp_path / 'c']
    assert main(['evaluate', *map(str, arguments)]) == 130
    assert 'repeat the command to resume' in capsys.readouterr().err
    monkeypatch.setattr(fake.encoder, 'encode', encode)
    assert evaluate(tmp_path, *arguments)['queries'] == 3
    assert fake.calls == 3  # only the image that was missing


@pytest.mark.parametrize(('arguments', 'match'), [
    ([], 'needs one of --dataset and --bag'),
    (['--bag', 'b', '--pose-topic', '/odom'], '--bag needs one of --map and --self'),
    (['--bag', 'b', '--map', 'm', '--self'], '--bag needs one of --map and --self'),
    (['--bag', 'b', '--self'], '--bag needs --pose-topic or --trajectory'),
    (['--dataset', 'd', '--self'], '--self belongs to --bag'),
    (['--dataset', 'd', '--positive-angle-deg', '30'], 'datasets give no headings'),
    (['--dataset', 'd', '--live'], '--live needs --bag and --map'),
    (['--dataset', 'd', '--positive-radius-m', '-1'], '-1: must be above 0'),
    (['--bag', 'b', '--self', '--pose-topic', 'p', '--exclude-s', '-1'], '-1: must be at least 0'),
    (['--dataset', 'nothing'], 'nothing: neither a ground_truth.json'),
])
def test_mistakes_give_one_line(arguments, match, fake, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(['evaluate', *arguments]) == 2
    assert match in capsys.readouterr().err


def test_a_bag_that_is_too_short_for_loops_says_so(tmp_path, fake, capsys):
    bag = write_bag(tmp_path / 'bag', [0, 1])
    assert main(['evaluate', '--bag', str(bag), '--self', '--pose-topic', '/odom']) == 2
    assert 'is no longer than the exclusion of 30 s' in capsys.readouterr().err


def test_msls_keeps_its_validation_cities_apart(tmp_path):
    for city, easting in (('zurich', 0), ('cph', 30), ('sf', 30)):
        for part in ('query', 'database'):
            folder = tmp_path / 'train_val' / city / part
            folder.mkdir(parents=True)
            (folder / 'postprocessed.csv').write_text(
                f'key,easting,northing\n{city}_{part},{easting if part == "query" else 0},0\n')
    train, val = (read_places(tmp_path, split) for split in ('train', 'val'))
    assert [path.stem for path in train.queries] == ['zurich_query']
    assert [path.stem for path in val.queries] == ['cph_query', 'sf_query']
    assert [rows.tolist() for rows in val.same_place] == [[], []]
    near = read_places(tmp_path, 'val', 31.0)
    assert [rows.tolist() for rows in near.same_place] == [[0], [1]]  # never of another city
    assert near.rule == 'right within 31 m'
    with pytest.raises(DatasetError, match='no ground truth for the split test'):
        read_places(tmp_path, 'test')


@pytest.mark.ros
def test_the_live_node_and_the_offline_run_agree_on_every_frame_both_saw(tmp_path, capsys):
    pytest.importorskip('rclpy')
    small = ['--weights', 'tiny', '--device', 'cpu', '--set', 'model.image_height=64',
             '--set', 'model.image_width=96', '--set', 'model.backend=torch',
             '--set', 'node.diagnostics_period_s=0.2']
    seeds = list(range(8))
    bag, lap = (write_bag(tmp_path / name, seeds) for name in ('bag', 'lap'))
    site = tmp_path / 'site.r2map'
    assert main(['map', 'build', str(site), '--bag', str(bag), '--pose-topic', '/odom',
                 *small]) == 0
    arguments = ['--bag', lap, '--map', site, '--pose-topic', '/odom', *small]
    offline = evaluate(tmp_path, *arguments)
    live = evaluate(tmp_path, *arguments, '--live', '--rate', 40)
    counts = live['live']
    assert counts['played'] == 8 and counts['used'] + counts['dropped'] == 8
    assert len(live['per_query']) == counts['used'] > 0
    by_stamp = {one['stamp_ns']: one for one in offline['per_query']}
    for one in live['per_query']:
        other = by_stamp[one['stamp_ns']]
        assert one['positives'] == other['positives']
        for method in ('retrieval', 'rerank'):
            said, expected = one['answers'][method], other['answers'][method]
            assert said['places'] == expected['places']
            assert said['score'] == pytest.approx(expected['score'], abs=1e-5)
    assert f'dropped {counts["dropped"]}' in capsys.readouterr().out
