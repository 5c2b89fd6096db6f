# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measures by hand, and a report that holds what it should."""

import json
import math
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from fakes import FakeModel, picture, recognizer_on

from r2former_ros.cli import main
from r2former_ros.config import Config, with_values
from r2former_ros.demo.report import demo_report, summary_rows
from r2former_ros.evaluation.ground_truth import Protocol
from r2former_ros.evaluation.measures import (
    Curve,
    average_precision,
    method_measures,
    recall_at,
)
from r2former_ros.evaluation.outcomes import RERANK, RETRIEVAL
from r2former_ros.evaluation.published import candidates_of, judge, ranked_count
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.geometry.trajectories import Trajectory
from r2former_ros.mapping.build import build_map
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.records import Candidate, Frame, Hypothesis, Place, PosedFrame, StampedPose
from r2former_ros.sources.bag_writer import BagWriter

POSES = {i: pose_from_yaw(10.0 * i, 0.0, 0.0) for i in range(1, 6)}
PLACES = {i: Place(i, i, pose, '') for i, pose in POSES.items()}


def hypothesis(place_id, score, similarity):
    """Make a hypothesis for one of five places."""
    return Hypothesis(PLACES[place_id], similarity, score)


def test_recall_by_hand():
    rankings = [[3, 1, 2], [1, 2, 3], [2, 3, 1]]
    positives = [{1}, {1, 2}, {1}]
    assert recall_at(rankings, positives, 1) == pytest.approx(1 / 3)
    assert recall_at(rankings, positives, 2) == pytest.approx(2 / 3)
    assert recall_at(rankings, positives, 3) == 1.0


def test_queries_without_a_right_place_are_left_out():
    assert recall_at([[1], [2]], [{1}, set()], 1) == 1.0
    assert math.isnan(recall_at([[1]], [set()], 1))


def test_positives_by_distance_and_heading():
    places = {1: Place(1, 0, pose_from_yaw(0, 0, 0), ''),
              2: Place(2, 0, pose_from_yaw(24.9, 0, 0), ''),
              3: Place(3, 0, pose_from_yaw(25.1, 0, 0), ''),
              4: Place(4, 0, pose_from_yaw(0, 0, math.pi), ''),
              5: Place(5, 0, None, '')}
    truth = pose_from_yaw(0, 0, 0.2)
    assert Protocol(25.0).positives(truth, places) == {1, 2, 4}
    assert Protocol(25.0, 40.0).positives(truth, places) == {1, 2}


def test_both_rankings_come_from_what_was_retrieved_and_published():
    said = {
        10: [hypothesis(2, 0.9, 0.5), hypothesis(1, 0.3, 0.8)],  # reranking was right
        20: [hypothesis(1, 0.9, 0.9)],  # as well; retrieval found more than was published
        30: [hypothesis(4, 0.6, 0.7)],  # never right
        99: [hypothesis(4, 0.6, 0.7)],  # after the last pose
    }
    found = {10: [Candidate(1, 0.8), Candidate(2, 0.5)],
             20: [Candidate(5, 0.95), Candidate(1, 0.9)], 30: [Candidate(4, 0.7)]}
    truth = Trajectory.from_poses([
        StampedPose(10, POSES[2]), StampedPose(20, POSES[1]), StampedPose(30, POSES[3])])
    outcomes = judge(said, found, truth, PLACES, Protocol(4.0), name_of=lambda ns: f'image {ns}')
    assert [one.query.name for one in outcomes] == ['image 10', 'image 20', 'image 30']
    assert [one.right(RERANK) for one in outcomes] == [True, True, False]
    assert [one.first_right(RETRIEVAL) for one in outcomes] == [2, 2, None]
    assert outcomes[1].rankings[RERANK].places == (1, 5)
    assert outcomes[1].rankings[RETRIEVAL].score == 0.95
    assert method_measures(outcomes, RERANK)['recall@1'] == pytest.approx(2 / 3)
    rows = summary_rows(outcomes, {'encode': 12.34, 'rerank': 5.0}, {'played': 4, 'used': 3}, {})
    assert rows[1] == ['recall@1', '0.000', '0.667']
    assert rows[-2] == ['median latency [ms]', 'encode 12.3, rerank 5.0', '']
    assert rows[-1] == ['images', 'played 4, used 3', '']


def test_a_live_run_is_judged_by_what_retrieval_found_and_not_by_what_was_reranked(tmp_path):
    """Most candidates look alike to the reranker, so the few it keeps are not the first ones."""
    frames = [PosedFrame(Frame(i, picture(i)), pose_from_yaw(10.0 * i, 0, 0), str(i))
              for i in range(1, 40)]
    build_map(FakeModel(), tmp_path / 'm.r2map', frames, Config())
    config = with_values(Config(), {'rerank.profile': 'exact'})
    assert ranked_count(config) == 100
    assert ranked_count(with_values(Config(), {'rerank.candidates': 0})) == 100
    said = [Frame(i, picture(i, brightness=10)) for i in (3, 7)]
    bad = Frame(9, picture(9, 4, 4))
    found = candidates_of(FakeModel(), tmp_path / 'm.r2map', [*said, bad], config)
    assert set(found) == {3, 7}
    for stamp_ns, candidates in found.items():
        similarities = [one.similarity for one in candidates]
        assert len(candidates) == 39 and similarities == sorted(similarities, reverse=True)
        assert candidates[0].place_id == stamp_ns


