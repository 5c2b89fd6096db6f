# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Map one lap of a recorded sequence and replay another one through the live node.

    python benchmarks/live_sequence.py SEQUENCE.csv --root DIR --out OUT

SEQUENCE.csv has a line a picture: t_s, file (relative to --root), x_m, y_m, yaw_rad, lap.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from tqdm import tqdm

from r2former_ros.config import Config, with_values
from r2former_ros.demo.report import summary_rows
from r2former_ros.evaluation.ground_truth import Protocol
from r2former_ros.evaluation.outcomes import Outcome
from r2former_ros.evaluation.published import candidates_of, judge, ranked_count
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.build import build_map
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.model import Model
from r2former_ros.model.loading import load_configured
from r2former_ros.records import Frame, StampedPose
from r2former_ros.ros.replay.live import LiveNode, LiveRun, own_domain
from r2former_ros.sources.bag_writer import BagWriter
from r2former_ros.sources.bags import Bag
from r2former_ros.sources.frames import frames_of_bag
from r2former_ros.sources.pictures import read_image

IMAGE_TOPIC, POSE_TOPIC = '/camera/image_raw', '/odom'


def write_lap(sequence: Path, root: Path, lap: int, out: Path, limit: int | None = None) -> None:
    """Write the pictures and poses of a lap as a bag."""
    with sequence.open() as file:
        rows = [row for row in csv.DictReader(file) if int(row['lap']) == lap][:limit]
    with BagWriter(out) as bag:
        for row in tqdm(rows, desc=f'lap {lap} to {out.name}'):
            stamp_ns = 1_000_000_000 + round(float(row['t_s']) * 1e9)
            pose = pose_from_yaw(float(row['x_m']), float(row['y_m']), float(row['yaw_rad']))
            bag.image(IMAGE_TOPIC, Frame(stamp_ns, read_image(root / row['file']), 'camera'))
            bag.odometry(POSE_TOPIC, StampedPose(stamp_ns, pose),
                         frame_id='map', child_frame_id='camera')


def build(model: Model, lap: Path, map_path: Path, config: Config) -> None:
    """Build the map of a lap."""
    with Bag(lap) as bag:
        frames = frames_of_bag(bag, IMAGE_TOPIC, bag.trajectory(POSE_TOPIC), print)
        total = bag.image_count(IMAGE_TOPIC)
        build_map(model, map_path, tqdm(frames, desc='map', total=total), config)


def replay(
    model: Model, map_path: Path, lap: Path, config: Config, *, rate: float, protocol: Protocol
) -> tuple[list[Outcome], LiveRun]:
    """Play a lap to the live node and return what it answered, judged by the poses."""
    config = with_values(
        config, {'map.path': str(map_path), 'node.hypotheses': ranked_count(config)})
    with own_domain(), LiveNode(config, IMAGE_TOPIC) as live, tqdm(desc='replay') as bar:
        run = live.play(lap, IMAGE_TOPIC, rate=rate, on_image=bar.update)
    with PlaceMap.open(map_path) as place_map, Bag(lap) as bag:
        truth, places = bag.trajectory(POSE_TOPIC), place_map.places()
        said = {stamp_ns: one.hypotheses for stamp_ns, one in run.hypotheses.items()}
        frames = (frame for frame in bag.images(IMAGE_TOPIC) if frame.stamp_ns in said)
        candidates = candidates_of(model, map_path, frames, config)
    return judge(said, candidates, truth, places, protocol), run


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('sequence', type=Path)
    parser.add_argument('--root', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--laps', type=int, nargs=2, default=(0, 1))
    parser.add_argument('--limit', type=int, help='only the first frames of each lap')
    parser.add_argument('--rate', type=float, default=1.0)
    parser.add_argument('--radius', type=float, default=8.0, help='positive radius in metres')
    parser.add_argument('--weights', default=Config().model.weights)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    config = with_values(Config(), {'model.weights': arguments.weights})
    laps = [arguments.out / f'lap_{lap}' for lap in arguments.laps]
    for lap, path in zip(arguments.laps, laps, strict=True):
        write_lap(arguments.sequence, arguments.root, lap, path, arguments.limit)
    map_path = arguments.out / 'site.r2map'
    model = load_configured(config)
    build(model, laps[0], map_path, config)
    protocol = Protocol(arguments.radius, 60.0)
    outcomes, run = replay(model, map_path, laps[1], config, rate=arguments.rate,
                           protocol=protocol)
    for row in summary_rows(outcomes, run.latency_ms, run.counts):
        print('  '.join(f'{cell:20s}' for cell in row).rstrip())


if __name__ == '__main__':
    main()
