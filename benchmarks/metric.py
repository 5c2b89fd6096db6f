# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How good are poses in metres, and how often is one accepted that is wrong?

    python benchmarks/metric.py [--kitti DIR] [--town-seed N] [--sequence DIR] [--json FILE]

``kitti_5``, ``kitti_10``: every fifth or tenth frame of DIR (images/, poses.txt, KITTI 00's first
151 frames at 640x194) is the map, the rest are queries. ``town_day``, ``town_dusk``: a rendered
town mapped by day every 4 m, queries up to 3 m to the side and turned up to 30 degrees;
``town_day_jitter``: with errors of 5 cm and .3 degrees in the pose of every keyframe. In all of
these a near place is given. ``own_day``, ``own_dusk``: the recognizer finds the places itself.
``wrong_place``: places at least 40 m away, of another town, or of KITTI, are offered.
``sequence``: a folder with images/ poses.csv intrinsics.txt map.txt query.txt, camera poses in
OpenCV axes; the recognizer finds the places; queries without a pose are of somewhere else.

Errors are of the pose relative to the place. ``ms`` is the median CPU time on one thread that
refinement adds to a query.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from r2former_ros.config import Config, with_values
from r2former_ros.demo.town import DAY, DUSK, Town, TownCamera, pose_at
from r2former_ros.geometry.poses import BODY_T_OPTICAL, angle_deg, distance_m, inverse
from r2former_ros.mapping.build import build_map
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.refine import PoseRefiner
from r2former_ros.maps.search import PlaceSearch
from r2former_ros.model import R2Former
from r2former_ros.recognizer import Recognizer, load_configured
from r2former_ros.records import (
    Camera,
    Frame,
    Hypothesis,
    Image,
    MountedCamera,
    Place,
    Pose,
    PosedFrame,
    RefinedPose,
)
from r2former_ros.sources.pictures import read_image

KITTI = Camera(np.array([[370.7, 0, 313.1], [0, 370.7, 95.6], [0, 0, 1]]), 640, 194)
SPACING_M, ASIDE_M, ALONG_M, TURN_DEG = 4.0, 3.0, 2.0, 30.0
JITTER_M, JITTER_DEG = 0.05, 0.3
QUERIES = 384
WRONG_OFFERS = 1500
OFFERED_AT_ONCE = 25
FAR_M = 40.0
KEYFRAME_M, KEYFRAME_DEG = 0.15, 12.0
"""Keyframes of a handheld sequence."""


@dataclass
class Entry:
    """One row of the result."""

    position_m: list[float] = field(default_factory=list)
    rotation_deg: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    foreign: int = 0
    foreign_accepted: int = 0

    def add(self, found: RefinedPose | None, place_T_query: Pose | None, ms: float) -> None:
        """Count a query; ``place_T_query`` in optical axes, None where it must be refused."""
        self.ms.append(ms)
        if place_T_query is None:
            self.foreign += 1
            self.foreign_accepted += found is not None
        elif found is not None:
            measured = found.measured.place_T_query
            self.position_m.append(distance_m(measured, place_T_query))
            self.rotation_deg.append(angle_deg(measured, place_T_query))

    def summary(self) -> dict[str, Any]:
        """Return the entry as JSON holds it."""
        queries = len(self.ms) - self.foreign
        position = np.array(self.position_m)
        accepted = len(position)
        found: dict[str, Any] = {
            'queries': queries,
            'accepted': accepted / max(queries, 1),
            'position_m': _middle_and_tail(position),
            'rotation_deg': _middle_and_tail(np.array(self.rotation_deg)),
            'off_by_1m': float((position > 1.0).sum() / max(accepted, 1)),
            'off_by_half_m': float((position > 0.5).sum() / max(accepted, 1)),
            'ms': float(np.median(self.ms)) if self.ms else None,
        }
        if self.foreign:
            found['foreign'] = {'queries': self.foreign,
                                'accepted': self.foreign_accepted / self.foreign}
        return found


def _middle_and_tail(values: np.ndarray) -> dict[str, float | None]:
    if not len(values):
        return {'median': None, 'p95': None}
    return {'median': float(np.median(values)), 'p95': float(np.percentile(values, 95))}


@dataclass(frozen=True, eq=False)
class Query:
    """A picture and the true pose of its camera; None: not in the map."""

    image: Image
    map_T_base: Pose | None
    row: int = 0


