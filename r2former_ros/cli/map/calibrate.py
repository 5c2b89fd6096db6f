# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map calibrate``: the meaning of scores on a map."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ..checks import require_map, require_range, require_there
from ..options import add_common, config_from, notify, progress_bar, say_what_runs

if TYPE_CHECKING:
    from ...maps.calibration import Calibration
    from ...maps.risk import Risk
    from ...records import Frame

RATES = (0.01, 0.02, 0.05, 0.1, 0.2)


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = ('Compare the places of a map with each other, derive the score threshold for a chosen '
            'false-accept rate, and store it in the map with the curve. If pictures from outside '
            'the map are given, they determine the threshold instead.')
    parser = actions.add_parser('calibrate', help='derive the score threshold', description=text)
    parser.add_argument('map', metavar='M.r2map')
    parser.add_argument('--false-accept-rate', type=float, default=0.05, metavar='R',
                        help='share of foreign images that may pass (default 0.05)')
    parser.add_argument('--radius', type=float, default=50.0, metavar='M',
                        help='places further apart have no view in common (default 50 m)')
    parser.add_argument('--near', type=float, default=8.0, metavar='M',
                        help='places closer than this show the same view (default 8 m)')
    parser.add_argument('--queries', type=int, default=500, metavar='N',
                        help='compare at most this many places, evenly spread, with the map '
                             '(default 500)')
    parser.add_argument('--outside', metavar='DIR',
                        help='a folder of pictures of places outside the map that the robot may '
                             'encounter: they determine the threshold')
    parser.add_argument('--traverse', metavar='DIR',
                        help='a folder of pictures of a second traverse of this map: instead, '
                             'assess the probabilities on it, and store the thresholds that keep '
                             'decision.false_discovery_rate here')
    parser.add_argument('--traverse-poses', metavar='FILE',
                        help='their poses in the frame of the map, as for map build --poses')
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Calibrate a map."""
    _check(arguments)
    from ...config import with_values
    from ...mapping.calibrate import calibrate
    from ...maps.calibration import write_calibration
    from ...maps.place_map import PlaceMap
    from ...maps.search import PlaceSearch
    from ...model.loading import load_configured

    if arguments.traverse:
        _assess(arguments)
        return
    pictures = _outside(arguments)
    # Searched exactly: an index would have to be built, for pictures from outside alone.
    config = with_values(config_from(arguments), {
        'decision.false_accept_rate': 0.0, 'retrieval.index': 'flat', 'map.preload_mb': 0,
    })
    with PlaceMap.open(arguments.map) as place_map:
        search = PlaceSearch(load_configured(config), place_map, config)
        say_what_runs(search.model)
        places = len(search.places)
        with progress_bar('calibrate', min(arguments.queries, places) + len(pictures)) as bar:
            calibration = calibrate(
                search, false_accept_rate=arguments.false_accept_rate, radius_m=arguments.radius,
                near_m=arguments.near, queries=arguments.queries, outside=_frames(pictures),
                on_query=bar.update,
            )
    with PlaceMap.open(arguments.map, writable=True) as place_map:
        write_calibration(place_map, calibration)
    _print(calibration)
    print(f'{arguments.map}: {len(calibration.positives)} of {places} places compared with '
          f'{calibration.positives_from}, {len(calibration.negatives)} with far places; '
          f'{len(pictures)} pictures from outside')


def _assess(arguments: argparse.Namespace) -> None:
    """Assess the probabilities on a second traverse."""
    from ...mapping.calibrate import assess_traverse
    from ...maps.judge import Judge
    from ...maps.place_map import PlaceMap
    from ...maps.risk import write_risk
    from ...maps.search import PlaceSearch
    from ...model.loading import load_configured
    from ...sources.frames import frames_of_folder

    config = config_from(arguments)
    frames = frames_of_folder(arguments.traverse, arguments.traverse_poses, notify)
    with PlaceMap.open(arguments.map) as place_map:
        search = PlaceSearch(load_configured(config), place_map, config)
        say_what_runs(search.model)
        with progress_bar('traverse') as bar:
            risk = assess_traverse(Judge(search), frames, arguments.near, bar.update)
    with PlaceMap.open(arguments.map, writable=True) as place_map:
        write_risk(place_map, risk)
    _print_risk(risk)


def _print_risk(risk: Risk) -> None:
    """Print for each rate the threshold, what it accepted, and what is certain."""
    print(f'{risk.queries} queries, {risk.right} right; thresholds stored in the map:')
    print('rate  probability  accepted  wrong  true share (90 %)  certified from')
    for one in risk.thresholds:
        proof = 'too few queries' if one.certified is None else f'{one.certified:.3f}'
        print(f'{one.rate:<4g}  {one.probability:<11.3f}  {one.accepted:<8}  {one.wrong:<5}  '
              f'{f"{one.low:.3f} to {one.high:.3f}":<17}  {proof}')


def _outside(arguments: argparse.Namespace) -> list[Path]:
    from ...sources.datasets import pictures_in

    return pictures_in(Path(arguments.outside)) if arguments.outside else []


def _frames(pictures: list[Path]) -> Iterator[Frame]:
    from ...records import Frame
    from ...sources.pictures import read_image

    return (Frame(0, read_image(path)) for path in pictures)


def _print(calibration: Calibration) -> None:
    """Print the curve: for each rate, what the threshold lets pass."""
    print(f'threshold from {calibration.foreign_from}; shares that pass it:')
    print('rate     min_score  probability  positives  own far places')
    for rate in sorted({*RATES, calibration.false_accept_rate}):
        score = calibration.threshold(rate)
        print(f'{rate:<7g}  {score:<9.4f}  {calibration.probability(score):<11.3f}  '
              f'{calibration.accepted(score):<9.3f}  {calibration.accepted_far(score):.3f}')


def _check(arguments: argparse.Namespace) -> None:
    require_range('--false-accept-rate', arguments.false_accept_rate, above=0, below=1)
    require_range('--queries', arguments.queries, at_least=1)
    if not 0 < arguments.near <= arguments.radius:
        raise UsageError(f'--near {arguments.near:g} --radius {arguments.radius:g}: expected '
                         '0 < near <= radius')
    if bool(arguments.traverse) != bool(arguments.traverse_poses):
        raise UsageError('--traverse and --traverse-poses belong together')
    require_map(arguments.map, writable=True)
    require_there(arguments.traverse, 'folder of pictures')
    require_there(arguments.traverse_poses, 'file of poses')
    require_there(arguments.outside, 'folder of pictures')
