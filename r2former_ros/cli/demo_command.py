# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former demo``: a synthetic town, two laps as bags, a map, the live node, a report."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BagError, ConfigError
from .options import add_common, config_from, make_folder, progress, progress_bar, say_what_runs

if TYPE_CHECKING:
    from ..config import Config
    from ..demo.town import Light, Town
    from ..evaluation.measures import Answer
    from ..ros.replay.live import LiveRun

IMAGE_TOPIC, POSE_TOPIC = '/camera/image_raw', '/odom'
POSITIVE_RADIUS_M, POSITIVE_ANGLE_DEG = 8.0, 45.0
MARKER = '.r2former_demo'
OWN_FILES = ('lap_1', 'lap_2', 'town.r2map', 'report.html', 'plan.png', 'localized.png')


@dataclass(frozen=True)
class Paths:
    """Where the demo's files lie."""

    out: Path

    @property
    def laps(self) -> tuple[Path, Path]:
        """The two bags."""
        return self.out / 'lap_1', self.out / 'lap_2'

    @property
    def map(self) -> Path:
        """The map of lap 1."""
        return self.out / 'town.r2map'


def add_parser(commands: Any) -> None:
    """Register the subcommand."""
    parser = commands.add_parser(
        'demo', help='see a camera localize itself in a synthetic town',
        description='Drive two laps through a synthetic town, map the first, replay the second '
                    'through the live ROS 2 node, and write a report with pictures.',
    )
    parser.add_argument('--out', metavar='DIR', default='demo_out', help='(default: demo_out)')
    parser.add_argument('--frames', type=int, default=80, help='images a lap (default: 80)')
    parser.add_argument('--rate', type=float, default=1.0, help='speed of the replay (default: 1)')
    parser.add_argument('--seed', type=int, default=0, help='which town (default: 0)')
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do the whole thing."""
    from ..demo.summary import summary_rows
    from ..demo.town import Town
    from ..recognizer import load_configured

    config = config_from(arguments)
    if arguments.frames < 2 or not arguments.rate > 0:
        raise ConfigError('--frames must be at least 2 and --rate above 0')
    _require_rclpy()
    paths = Paths(Path(arguments.out))
    _clear(paths.out)
    town = Town(arguments.seed)
    _write_laps(town, paths, arguments.frames)
    model = load_configured(config)
    say_what_runs(model)
    _build_map(model, paths, config)
    run = _replay(paths, _node_config(config, paths), arguments.frames, arguments.rate)
    answers = _answers(paths, run)
    rows = summary_rows(answers, run.latency_ms, run.counts)
    _print_table(rows, model.origin.trained)
    _write_report(paths, town, answers, rows, model.origin.trained)


def _clear(out: Path) -> None:
    """
    Make the folder, or remove what an earlier demo wrote there, and nothing else.

    :raises ConfigError: if it cannot be made, or holds files but was not made by a demo.
    """
    make_folder(out)
    if any(out.iterdir()) and not (out / MARKER).exists():
        raise ConfigError(f'--out {out}: holds files that no demo made; choose an empty folder')
    (out / MARKER).touch()
    for name in OWN_FILES:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _write_laps(town: Town, paths: Paths, frames: int) -> None:
    """Drive by day in the lane, then in the evening half a metre beside it."""
    from ..demo.town import DAY, DUSK

    _write_lap(town, paths.laps[0], 0, frames, DAY, 0.0)
    _write_lap(town, paths.laps[1], 1, frames, DUSK, 0.5)


def _write_lap(
    town: Town, path: Path, lap: int, frames: int, light: Light, offset_m: float
) -> None:
    from ..sources.bags import BagWriter

    drive = town.lap(lap, frames, light=light, lateral_offset_m=offset_m)
    what = f'drive lap {lap + 1} ({light.name})'
    with BagWriter(path) as bag, progress(drive, what, frames) as shown:
        for frame, pose in shown:
            bag.image(IMAGE_TOPIC, frame)
            bag.odometry(POSE_TOPIC, pose, frame_id='map', child_frame_id='camera')


def _build_map(model: Any, paths: Paths, config: Config) -> None:
    from ..mapping.build import build_map
    from ..sources.bags import Bag
    from ..sources.frames import frames_of_bag

    def stop(line: str) -> None:
        raise BagError(line)

    with Bag(paths.laps[0]) as bag:
        frames = frames_of_bag(bag, IMAGE_TOPIC, bag.trajectory(POSE_TOPIC), stop)
        with progress(frames, 'map lap 1', bag.image_count(IMAGE_TOPIC)) as shown:
            build_map(model, paths.map, shown, config)


def _node_config(config: Config, paths: Paths) -> Config:
    """Let the node publish every reranked hypothesis, so that both rankings can be judged."""
    from ..config import with_values

    count = config.rerank.candidates or config.retrieval.candidates
    return with_values(config, {'map.path': str(paths.map.resolve()), 'node.hypotheses': count})


def _replay(paths: Paths, config: Config, frames: int, rate: float) -> LiveRun:
    from ..ros.replay.live import LiveNode, own_domain

    with own_domain(), LiveNode(config, IMAGE_TOPIC) as live, \
            progress_bar('replay lap 2', frames) as bar:
        return live.play(paths.laps[1], IMAGE_TOPIC, rate=rate, on_image=bar.update)


def _answers(paths: Paths, run: LiveRun) -> list[Answer]:
    """Judge what the node said by the poses of lap 2."""
    from ..evaluation.measures import Protocol, judge
    from ..maps.place_map import PlaceMap
    from ..sources.bags import Bag

    with PlaceMap.open(paths.map) as place_map:
        places = place_map.places()
    with Bag(paths.laps[1]) as bag:
        truth = bag.trajectory(POSE_TOPIC)
    said = {stamp_ns: one.hypotheses for stamp_ns, one in run.hypotheses.items()}
    return judge(said, truth, places, Protocol(POSITIVE_RADIUS_M, POSITIVE_ANGLE_DEG))


def _print_table(rows: list[list[str]], trained: bool) -> None:
    for name, retrieval, rerank in rows:
        print(f'{name:20s} {retrieval:12s} {rerank}'.rstrip())
    if not trained:
        print('untrained weights: these figures mean nothing')


def _write_report(
    paths: Paths, town: Town, answers: list[Answer], rows: list[list[str]], trained: bool
) -> None:
    from ..demo.report import demo_report

    files = demo_report(paths.map, paths.laps[1], IMAGE_TOPIC, answers, rows,
                        outlines=town.plan().footprints, trained=trained)
    for name, data in files.items():
        (paths.out / name).write_bytes(data)
    print(f'report: {paths.out / "report.html"}')


def _require_rclpy() -> None:
    try:
        import rclpy  # noqa: F401
    except ImportError:
        print('rclpy is not installed: source your ROS 2 installation, or use make demo',
              file=sys.stderr)
        raise ConfigError('demo needs rclpy for the live node') from None