class Site:
    """A map with landmarks, its true poses, and what measures queries on it."""

    def __init__(
        self, folder: Path, name: str, model: R2Former, frames: Sequence[PosedFrame],
        config: Config, given: Sequence[Pose] | None = None,
    ) -> None:
        """Build the map of frames, with other poses than the true ones where some are given."""
        path = folder / f'{name}.r2map'
        poses = given or [one.map_T_camera for one in frames]
        start = time.process_time()
        summary = build_map(model, path, tqdm(
            (PosedFrame(one.frame, pose, one.source, one.camera)
             for one, pose in zip(frames, poses, strict=True)), name, len(frames)), config)
        self.build_s = (time.process_time() - start) / max(summary.added, 1)
        self.place_map = PlaceMap.open(path)
        by_source = {one.source: one for one in frames}
        self.places: list[Place] = list(self.place_map.places().values())
        self.true = {one.place_id: by_source[one.source].map_T_camera for one in self.places}
        self.camera = frames[0].camera
        self.config = config
        self.search = PlaceSearch(model, self.place_map, config)
        packed = [self.place_map.packed_landmarks(one.place_id) for one in self.places]
        self.kb = float(np.mean([sum(map(len, one.values())) for one in packed])) / 1e3
        self.without = sum(not one for one in packed)

    def place_T_query(self, place_id: int, query: Query) -> Pose | None:
        """Return the true pose relative to a place, in optical axes."""
        place, base_T_optical = self.true[place_id], self.camera.base_T_optical
        if query.map_T_base is None:
            return None
        return inverse(place @ base_T_optical) @ query.map_T_base @ base_T_optical

    def given_place(self, queries: Iterable[Query]) -> Entry:
        """Measure queries at the place that is given for each."""
        entry, refiner = Entry(), PoseRefiner(self.place_map, self.config.refine)
        for query in queries:
            place = self.places[query.row]
            start = time.thread_time()
            found = refiner.refine(query.image, [Hypothesis(place, 1.0, 1.0)])
            ms = 1e3 * (time.thread_time() - start)
            entry.add(found.pose, self.place_T_query(place.place_id, query), ms)
        return entry

    def own_places(self, queries: Iterable[Query]) -> Entry:
        """Let the recognizer find the places."""
        entry, recognizer = Entry(), Recognizer(self.search)
        for query in queries:
            prepared = recognizer.search.prepare(Frame(0, query.image))
            features = recognizer.search.encode(prepared)
            ranked = recognizer.search.rerank(features, recognizer.search.retrieve(features))
            start = time.thread_time()
            pose = recognizer.refiner.refine(query.image, ranked).pose
            ms = 1e3 * (time.thread_time() - start)
            at = pose.place_id if pose else self.places[0].place_id
            entry.add(pose, self.place_T_query(at, query), ms)
        return entry

    def offers(
        self, queries: Sequence[Query], camera: MountedCamera, count: int, *, far: bool
    ) -> tuple[int, int]:
        """Offer wrong places to queries; return how many were offered, and accepted."""
        config = with_values(self.config, {'refine.hypotheses': OFFERED_AT_ONCE})
        refiner = PoseRefiner(self.place_map, config.refine)
        offered, accepted, rng = 0, 0, np.random.default_rng(7)
        for query in queries:
            wrong = [one for one in self.places
                     if not far or distance_m(self.true[one.place_id], query.map_T_base) > FAR_M]
            chosen = rng.permutation(len(wrong))[:OFFERED_AT_ONCE]
            hypotheses = [Hypothesis(wrong[row], 1.0, 1.0) for row in chosen]
            found = refiner.refine(query.image, hypotheses, camera)
            offered += len(hypotheses)
            accepted += found.pose is not None
            if offered >= count:
                break
        return offered, accepted


def town_frames(town: Town, camera: MountedCamera) -> list[PosedFrame]:
    """Drive one lap by day."""
    count = int(town.length_m / SPACING_M)
    lap = tqdm(town.lap(0, count), f'draw town {town.seed}', count)
    return [PosedFrame(frame, one.pose, f'{row}', camera) for row, (frame, one) in enumerate(lap)]