def test_average_precision_by_hand():
    """Thresholds at 0.9: 1 of 1 right; at 0.8: 1 of 2; at 0.7: 2 of 3; recall rises by halves."""
    assert average_precision([True, False, True], [0.9, 0.8, 0.7]) == pytest.approx(5 / 6)
    assert average_precision([True, True, False], [0.9, 0.8, 0.7]) == 1.0
    assert average_precision([False, True], [0.5, 0.5]) == 0.5  # equal scores are one threshold
    assert math.isnan(average_precision([False], [0.1]))


def gain_at_precision(right, scores, precision):
    return Curve.of(right, scores).operating_point(precision)[1]


def test_recall_at_precision_by_hand():
    assert gain_at_precision([True, True, False, True], [0.9, 0.8, 0.7, 0.6], 1.0) == 0.5
    assert gain_at_precision([True, False], [0.7, 0.7], 1.0) == 0.0
    assert gain_at_precision([True, True], [0.1, 0.2], 1.0) == 1.0


def test_evaluate_prints_and_writes_the_figures_of_a_dataset(tmp_path, capsys):
    names = []
    for i in range(6):
        names.append(f'{i}.png')
        cv2.imwrite(str(tmp_path / names[-1]), picture(i, 96, 128)[..., ::-1])
    truth = {'queries': names[:4], 'database': names, 'positives': [[0], [1], [2], [5]]}
    (tmp_path / 'ground_truth.json').write_text(json.dumps(truth))
    arguments = ['evaluate', '--dataset', str(tmp_path / 'ground_truth.json'), '--json',
                 str(tmp_path / 'out.json'), '--weights', 'tiny', '--device', 'cpu']
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert 'untrained weights' in printed and 'recall@1' in printed
    result = json.loads((tmp_path / 'out.json').read_text())
    assert (result['queries'], result['database']) == (4, 6)
    assert result['retrieval']['recall@1'] == 0.75  # the fourth query shows another place
    assert result['retrieval']['recall@10'] == result['rerank']['recall@10'] == 1.0
    assert result['config']['map']['thumbnail_width'] == 0
    assert set(result['latency_ms']) == {'encode', 'retrieve', 'rerank', 'verify', 'decide'}


class Pictures(HTMLParser):
    """Collect what a page refers to and says."""

    def __init__(self):
        super().__init__()
        self.sources, self.text = [], ''

    def handle_starttag(self, tag, attrs):
        """Note pictures, scripts and style sheets."""
        self.sources += [value for name, value in attrs if name in ('src', 'href')]

    def handle_data(self, data):
        """Note the text."""
        self.text += data


def test_the_report_is_one_file_with_every_picture(tmp_path):
    frames = [PosedFrame(Frame(i, picture(i)), POSES[i], str(i)) for i in POSES]
    build_map(FakeModel(), tmp_path / 'm.r2map', frames, Config())
    with BagWriter(tmp_path / 'bag') as bag:
        for i in POSES:
            bag.image('/image', Frame(i, picture(i, brightness=10)))
    with PlaceMap.open(tmp_path / 'm.r2map') as place_map:
        recognizer = recognizer_on(place_map)
        said = {i: recognizer.recognize(Frame(i, picture(i))).hypotheses for i in POSES}
    truth = Trajectory.from_poses(StampedPose(i, pose) for i, pose in POSES.items())
    outcomes = judge(said, {}, truth, PLACES, Protocol(4.0))
    rows = summary_rows(outcomes, {'encode': 1.0}, {'played': 5}, {})
    square = np.array([[0, 5], [8, 5], [8, 9], [0, 9]], float)
    files = demo_report(tmp_path / 'm.r2map', tmp_path / 'bag', '/image', outcomes, rows,
                        outlines=[square], trained=False, protocol=Protocol(4.0))
    page = Pictures()
    page.feed(files['report.html'].decode())
    assert len(page.sources) == 1 + 5 * 4  # the plan; a query and three candidates each
    assert all(source.startswith('data:image/') for source in page.sources)
    assert 'Untrained weights' in page.text and 'recall@1' in page.text
    for text in ('synthetic', 'within 4 m', '5 of 5 images', 'm off, score'):
        assert text in page.text
    for name in ('plan.png', 'localized.png'):
        drawn = cv2.imdecode(np.frombuffer(files[name], np.uint8), cv2.IMREAD_COLOR)
        assert drawn.shape[0] > 100 and drawn.std() > 10
    trained = demo_report(tmp_path / 'm.r2map', tmp_path / 'bag', '/image', outcomes, rows,
                          outlines=[], trained=True, protocol=Protocol(4.0))
    assert b'Untrained weights' not in trained['report.html']
