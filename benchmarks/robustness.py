# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure what changes of view, light and lens cost, and other places in the map.

    python benchmarks/robustness.py --data DATA [--every 4] [--distractors FOLDER] [--json FILE]

Queries are pictures of DATA/eval/gardens_point/day_right, changed one way at a time; the map is
day_left. A row: recall@1 of retrieval and of the reranked answers, and the share of all queries
that are answered wrongly with a score of at least decision.min_score. With --distractors,
day_right and night_right are asked again of a map that holds the folder's pictures too.
"""

from __future__ import annotations

from r2former_ros.common.process import prepare_process

prepare_process()  # before OpenMP starts: as the node and the command line do

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from changed_views import CHANGES, Change
from tqdm import tqdm

from r2former_ros.config import Config, with_values
from r2former_ros.mapping.build import build_map
from r2former_ros.model import load_configured
from r2former_ros.recognizer import Recognizer
from r2former_ros.records import Frame, PosedFrame
from r2former_ros.sources.datasets import pictures_in
from r2former_ros.sources.pictures import read_image

RIGHT_FRAMES = 2
"""An answer is right within so many frames of the query's own."""


@dataclass(frozen=True)
class Row:
    """The shares of queries under one change."""

    change: str
    retrieval: float
    reranked: float
    wrong_and_sure: float


def measure(
    recognizer: Recognizer, queries: Sequence[tuple[int, Path]], name: str, change: Change
) -> Row:
    """
    Ask for changed pictures.

    :param queries: the frame number, which is the row of the right place, and the picture.
    """
    min_score = recognizer.config.decision.min_score
    found = []
    for number, path in queries:
        seen = recognizer.recognize(Frame(0, np.ascontiguousarray(change(read_image(path)))))
        assert seen.best is not None  # the map is not empty
        right = abs(seen.best.place.place_id - 1 - number) <= RIGHT_FRAMES
        retrieved = abs(seen.candidates[0].place_id - 1 - number) <= RIGHT_FRAMES
        found.append((retrieved, right, not right and seen.best.score >= min_score))
    return Row(name, *(float(share) for share in np.mean(found, axis=0)))


def opened(pictures: Sequence[Path], path: Path, config: Config) -> Recognizer:
    """Build a map of pictures in their order, and open it."""
    model = load_configured(config)
    frames = (PosedFrame(Frame(0, read_image(one)), None, one.name) for one in pictures)
    build_map(model, path, tqdm(frames, desc='map', total=len(pictures), mininterval=10), config)
    return Recognizer.open(path, config, model)


def rows(
    data: Path, distractors: Path | None, every: int, folder: Path, config: Config
) -> Iterator[Row]:
    """Measure all rows."""
    laps = {name: pictures_in(data / 'eval' / 'gardens_point' / name)
            for name in ('day_left', 'day_right', 'night_right')}
    queries = {name: list(enumerate(lap))[::every] for name, lap in laps.items()}
    alone = opened(laps['day_left'], folder / 'alone.r2map', config)
    for name, change in CHANGES.items():
        yield measure(alone, queries['day_right'], name, change)
    yield measure(alone, queries['night_right'], 'night', CHANGES['none'])
    if distractors:
        others = pictures_in(distractors)
        among = opened([*laps['day_left'], *others], folder / 'among.r2map', config)
        for name, lap in (('none', 'day_right'), ('night', 'night_right')):
            title = f'{name}, {len(others)} other places'
            yield measure(among, queries[lap], title, CHANGES['none'])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--every', type=int, default=4, help='ask every Nth query')
    parser.add_argument('--distractors', type=Path, help='a folder with pictures of other places')
    parser.add_argument('--weights', default=Config().model.weights)
    parser.add_argument('--json', type=Path, help='write the rows to this file too')
    arguments = parser.parse_args()
    config = with_values(Config(), {'model.weights': arguments.weights})
    measured = []
    print(f'{"change":30}{"retrieval":>10}{"reranked":>10}{"wrong, sure":>13}')
    with TemporaryDirectory() as folder:
        for row in rows(arguments.data, arguments.distractors, arguments.every, Path(folder),
                        config):
            measured.append(asdict(row))
            print(f'{row.change:30}{row.retrieval:10.2f}{row.reranked:10.2f}'
                  f'{row.wrong_and_sure:13.2f}', flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=1))


if __name__ == '__main__':
    main()