def town_queries(
    town: Town, frames: Sequence[PosedFrame], light: Any, every: int
) -> Iterable[Query]:
    """Look from beside the lap; the given place is the nearest of those that look alike."""
    rng = np.random.default_rng(town.seed)
    for number in range(QUERIES):
        row = int(rng.integers(len(frames)))
        aside, along, turn = rng.uniform(-1, 1, 3) * (ASIDE_M, ALONG_M, TURN_DEG)
        if number % every:
            continue
        pose = frames[row].map_T_camera
        heading = np.arctan2(pose[1, 0], pose[0, 0]) + np.radians(turn)
        position = pose[:3, 3] + along * pose[:3, 0] + aside * pose[:3, 1]
        position[2] = pose[2, 3]
        query = pose_at(position, yaw_rad=heading)
        yield Query(town.view(query, light=light, lap=1, shot=number), query, row)


def jittered(frames: Sequence[PosedFrame]) -> list[Pose]:
    """Add an error to every pose."""
    rng, poses = np.random.default_rng(3), []
    for one in frames:
        pose = one.map_T_camera.copy()
        pose[:3, 3] += rng.normal(0, JITTER_M, 3)
        turn = Rotation.from_rotvec(rng.normal(0, np.radians(JITTER_DEG), 3)).as_matrix()
        pose[:3, :3] = turn @ pose[:3, :3]
        poses.append(pose)
    return poses


def kitti(folder: Path) -> list[tuple[Image, Pose]]:
    """Read the frames and their poses in body axes."""
    rows = np.loadtxt(folder / 'poses.txt').reshape(-1, 3, 4)
    files = sorted((folder / 'images').iterdir())
    read = []
    for file, row in zip(files, rows, strict=False):
        pose = np.eye(4)
        pose[:3] = row
        read.append((read_image(file), pose @ inverse(BODY_T_OPTICAL)))
    return read


def run_kitti(folder: Path, work: Path, model: R2Former, config: Config, every: int,
              results: dict[str, Any]) -> None:
    """Fill kitti_5 and kitti_10."""
    frames, camera = kitti(folder), MountedCamera(KITTI, BODY_T_OPTICAL)
    for step in (5, 10):
        kept = range(0, len(frames), step)
        posed = [PosedFrame(Frame(row, frames[row][0]), frames[row][1], f'{row}', camera)
                 for row in kept]
        site = Site(work, f'kitti_{step}', model, posed, config)
        queries = [
            Query(image, pose, int(np.argmin([distance_m(pose, one.map_T_camera)
                                              for one in posed])))
            for row, (image, pose) in enumerate(frames) if row % step
        ]
        report(results, f'kitti_{step}', site.given_place(queries[::every]), site)


def run_town(seed: int, work: Path, model: R2Former, config: Config, every: int,
             results: dict[str, Any]) -> Site:
    """Fill the entries of the town; return its map."""
    town, drawn = Town(seed), TownCamera()
    camera = MountedCamera(Camera(drawn.matrix, drawn.width_px, drawn.height_px), BODY_T_OPTICAL)
    frames = town_frames(town, camera)
    site = Site(work, 'town', model, frames, config)
    for light in (DAY, DUSK):
        queries = list(tqdm(town_queries(town, frames, light, every), f'draw {light.name}'))
        report(results, f'town_{light.name}', site.given_place(queries), site)
        report(results, f'own_{light.name}', site.own_places(queries), site)
        if light is DAY:
            noisy = Site(work, 'jitter', model, frames, config, given=jittered(frames))
            report(results, 'town_day_jitter', noisy.given_place(queries), noisy)
    return site


def run_wrong(site: Site, seed: int, folder: Path | None, every: int,
              results: dict[str, Any]) -> None:
    """Offer wrong places of the town to queries of itself, of another town, and of KITTI."""
    camera = site.camera
    own = [Query(one.frame.image, one.map_T_camera, row) for row, one in enumerate(
        town_frames(Town(seed), camera))]
    other = [Query(one.frame.image, one.map_T_camera, row) for row, one in enumerate(
        town_frames(Town(seed + 1), camera))]
    kinds: list[tuple[Sequence[Query], MountedCamera, bool]] = [
        (own, camera, True), (other, camera, False)]
    if folder is not None:
        seen = [Query(image, pose) for image, pose in kitti(folder)[::6]]
        kinds.append((seen, MountedCamera(KITTI, BODY_T_OPTICAL), False))
    offered = accepted = 0
    for queries, query_camera, far in kinds:
        count = WRONG_OFFERS // len(kinds) // every
        new = site.offers(queries, query_camera, count, far=far)
        offered, accepted = offered + new[0], accepted + new[1]
    results['wrong_place'] = {'queries': offered, 'accepted': accepted / max(offered, 1)}
    print('wrong_place', results['wrong_place'], flush=True)


