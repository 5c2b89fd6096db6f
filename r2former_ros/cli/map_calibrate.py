# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map calibrate``: what scores mean on a map."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import ConfigError
from .common import add_common, config_from, progress_bar, say_what_runs

RATES = (0.01, 0.02, 0.05, 0.1, 0.2)


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = ('Compare the places of a map with each other, derive the score threshold for a wanted '
            'false-accept rate, and keep it in the map with the curve.')
    parser = actions.add_parser('calibrate', help='derive the score threshold', description=text)
    parser.add_argument('map', metavar='M.r2map')
    parser.add_argument('--false-accept-rate', type=float, default=0.05, metavar='R',
                        help='share of foreign images that may pass (default 0.05)')
    parser.add_argument('--radius', type=float, default=50.0, metavar='M',
                        help='places further apart show nothing in common (default 50 m)')
    parser.add_argument('--near', type=float, default=8.0, metavar='M',
                        help='places nearer than this show the same (default 8 m)')
    parser.add_argument('--queries', type=int, default=1000, metavar='N',
                        help='compare at most so many places with the map (default 1000)')
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Calibrate a map."""
    from ..calibration import write_calibration
    from ..config import with_values
    from ..map_tools.calibrating import calibrate
    from ..place_map import PlaceMap
    from ..recognizer import Recognizer

    _check(arguments)
    config = with_values(config_from(arguments), {'decision.false_accept_rate': 0.0})
    recognizer = Recognizer.open(arguments.map, config)
    say_what_runs(recognizer.model)
    total = min(arguments.queries, len(recognizer.places))
    with progress_bar('calibrate', total) as bar:
        calibration = calibrate(
            recognizer, false_accept_rate=arguments.false_accept_rate, radius_m=arguments.radius,
            near_m=arguments.near, queries=arguments.queries, on_query=bar.update,
        )
    recognizer.place_map.close()
    with PlaceMap.open(arguments.map, writable=True) as place_map:
        write_calibration(place_map, calibration)
    print('rate     min_score  probability  positives that pass')
    for rate in sorted({*RATES, arguments.false_accept_rate}):
        score = calibration.threshold(rate)
        print(f'{rate:<7g}  {score:<9.4f}  {calibration.probability(score):<11.3f}  '
              f'{calibration.accepted(score):.3f}')
    print(f'{arguments.map}: calibrated by {len(calibration.negatives)} negatives and '
          f'{len(calibration.positives)} positives from {calibration.positives_from}')


def _check(arguments: argparse.Namespace) -> None:
    if not 0 < arguments.false_accept_rate < 1:
        raise ConfigError(f'--false-accept-rate {arguments.false_accept_rate:g}: must lie between '
                          '0 and 1')
    if arguments.queries < 1 or not 0 < arguments.near <= arguments.radius:
        raise ConfigError(f'--queries {arguments.queries} --near {arguments.near:g} --radius '
                          f'{arguments.radius:g}: expected at least 1, and 0 < near <= radius')
