# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure how far the false-accept rate of a calibrated map is from the one asked for.

    python benchmarks/false_accepts.py gp.r2map --images DATA --poses lap_0.csv \
        --foreign FOLDER... --known FOLDER... --limit 300

The map is built from the pictures unless it is there; it is not changed. --foreign folders must
show places that are not in the map, the --known ones places that are. Each foreign folder is
divided at random: one half calibrates, the other is measured. A row is a calibration (by the map's
own far places, or by one half of a folder), a column a folder that is measured; a cell holds the
shares that pass where 1 %, 5 % and 10 % were asked for.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from r2former_ros.config import Config, with_values
from r2former_ros.mapping.build import build_map
from r2former_ros.mapping.calibrate import calibrate, outside_odds
from r2former_ros.maps.calibration import Calibration, fit_probability, share_above
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.search import PlaceSearch
from r2former_ros.model.loading import load_configured
from r2former_ros.records import Frame
from r2former_ros.sources.datasets import pictures_in
from r2former_ros.sources.frames import frames_of_folder
from r2former_ros.sources.pictures import read_image

RATES = (0.01, 0.05, 0.1)
OWN = 'own far places'


def odds_of(search: PlaceSearch, folder: Path, limit: int) -> list[float]:
    """Return the best scores of pictures of a folder, drawn at random, as log odds."""
    pictures = pictures_in(folder)
    chosen = random.Random(0).sample(pictures, min(limit, len(pictures)))
    return [outside_odds(search, Frame(0, read_image(path)))
            for path in tqdm(chosen, desc=folder.name, mininterval=10)]


def measured(calibration: Calibration, odds: list[float]) -> str:
    """Return the shares that pass at the thresholds for the rates."""
    shares = (share_above(odds, calibration.threshold(rate)) for rate in RATES)
    return '/'.join(f'{share:.3f}' for share in shares)


def with_outside(own: Calibration, odds: list[float]) -> Calibration:
    """Return what ``map calibrate --outside`` would write for pictures of these scores."""
    slope, intercept = fit_probability(odds, own.positives)
    return replace(own, outside=sorted(odds), slope=slope, intercept=intercept)


def report(
    own: Calibration, foreign: dict[str, list[float]], known: dict[str, list[float]]
) -> None:
    """Print the table."""
    columns = {**{name: odds[1::2] for name, odds in foreign.items()}, **known}
    print(row_text(['calibrated by', *(f'{name} {len(odds)}' for name, odds in columns.items())]))
    rows = {OWN: own, **{name: with_outside(own, odds[::2]) for name, odds in foreign.items()}}
    for name, calibration in rows.items():
        cells = (measured(calibration, odds) for odds in columns.values())
        print(row_text([name, *cells]), flush=True)


def row_text(cells: list[str]) -> str:
    """Write a line of the table."""
    return ''.join(f'{cell:22s}' for cell in cells)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('map', type=Path)
    parser.add_argument('--images', help='as for map build, where the map is not there')
    parser.add_argument('--poses')
    parser.add_argument('--foreign', type=Path, nargs='+', required=True)
    parser.add_argument('--known', type=Path, nargs='*', default=[])
    parser.add_argument('--limit', type=int, default=300, help='pictures a folder, at most')
    parser.add_argument('--radius', type=float, default=50.0, help='as for map calibrate')
    parser.add_argument('--weights', default=Config().model.weights)
    arguments = parser.parse_args()
    config = with_values(Config(), {'model.weights': arguments.weights})
    model = load_configured(config)
    if not arguments.map.exists():
        frames = frames_of_folder(arguments.images, arguments.poses, print)
        build_map(model, arguments.map, tqdm(frames, desc='map', mininterval=10), config)
    search = PlaceSearch(model, PlaceMap.open(arguments.map), config)
    with tqdm(desc='own places', mininterval=10) as bar:
        own = calibrate(search, false_accept_rate=0.05, radius_m=arguments.radius, near_m=8.0,
                        queries=arguments.limit, on_query=bar.update)
    foreign, known = ({folder.name: odds_of(search, folder, arguments.limit)
                       for folder in folders} for folders in (arguments.foreign, arguments.known))
    report(own, foreign, known)


if __name__ == '__main__':
    main()
