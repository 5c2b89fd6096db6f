# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure the false-accept rate of a calibrated map on images of other places.

    r2former map build gp.r2map --images DATA --poses lap_0.csv
    r2former map calibrate gp.r2map
    python benchmarks/false_accepts.py gp.r2map FOLDER... --limit 300

All pictures of the folders must show places that are not in the map. The --known folder, of
places that are, gives the share of images that pass all the same.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
from tqdm import tqdm

from r2former_ros.calibration import calibration_of
from r2former_ros.datasets import pictures_in
from r2former_ros.images import read_image
from r2former_ros.recognizer import Recognizer
from r2former_ros.records import Frame

RATES = (0.01, 0.05, 0.1)


def best_scores(recognizer: Recognizer, folder: Path, limit: int) -> np.ndarray:
    """Return the score of the best hypothesis of the pictures of a folder, drawn at random."""
    pictures = pictures_in(folder)
    chosen = random.Random(0).sample(pictures, min(limit, len(pictures)))
    scores = []
    for path in tqdm(chosen, desc=folder.name, mininterval=10):
        query = recognizer.encode(Frame(0, read_image(path)))
        scores.append(recognizer.rerank(query, recognizer.retrieve(query))[0].score)
    return np.array(scores)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('map', type=Path)
    parser.add_argument('foreign', type=Path, nargs='+')
    parser.add_argument('--known', type=Path, nargs='*', default=[])
    parser.add_argument('--limit', type=int, default=300, help='pictures a folder, at most')
    arguments = parser.parse_args()
    recognizer = Recognizer.open(arguments.map)
    calibration = calibration_of(recognizer.place_map)
    if calibration is None:
        parser.exit(2, f'{arguments.map}: is not calibrated; run r2former map calibrate\n')
    print('images                      number  ' + '  '.join(f'R {rate:<5g}' for rate in RATES))
    for folder in [*arguments.foreign, *arguments.known]:
        scores = best_scores(recognizer, folder, arguments.limit)
        passed = [float((scores >= calibration.threshold(rate)).mean()) for rate in RATES]
        name = str(folder)[-26:]
        print(f'{name:26s}  {len(scores):6d}  ' + '  '.join(f'{one:<7.3f}' for one in passed))


if __name__ == '__main__':
    main()
