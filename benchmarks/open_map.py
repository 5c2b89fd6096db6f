# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Make a large map of synthetic features, and time it from opening to the first answer.

    python benchmarks/open_map.py --places 100000 --folder /tmp
"""

from __future__ import annotations

from r2former_ros.common.process import prepare_process

prepare_process()  # before OpenMP starts: as the node and the command line do

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from r2former_ros.config import Config, with_values
from r2former_ros.mapping.build import create_map
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.search import PlaceSearch
from r2former_ros.model import Model
from r2former_ros.model.loading import load_configured
from r2former_ros.recognizer import Recognizer
from r2former_ros.records import Frame, Keyframe, LocalFeatures

AT_ONCE = 500


def keyframes(model: Model, count: int) -> Iterator[Keyframe]:
    """Draw descriptors and poses; all places share one set of local features."""
    rng, spec = np.random.default_rng(0), model.spec
    local = LocalFeatures(
        rng.random((spec.num_local, 2), np.float32), rng.random(spec.num_local, np.float32),
        rng.standard_normal((spec.num_local, spec.local_dim), np.float32),
    )
    for number in range(count):
        descriptor = rng.standard_normal(spec.descriptor_dim, np.float32)
        pose = np.eye(4)
        pose[:2, 3] = number % 1000, number // 1000
        descriptor /= np.linalg.norm(descriptor)
        yield Keyframe(number, pose, f'synthetic:{number}', descriptor, local)


def write_map(model: Model, path: Path, config: Config, count: int) -> None:
    """Write the map, many places a transaction."""
    frames = keyframes(model, count)
    with create_map(model, path, config) as place_map, tqdm(total=count, unit=' places') as bar:
        while ids := place_map.add_all(islice(frames, AT_ONCE)):
            bar.update(len(ids))


def open_and_ask(model: Model, path: Path, config: Config) -> None:
    """Print how long each step takes."""
    start = time.perf_counter()

    def say(text: str) -> None:
        print(f'{time.perf_counter() - start:7.2f} s  {text}', flush=True)

    with PlaceMap.open(path) as place_map:
        recognizer = Recognizer(PlaceSearch(model, place_map, config, say))
        say(f'open, index is {recognizer.search.index.kind}')
        size = model.spec.image_height, model.spec.image_width, 3
        recognizer.recognize(Frame(0, np.zeros(size, np.uint8) + 90))
        say('first answer')


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--places', type=int, default=100_000)
    parser.add_argument('--folder', type=Path, help='where the map is made, and removed again')
    parser.add_argument('--preload-mb', type=int, default=Config().map.preload_mb)
    parser.add_argument('--local-dtype', default=Config().map.local_dtype)
    arguments = parser.parse_args()
    config = with_values(Config(), {
        'map.preload_mb': arguments.preload_mb, 'map.local_dtype': arguments.local_dtype,
        'model.device': 'cpu',
    })
    model = load_configured(config)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / 'large.r2map'
        write_map(model, path, config, arguments.places)
        print(f'{path.stat().st_size / arguments.places:.0f} bytes a place', file=sys.stderr)
        for attempt in ('first time', 'second time, with whatever was compiled or kept'):
            print(attempt)
            open_and_ask(model, path, config)


if __name__ == '__main__':
    main()
