# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report and the exports of an evaluation, as a reader or another tool finds them."""

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import FakeModel, picture

from r2former_ros.cli import main
from r2former_ros.config import Config
from r2former_ros.evaluation.outcomes import RERANK, Outcome, Query, Ranking
from r2former_ros.evaluation.report.exports import write_msls
from r2former_ros.evaluation.report.overlays import attention_overlay
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.build import build_map
from r2former_ros.model.preprocess import InputSpec
from r2former_ros.records import Frame, LocalFeatures, Place, PosedFrame, StampedPose
from r2former_ros.sources.bag_writer import BagWriter
from r2former_ros.sources.trajectory_files import read_trajectory

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
SECOND = 10**9


@pytest.fixture(scope='module')
def out(tmp_path_factory):
    """The report of four queries: three right, one that is taken for a place 50 m away."""
    folder = tmp_path_factory.mktemp('report')
    frames = [PosedFrame(Frame(i + 1, picture(i, 96, 128)), pose_from_yaw(10.0 * i, 0, 0), f'p{i}')
              for i in range(6)]
    build_map(FakeModel(), folder / 'site.r2map', frames, Config())
    with BagWriter(folder / 'bag') as bag:
        for number, (shown, x) in enumerate([(0, 1.0), (2, 20.0), (4, 40.0), (0, 50.0)], 1):
            stamp_ns = number * SECOND
            bag.image('/camera', Frame(stamp_ns, picture(shown, 96, 128, brightness=5)))
            bag.odometry('/odom', StampedPose(stamp_ns, pose_from_yaw(x, 0, 0)),
                         frame_id='map', child_frame_id='camera')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('r2former_ros.model.loading.load_configured', lambda _: FakeModel())
        arguments = ['--bag', str(folder / 'bag'), '--map', str(folder / 'site.r2map'),
                     '--pose-topic', '/odom', '--positive-radius-m', '4', '--methods', 'hog',
                     '--out', str(folder / 'out')]
        assert main(['evaluate', *arguments]) == 0
    return folder / 'out'


def test_the_page_needs_no_network_and_shows_what_it_should(out):
    page = (out / 'report.html').read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith('data:image/') for source in sources)
    # Plan, time, two curves, two of the score; four queries, each with matches, attention and
    # three candidates, of which the true place takes one where the answer is wrong.
    assert len(sources) == 6 + 4 * 5
    assert '<script' not in page and '@import' not in page
    for text in ('right within 4 m', 'hog', 'auc_pr', 'Effective settings', 'Command',
                 'min_score', 'wrong: place 1, 50.0 m away', 'right: place 5, 0.0 m away',
                 'the true place 6, 0.0 m away', 'mutual best patches', 'Abstained',
                 'The first answer is right for 75.0% of 4 queries', 'Reliability',
                 'Sparsification', '0.301 to 0.954'):
        assert text in page, text


def test_the_head_says_when_where_and_how_well_and_names_no_path(out):
    page = (out / 'report.html').read_text()
    (head,) = re.findall(r'<h1>(.*?)</h1>', page)
    assert head == 'Evaluation: bag bag on map site.r2map'
    result = json.loads((out / 'report.json').read_text())
    assert result['date'][:10] in page and result['machine']['cpu'] in page
    assert result['device'] in page
    low, high = result['recall_intervals']['rerank']['recall@1']
    assert low < result['rerank']['recall@1'] < high
    assert page.count('type="checkbox"') == page.count('<img ')  # each can be enlarged


def test_json_and_csv_hold_the_same_figures(out):
    result = json.loads((out / 'report.json').read_text())
    assert result['rerank']['recall@1'] == result['methods']['hog']['recall@1'] == 0.75
    rows = {row[0]: row[1:] for row in csv.reader((out / 'methods.csv').open())}
    assert rows['measure'] == ['retrieval', 'reranked', 'hog']
    assert rows['recall@1'] == ['0.750', '0.750', '0.750']
    queries = list(csv.DictReader((out / 'queries.csv').open()))
    assert [row['rerank_place_id'] for row in queries] == ['1', '3', '5', '1']
    assert [row['rerank_first_right'] for row in queries[:3]] == ['1', '1', '1']
    assert float(queries[3]['x_m']) == 50.0 and int(queries[3]['rerank_first_right']) > 1


def test_accepted_answers_are_a_trajectory(out):
    accepted, truth = (list(read_trajectory(out / f'{name}.tum'))
                       for name in ('accepted', 'truth'))
    assert [pose.stamp_ns for pose in accepted] == [pose.stamp_ns for pose in truth]
    assert [pose.pose[0, 3] for pose in accepted] == [0, 20, 40, 0]
    assert [pose.pose[0, 3] for pose in truth] == [1, 20, 40, 50]


