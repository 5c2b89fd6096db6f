# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Options of the test run."""

EXAMPLES = 60
"""Inputs that the fuzz tries per door, all doors together in half a minute."""


def pytest_addoption(parser):
    parser.addoption('--fuzz', type=int, default=1, metavar='TIMES',
                     help='try so many times as many inputs in test_fuzz.py, others each time')


def pytest_configure(config):
    try:
        from hypothesis import HealthCheck, settings
    except ImportError:  # then test_fuzz.py is skipped
        return
    times = config.getoption('--fuzz')
    settings.register_profile(
        'doors', max_examples=EXAMPLES * times, derandomize=times == 1, deadline=None,
        database=None, suppress_health_check=list(HealthCheck),
    )
    settings.load_profile('doors')
