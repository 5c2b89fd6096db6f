# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Real photographs through bags, a map and the live node: two laps of one street."""

from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from fakes import module_of

from r2former_ros.config import Config, with_values
from r2former_ros.evaluation.ground_truth import Protocol
from r2former_ros.evaluation.measures import method_measures
from r2former_ros.evaluation.outcomes import RETRIEVAL
from r2former_ros.model.loading import load_configured

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / 'shared' / 'data'
SEQUENCE = DATA / 'sequences' / 'gardens_point_3laps.csv'
FRAMES = 25

pytestmark = [
    pytest.mark.ros,
    pytest.mark.shared_data,
    pytest.mark.skipif(not SEQUENCE.is_file(), reason='../shared/data is absent'),
]


def test_a_second_lap_is_localized_on_the_map_of_the_first(tmp_path):
    benchmark = module_of(ROOT / 'benchmarks' / 'live_sequence.py')
    config = with_values(Config(), {'model.device': 'cpu'})
    for lap in (0, 1):
        benchmark.write_lap(SEQUENCE, DATA, lap, tmp_path / f'lap_{lap}', FRAMES)
    model = load_configured(config)
    benchmark.build(model, tmp_path / 'lap_0', tmp_path / 'm.r2map', config)
    outcomes, run = benchmark.replay(
        model, tmp_path / 'm.r2map', tmp_path / 'lap_1', config, rate=2.0,
        protocol=Protocol(8.0, 60.0),
    )
    counts = run.counts
    assert counts['played'] == counts['received'] == FRAMES
    assert counts['used'] + counts['dropped'] == FRAMES and counts['used'] >= 10
    assert len(outcomes) == counts['used']
    # Five of 25 places are right for a query, so chance is 0.2.
    assert method_measures(outcomes, RETRIEVAL)['recall@1'] >= 0.5
