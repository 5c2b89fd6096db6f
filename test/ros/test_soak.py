# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A minute's soak of the real node: nothing grows, and every image is accounted for."""

from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from fakes import module_of

pytestmark = pytest.mark.ros
SECONDS = 60


def test_counters_add_up_and_neither_memory_nor_latency_grows(tmp_path):
    benchmark = module_of(Path(__file__).parents[2] / 'benchmarks' / 'soak.py')
    result = benchmark.soak(SECONDS / 60, tmp_path)
    assert result.played == round(SECONDS * benchmark.RATE_HZ)
    assert 0 < result.counts['received'] <= result.played - result.unsent
    assert result.counts['used'] > 0 and result.counts['bad'] == 0
    assert result.adds_up
    assert result.growth_mb() < 30
    first, _, last = (p95_ms for _, p95_ms in result.latency_thirds_ms())
    assert 0 < last <= 3 * first
    assert result.cpu_s > 0
    assert any('of one core' in line for line in result.lines())