def run_sequence(folder: Path, work: Path, model: R2Former, config: Config, every: int,
                 results: dict[str, Any]) -> None:
    """Fill the entry of a real sequence."""
    camera = MountedCamera(sequence_camera(folder), BODY_T_OPTICAL)
    poses = sequence_poses(folder)
    frames = [PosedFrame(Frame(row, read_image(folder / 'images' / name)), poses[name], name,
                         camera)
              for row, name in enumerate((folder / 'map.txt').read_text().split())]
    keyframes = with_values(config, {'map.keyframe_distance_m': KEYFRAME_M,
                                     'map.keyframe_angle_deg': KEYFRAME_DEG})
    site = Site(work, 'sequence', model, frames, keyframes)
    names = (folder / 'query.txt').read_text().split()[::every]
    queries = (Query(read_image(folder / 'images' / name), poses.get(name))
               for name in tqdm(names, 'queries'))
    report(results, 'sequence', site.own_places(queries), site)


def sequence_camera(folder: Path) -> Camera:
    """Read lines of a name and a number: width, height, fx, fy, cx, cy, and perhaps k1 to k3."""
    lines = (folder / 'intrinsics.txt').read_text().splitlines()
    values = {line.split()[0]: float(line.split()[1]) for line in lines
              if line.strip() and not line.startswith('#')}
    matrix = np.array([[values['fx'], 0, values['cx']], [0, values['fy'], values['cy']],
                       [0, 0, 1]])
    distortion = np.array([values.get(name, 0.0) for name in ('k1', 'k2', 'p1', 'p2', 'k3')])
    return Camera(matrix, int(values['width']), int(values['height']), distortion)


def sequence_poses(folder: Path) -> dict[str, Pose]:
    """Read poses.csv, 3x4 camera to world in OpenCV axes, to body axes; blanks are left out."""
    columns = [f'{kind}{row}{column}' if kind == 'r' else f't{row}'
               for row in range(3) for kind, column in (('r', 0), ('r', 1), ('r', 2), ('t', 0))]
    poses = {}
    with open(folder / 'poses.csv', newline='') as file:
        for line in csv.DictReader(file):
            text = [line[name] for name in columns]
            if all(text) and np.isfinite([float(one) for one in text]).all():
                pose = np.eye(4)
                pose[:3] = np.array(text, np.float64).reshape(3, 4)
                poses[line['image']] = pose @ inverse(BODY_T_OPTICAL)
    return poses


def report(results: dict[str, Any], name: str, entry: Entry, site: Site) -> None:
    """Keep and print an entry."""
    results[name] = {
        **entry.summary(), 'places': len(site.places), 'places_without_landmarks': site.without,
        'kb_per_place': site.kb, 'build_s_per_place': site.build_s,
    }
    print(name, json.dumps(results[name]), flush=True)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--kitti', type=Path, metavar='DIR')
    parser.add_argument('--town-seed', type=int, metavar='N')
    parser.add_argument('--sequence', type=Path, metavar='DIR')
    parser.add_argument('--sequence-every', type=int, default=20, metavar='N',
                        help='take every Nth query of the sequence (default: 20)')
    parser.add_argument('--every', type=int, default=1, metavar='N',
                        help='take every Nth query of the others (default: 1)')
    parser.add_argument('--set', action='append', default=[], dest='values', metavar='NAME=VALUE')
    parser.add_argument('--json', type=Path, metavar='FILE')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    results = measured(arguments, configured(arguments.values))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


def configured(values: Sequence[str]) -> Config:
    """Return the settings."""
    from r2former_ros.cli.options import parse_setting

    parse: Callable[[str], tuple[str, Any]] = parse_setting
    return with_values(Config(), dict(map(parse, values)))


def measured(arguments: argparse.Namespace, config: Config) -> dict[str, Any]:
    """Run the parts whose data are given."""
    results: dict[str, Any] = {}
    model = load_configured(config)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if arguments.sequence:
            run_sequence(arguments.sequence, work, model, config, arguments.sequence_every,
                         results)
        if arguments.kitti:
            run_kitti(arguments.kitti, work, model, config, arguments.every, results)
        if arguments.town_seed is not None:
            site = run_town(arguments.town_seed, work, model, config, arguments.every, results)
            run_wrong(site, arguments.town_seed, arguments.kitti, arguments.every, results)
    return results


if __name__ == '__main__':
    main()