def test_predictions_are_in_the_layout_of_vpr_methods_evaluation(out):
    lines = (out / 'preds' / '001.txt').read_text().splitlines()
    assert lines[0] == 'Query path:' and lines[1] == f'bag:/camera:{2 * SECOND}'
    assert lines[3] == 'Predictions paths:' and lines[4] == 'p2'
    assert lines[lines.index('Positives paths:') + 1] == 'p2'


def test_a_dataset_is_exported_for_the_tools_of_msls(tmp_path, monkeypatch):
    monkeypatch.setattr('r2former_ros.model.loading.load_configured', lambda _: FakeModel())
    for name, seed in (('qA', 1), ('qB', 2), ('dA', 1), ('dB', 2), ('dC', 3)):
        cv2.imwrite(str(tmp_path / f'{name}.png'), picture(seed, 96, 128)[..., ::-1])
    (tmp_path / 'gt.json').write_text(json.dumps({
        'queries': ['qA.png', 'qB.png'], 'database': ['dA.png', 'dB.png', 'dC.png'],
        'positives': [[0], [1]]}))
    out = tmp_path / 'out'
    assert main(['evaluate', '--dataset', str(tmp_path / 'gt.json'), '--out', str(out)]) == 0
    # As mapillary_sls/evaluate.py reads it.
    read = np.loadtxt(out / 'msls_predictions.csv', ndmin=2, dtype=str)
    assert read.shape == (2, 4)
    assert read[:, :2].tolist() == [['qA', 'dA'], ['qB', 'dB']]
    assert not (out / 'accepted.tum').exists()
    result = json.loads((out / 'report.json').read_text())
    # Row 0 of the ground truth's database is place 1: the names join them.
    assert result['per_query'][0]['positives'] == [1]
    assert Path(result['sources']['1']).name == 'dA.png'


def test_a_prediction_file_of_ambiguous_keys_is_not_written(tmp_path):
    places = {1: Place(1, 0, None, 'a/0001.png'), 2: Place(2, 0, None, 'b/0001.png')}
    outcomes = [Outcome(Query('q/x.png'), {RERANK: Ranking((1, 2), 0.5)})]
    assert not write_msls(tmp_path / 'p.csv', outcomes, places)
    assert not (tmp_path / 'p.csv').exists()
    places[2] = Place(2, 0, None, 'b/0002.png')
    assert write_msls(tmp_path / 'p.csv', outcomes, places)
    assert (tmp_path / 'p.csv').read_text() == 'x 0001 0002\n'


def test_attention_tints_the_patches_that_were_selected():
    spec = InputSpec(64, 128)
    features = LocalFeatures(
        np.array([[8, 8], [24, 8], [120, 56]], np.float32) / 128,
        np.array([1.0, 0.2, 0.6], np.float32), np.eye(3, dtype=np.float32))
    tinted = attention_overlay(np.zeros((100, 200, 3), np.uint8), features, spec).astype(float)
    height, width = tinted.shape[:2]
    brightness = tinted.sum(axis=2)
    brightest, middle, dark = (brightness[round(y * height), round(x * width)] for x, y in
                               ((8 / 128, 8 / 64), (120 / 128, 56 / 64), (60 / 128, 30 / 64)))
    assert brightest > middle > dark


@pytest.mark.skipif(CHROMIUM is None, reason='chromium is not installed')
@pytest.mark.parametrize('width', [390, 1280])
def test_the_page_fits_a_phone_and_a_desktop(out, tmp_path, width):
    """The browser itself says whether the page is wider than its window."""
    probe = tmp_path / 'probe.html'
    script = ('<script>document.title = [document.documentElement.scrollWidth, innerWidth, '
              '[...document.images].every(one => one.complete && one.naturalWidth > 0), '
              'document.images.length].join(" ")</script></body>')
    page = (out / 'report.html').read_text().replace('</body>', script)
    # Headless windows have a least width, so a frame is as wide as the phone.
    (tmp_path / 'page.html').write_text(page)
    probe.write_text(
        f'<iframe id="f" src="page.html" width="{width}" height="900" style="border:0"></iframe>'
        '<script>f.onload = () => { document.body.append(f.contentDocument.title) }</script>')
    done = subprocess.run(
        [CHROMIUM, '--headless=new', '--no-sandbox', '--disable-gpu', '--dump-dom',
         '--allow-file-access-from-files', '--virtual-time-budget=5000',
         f'--user-data-dir={tmp_path / "profile"}', f'file://{probe}'],
        capture_output=True, text=True, timeout=120, check=True)
    said = re.search(r'(\d+) (\d+) (true|false) (\d+)', done.stdout)
    assert said, done.stdout[-300:]
    needed, window, loaded, images = said.groups()
    assert int(window) == width and int(needed) <= width
    assert loaded == 'true' and int(images) == 26
