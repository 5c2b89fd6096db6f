# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of an active node, which need no ROS."""

import subprocess
import sys
from pathlib import Path

from r2former_ros.records import Recognition, State
from r2former_ros.ros.statistics import WINDOW, Statistics

ROOT = Path(__file__).parents[2]
GOOD = Recognition(0, State.LOST, (), (), {'encode': 1.0})


def test_statistics_need_no_ros():
    code = ('import sys; sys.modules["rclpy"] = None; import r2former_ros.ros.statistics; '
            'print([one for one in sys.modules if one.endswith("_msgs")])')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True,
                         cwd=ROOT)
    assert out.stdout.strip() == '[]'


def test_a_full_window_of_good_images_clears_the_last_errors():
    statistics = Statistics()
    statistics.saw_bad('torn')
    statistics.saw_failure('full')
    for _ in range(WINDOW - 1):
        statistics.saw(GOOD, 1.0)
    assert (statistics.last_bad, statistics.last_failure) == ('torn', 'full')
    statistics.saw(GOOD, 1.0)
    assert (statistics.last_bad, statistics.last_failure) == ('', '')


def test_rates_and_latencies_are_of_recent_images():
    statistics = Statistics()
    for second in range(2 * WINDOW):
        recognition = Recognition(0, State.LOST, (), (), {'encode': float(second)})
        statistics.saw(recognition, second / 4)
    assert statistics.rate_hz() == 4.0
    assert statistics.latency_ms() == {'encode': 1.5 * WINDOW - 0.5}
