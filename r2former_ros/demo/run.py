# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drive two laps through the town, map the first, replay the second through the live node."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from ..common.progress import OpenBar, counted
from ..config import Config, with_values
from ..errors import BagError, ConfigError
from ..evaluation.ground_truth import Protocol
from ..evaluation.outcomes import Outcome
from ..evaluation.pose_errors import published_errors
from ..evaluation.published import candidates_of, judge, ranked_count
from ..geometry.poses import BODY_T_OPTICAL
from ..mapping.build import build_map
from ..maps.place_map import PlaceMap
from ..model import Model
from ..records import Camera, MountedCamera
from ..ros.replay.live import LiveNode, LiveRun, own_domain
from ..sources.bag_cameras import camera_of_bag
from ..sources.bag_writer import BagWriter
from ..sources.bags import Bag
from ..sources.frames import frames_of_bag
from .report import demo_report, summary_rows
from .town import DAY, DUSK, Light, Town, TownCamera

IMAGE_TOPIC, INFO_TOPIC, POSE_TOPIC = '/camera/image_raw', '/camera/camera_info', '/odom'
PROTOCOL = Protocol(positive_radius_m=8.0, positive_angle_deg=45.0)
SECOND_LAP_OFFSET_M = 0.5
MARKER = '.r2former_demo'
"""A file that marks a folder as made by the demo, which may then replace its content."""


@dataclass(frozen=True)
class Paths:
    """The demo's files."""

    out: Path

    @property
    def laps(self) -> tuple[Path, Path]:
        """The two bags."""
        return self.out / 'lap_1', self.out / 'lap_2'

    @property
    def map(self) -> Path:
        """The map of lap 1."""
        return self.out / 'town.r2map'

    @property
    def report(self) -> Path:
        """The page that shows the result."""
        return self.out / 'report.html'

    @property
    def own(self) -> tuple[Path, ...]:
        """Everything that a run writes."""
        return *self.laps, self.map, *(
            self.out / name for name in ('report.html', 'plan.png', 'localized.png'))


def clear(paths: Paths) -> None:
    """
    Remove what an earlier demo wrote into its folder, and nothing else.

    :raises ConfigError: if the folder holds files, but no demo made it.
    """
    if any(paths.out.iterdir()) and not (paths.out / MARKER).exists():
        raise ConfigError(f'{paths.out}: holds files that no demo made; choose an empty folder')
    (paths.out / MARKER).touch()
    for path in paths.own:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def run_demo(
    model: Model, config: Config, paths: Paths, town: Town,
    *, frames: int, rate: float, open_bar: OpenBar,
) -> list[list[str]]:
    """
    Run the whole demo and write its report; return the table of results.

    :param frames: images per lap.
    :param rate: speed of the replay; 1 is real time.
    """
    _drive(town, paths.laps[0], 0, frames, DAY, 0.0, open_bar)
    _drive(town, paths.laps[1], 1, frames, DUSK, SECOND_LAP_OFFSET_M, open_bar)
    _map(model, paths, config, open_bar)
    run = _replay(paths, config, frames, rate, open_bar)
    outcomes = _judged(model, paths, run, config, open_bar)
    with PlaceMap.open(paths.map) as place_map:
        errors = published_errors(outcomes, run.poses, place_map.places())
    rows = summary_rows(outcomes, run.latency_ms, run.counts, errors)
    files = demo_report(
        paths.map, paths.laps[1], IMAGE_TOPIC, outcomes, rows,
        outlines=town.plan().footprints, trained=model.origin.trained, protocol=PROTOCOL,
    )
    for name, data in files.items():
        (paths.out / name).write_bytes(data)
    return rows


def _drive(
    town: Town, path: Path, lap: int, frames: int, light: Light, offset_m: float,
    open_bar: OpenBar,
) -> None:
    """Render a lap and record it as a bag."""
    drive = town.lap(lap, frames, light=light, lateral_offset_m=offset_m)
    camera = TownCamera()
    intrinsics = Camera(camera.matrix, camera.width_px, camera.height_px)
    with BagWriter(path) as bag, open_bar(f'drive lap {lap + 1} ({light.name})', frames) as bar:
        for frame, pose in counted(drive, bar):
            bag.image(IMAGE_TOPIC, frame)
            bag.camera_info(INFO_TOPIC, frame.stamp_ns, intrinsics, frame.frame_id)
            bag.odometry(POSE_TOPIC, pose, frame_id='map', child_frame_id='camera')


def _map(model: Model, paths: Paths, config: Config, open_bar: OpenBar) -> None:
    def stop(line: str) -> None:
        raise BagError(line)

    with Bag(paths.laps[0]) as bag:
        intrinsics, _, _ = camera_of_bag(bag, IMAGE_TOPIC, POSE_TOPIC)
        camera = None if intrinsics is None else MountedCamera(intrinsics, BODY_T_OPTICAL)
        frames = (replace(one, camera=camera) for one in frames_of_bag(
            bag, IMAGE_TOPIC, bag.trajectory(POSE_TOPIC), stop))
        with open_bar('map lap 1', bag.image_count(IMAGE_TOPIC)) as bar:
            build_map(model, paths.map, counted(frames, bar), config)


def _replay(
    paths: Paths, config: Config, frames: int, rate: float, open_bar: OpenBar
) -> LiveRun:
    config = with_values(config, {
        'map.path': str(paths.map.resolve()), 'node.hypotheses': ranked_count(config)})
    with own_domain(), LiveNode(config, IMAGE_TOPIC) as live, \
            open_bar('replay lap 2', frames) as bar:
        return live.play(paths.laps[1], IMAGE_TOPIC, rate=rate, on_image=bar.update)


def _judged(
    model: Model, paths: Paths, run: LiveRun, config: Config, open_bar: OpenBar
) -> list[Outcome]:
    """Judge what the node published by the poses of lap 2."""
    said = {stamp_ns: one.hypotheses for stamp_ns, one in run.hypotheses.items()}
    with PlaceMap.open(paths.map) as place_map:
        places = place_map.places()
    with Bag(paths.laps[1]) as bag, open_bar('retrieve lap 2', len(said)) as bar:
        frames = (frame for frame in bag.images(IMAGE_TOPIC) if frame.stamp_ns in said)
        candidates = candidates_of(model, paths.map, counted(frames, bar), config)
        truth = bag.trajectory(POSE_TOPIC)
    return judge(said, candidates, truth, places, PROTOCOL)
