# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Close loops on a recorded sequence with simulated drifting odometry, and measure what it mends.

    python benchmarks/loop_closure.py --data DATA --out OUT

DATA holds sequences/gardens_point_3laps.csv (three laps of one loop) and
sequences/kitti00_first151 (no place is seen twice). Odometry of the laps is made from their poses:
each step gets white noise on its length and its turn, and each seed a constant error of scale and
of turn besides. OUT gets TUM files (evo_ape tum truth.tum corrected_1.tum -a), and results.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from r2former_ros.cli.options import parse_setting
from r2former_ros.config import Config, to_dict, with_values
from r2former_ros.geometry.poses import angle_deg, distance_m, inverse, pose_from_yaw, yaw_rad
from r2former_ros.geometry.relative_view import relative_view
from r2former_ros.mapping.build import create_map
from r2former_ros.maps.search import PlaceSearch
from r2former_ros.model import ImageFeatures, Model
from r2former_ros.model.loading import load_configured
from r2former_ros.model.preprocess import preprocess
from r2former_ros.records import (
    Camera,
    Candidate,
    Frame,
    Hypothesis,
    LocalFeatures,
    PosedFrame,
    StampedPose,
    View,
)
from r2former_ros.slam.loop_closure import KeyframeResult, LoopCloser, LoopFilter
from r2former_ros.slam.pose_graph import LoopMeasurement, PoseGraph
from r2former_ros.sources.pictures import read_image, thumbnail_jpeg
from r2former_ros.sources.trajectory_files import read_trajectory, write_tum

SEEDS = (1, 2, 3)
STEP_NOISE = 0.05
"""White noise on the length of a step, as a share of it."""
TURN_NOISE_DEG = 1.0
"""White noise on the turn of a step of 1 m; grows with the root of its length."""
SCALE_BIAS = 0.02
"""Deviation, over the seeds, of a constant error of scale."""
TURN_BIAS_DEG_PER_M = 0.02
"""Deviation, over the seeds, of a constant error of turn."""
FALSE_M = 10.0
"""A loop closure is false where query and place are further apart than this."""
SCORES = (0.5, 0.6, 0.7, 0.8, 0.9)
GAPS = (2, 5, 10)
KITTI_CAMERA = Camera(np.array([[370.7, 0, 313.1], [0, 370.7, 95.6], [0, 0, 1]]), 640, 194)
SHORT = {'loop_closure.exclusion_s': 5.0}
"""The drive of KITTI lasts 15 s, less than the usual exclusion."""


@dataclass(frozen=True)
class Drive:
    """Pictures with true poses."""

    name: str
    files: list[Path]
    truth: list[StampedPose]


def gardens_point(data: Path) -> Drive:
    """Read the three laps."""
    with (data / 'sequences' / 'gardens_point_3laps.csv').open() as file:
        rows = list(csv.DictReader(file))
    truth = [
        StampedPose(
            round(float(row['t_s']) * 1e9),
            pose_from_yaw(float(row['x_m']), float(row['y_m']), float(row['yaw_rad'])),
        )
        for row in rows
    ]
    return Drive('gardens_point', [data / row['file'] for row in rows], truth)


def kitti(data: Path) -> Drive:
    """Read the piece of KITTI 00."""
    folder = data / 'sequences' / 'kitti00_first151'
    files = sorted((folder / 'images').iterdir())
    return Drive('kitti', files, list(read_trajectory(folder / 'poses.txt')))


def drifting(truth: Sequence[StampedPose], seed: int) -> list[StampedPose]:
    """Simulate odometry that starts right and drifts."""
    rng = np.random.default_rng(seed)
    scale = 1 + SCALE_BIAS * rng.standard_normal()
    turn_per_m = np.radians(TURN_BIAS_DEG_PER_M * rng.standard_normal())
    odometry = [truth[0]]
    for before, now in zip(truth, truth[1:], strict=False):
        step = inverse(before.pose) @ now.pose
        length_m = float(np.linalg.norm(step[:3, 3]))
        turn = turn_per_m * length_m
        turn += np.radians(TURN_NOISE_DEG) * np.sqrt(length_m) * rng.standard_normal()
        noisy = pose_from_yaw(0, 0, yaw_rad(step) + turn)
        noisy[:3, 3] = step[:3, 3] * (scale + STEP_NOISE * rng.standard_normal())
        odometry.append(StampedPose(now.stamp_ns, odometry[-1].pose @ noisy))
    return odometry


def encode(sequence: Drive, model: Model, out: Path) -> list[ImageFeatures]:
    """Encode every picture once; a second run of the benchmark reads what the first one wrote."""
    path = out / f'{sequence.name}_{model.fingerprint}.npz'
    if not path.exists():
        encoded = [model.encode(preprocess(read_image(file), model.spec.input, model.device))
                   for file in tqdm(sequence.files, desc=f'encode {sequence.name}')]
        local = [one.local_features_of(0) for one in encoded]
        np.savez(path, descriptor=[one.descriptor_of(0) for one in encoded],
                 xy=[one.xy for one in local], attention=[one.attention for one in local],
                 descriptors=[one.descriptors for one in local])
    kept = np.load(path)
    arrays = [kept[name] for name in ('descriptor', 'xy', 'attention', 'descriptors')]
    return [
        ImageFeatures.stack([descriptor], [LocalFeatures(*local)], model.device)
        for descriptor, *local in zip(*arrays, strict=True)
    ]


def drive(
    sequence: Drive,
    odometry: Sequence[StampedPose],
    features: Sequence[ImageFeatures],
    *,
    search: PlaceSearch,
) -> list[KeyframeResult]:
    """Offer every frame, and return what became of each."""
    closer, results = LoopCloser(search, search.config), []
    for file, stamped, query in zip(
        tqdm(sequence.files, desc=sequence.name), odometry, features, strict=True
    ):
        frame = Frame(stamped.stamp_ns, read_image(file))
        result = closer.offer(PosedFrame(frame, stamped.pose, file.name), query)
        assert result is not None, 'every frame is a keyframe'
        results.append(result)
    return results


Remembered = dict[tuple[int, tuple[int, ...]], list[Hypothesis]]


class Remembering(PlaceSearch):
    """
    Rerank the same candidates only once over the seeds: odometry differs, the pictures do not.

    Every frame is a keyframe, so that a place has the same id in each drive.
    """

    remembered: Remembered

    def rerank(self, query: ImageFeatures, candidates: list[Candidate]) -> list[Hypothesis]:
        """Look up what was reranked before, with the poses of this drive."""
        settings = self.config.rerank.effective
        first = candidates[: max(settings.shortlist, settings.candidates)]
        key = id(query), tuple(one.place_id for one in first)
        if key not in self.remembered:
            self.remembered[key] = super().rerank(query, first)
        return [replace(one, place=self.places[one.place.place_id])
                for one in self.remembered[key]]


@contextmanager
def new_search(
    model: Model, map_path: Path, config: Config, remembered: Remembered
) -> Iterator[PlaceSearch]:
    """Search a new map, which replaces the one of an earlier run."""
    for old in map_path.parent.glob(f'{map_path.name}*'):
        old.unlink()
    with create_map(model, map_path, config) as place_map:
        search = Remembering(model, place_map, config)
        search.remembered = remembered
        yield search


def loops_of(results: Sequence[KeyframeResult]) -> list[tuple[int, int]]:
    """Return accepted loop closures as (query, place): rows of the sequence."""
    return [(result.place_id - 1, loop.hypothesis.place.place_id - 1)
            for result in results for loop in result.loops]


def check_by_score(
    results: Sequence[KeyframeResult], odometry: Sequence[StampedPose], *,
    truth: Sequence[StampedPose], config: Config,
) -> list[dict[str, Any]]:
    """Count loop closures with and without the geometric check, and those the graph keeps."""
    rows = []
    for score in SCORES:
        row: dict[str, Any] = {'min_score': score}
        for name, verify in (('unverified', False), ('verified', True)):
            changed = with_values(config, {
                'loop_closure.min_score': score, 'loop_closure.verify': verify})
            sequence = LoopFilter(changed.loop_closure, config.verification.min_inliers)
            loops = [
                (result.place_id - 1, result.best.place.place_id - 1)
                for result, stamped in zip(results, odometry, strict=True)
                if sequence.accepts(result.best, stamped.pose) and result.best is not None
            ]
            false, kept = count_false(loops, truth), correct(odometry, loops, config)[1]
            row |= {f'{name} true': len(loops) - false, f'{name} false': false,
                    f'{name} false kept': count_false(kept, truth)}
        rows.append(row)
    return rows


def check_ms(
    search: PlaceSearch, results: Sequence[KeyframeResult], features: Sequence[ImageFeatures]
) -> float:
    """Return the median time of a geometric check in milliseconds."""
    times_ms = []
    for result, query in zip(results, features, strict=True):
        if result.best is not None:
            local, unchecked = query.local_features_of(0), replace(result.best, inliers=-1)
            start = time.perf_counter()
            search.verified(local, unchecked)
            times_ms.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times_ms))


def count_false(loops: Sequence[tuple[int, int]], truth: Sequence[StampedPose]) -> int:
    """Count loop closures whose ends are far apart."""
    return sum(distance_m(truth[query].pose, truth[place].pose) > FALSE_M
               for query, place in loops)


def correct(
    odometry: Sequence[StampedPose], loops: Sequence[tuple[int, int]], config: Config
) -> tuple[list[StampedPose], list[tuple[int, int]]]:
    """Run the back end as the node does, a loop as soon as its query is there."""
    graph = PoseGraph(config.pose_graph)
    by_query = dict(loops)
    for row, stamped in enumerate(odometry):
        graph.add_odometry(stamped)
        if row in by_query:
            graph.add_loop(LoopMeasurement(odometry[by_query[row]].stamp_ns, stamped.stamp_ns))
    return graph.trajectory(), [loops[one] for one in graph.kept_loops()]


def ate_m(estimate: Sequence[StampedPose], truth: Sequence[StampedPose]) -> float:
    """Return the absolute trajectory error: RMS of positions after rigid alignment."""
    at = {stamped.stamp_ns: stamped.pose[:3, 3] for stamped in truth}
    points = np.array([stamped.pose[:3, 3] for stamped in estimate])
    wanted = np.array([at[stamped.stamp_ns] for stamped in estimate])
    aligned = _aligned(points, wanted)
    return float(np.sqrt(((aligned - wanted) ** 2).sum(axis=1).mean()))


def _aligned(points: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move points (N, 3) rigidly onto others (Umeyama without scale)."""
    centre, goal = points.mean(axis=0), wanted.mean(axis=0)
    left, _, right = np.linalg.svd((wanted - goal).T @ (points - centre))
    signs = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return np.asarray((points - centre) @ (left @ signs @ right).T + goal, np.float64)


def three_laps(
    data: Path, out: Path, model: Model, config: Config
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measure the seeds, and on the first what the geometric check does."""
    sequence, rows, checks = gardens_point(data), [], []
    features = encode(sequence, model, out)
    remembered: Remembered = {}
    write_tum(out / 'truth.tum', sequence.truth)
    for seed in SEEDS:
        odometry = drifting(sequence.truth, seed)
        with new_search(model, out / f'drive_{seed}.r2map', config, remembered) as search:
            results = drive(sequence, odometry, features, search=search)
            verify_ms = check_ms(search, results, features)
        loops = loops_of(results)
        corrected, kept = correct(odometry, loops, config)
        write_tum(out / f'odometry_{seed}.tum', odometry)
        write_tum(out / f'corrected_{seed}.tum', corrected)
        before_m, after_m = (ate_m(one, sequence.truth) for one in (odometry, corrected))
        checks = checks or check_by_score(results, odometry, truth=sequence.truth, config=config)
        rows.append({
            'seed': seed, 'ATE odometry [m]': before_m, 'ATE corrected [m]': after_m,
            'share': after_m / before_m,
            'loops': len(loops), 'false': count_false(loops, sequence.truth),
            'kept': len(kept), 'false kept': count_false(kept, sequence.truth),
            'check [ms]': verify_ms,
        })
    return rows, checks


def no_revisit(data: Path, out: Path, model: Model, config: Config) -> list[dict[str, Any]]:
    """Count loop closures where there are none."""
    sequence, rows = kitti(data), []
    features = encode(sequence, model, out)
    remembered: Remembered = {}
    for name, changed in (('as it is', config), ('exclusion_s 5', with_values(config, SHORT))):
        with new_search(model, out / 'kitti.r2map', changed, remembered) as search:
            results = drive(sequence, sequence.truth, features, search=search)
        loops = loops_of(results)
        rows.append({'settings': name, 'keyframes': len(results), 'loops': len(loops),
                     'kept': len(correct(sequence.truth, loops, changed)[1])})
    return rows


def views(data: Path, out: Path, model: Model, config: Config) -> list[dict[str, Any]]:
    """Measure relative rotation and direction between frames of KITTI that are a gap apart."""
    sequence, rows = kitti(data), []
    features = [one.local_features_of(0) for one in encode(sequence, model, out)]
    jpegs = [thumbnail_jpeg(read_image(file), config.map.thumbnail_width)
             for file in sequence.files]
    size, fewest = (model.spec.image_height, model.spec.image_width), \
        config.verification.min_view_inliers
    for gap in GAPS:
        errors, start = [], time.perf_counter()
        places = range(0, len(jpegs) - gap, 5)
        for place in places:
            query = place + gap
            view = relative_view((jpegs[query], jpegs[place]), (features[query], features[place]),
                                 size, KITTI_CAMERA)
            if view is not None and view.inliers >= fewest:
                errors.append(view_error(view, sequence.truth[place], sequence.truth[query]))
        elapsed_ms = (time.perf_counter() - start) * 1e3
        rotation, turned, direction, apart_m = \
            np.median(errors, axis=0) if errors else [float('nan')] * 4
        rows.append({
            'frames apart': gap, 'metres': apart_m, 'pairs': len(places),
            'answered': len(errors), 'turned [deg]': turned,
            'rotation error [deg]': rotation, 'direction error [deg]': direction,
            'pair [ms]': elapsed_ms / len(places),
        })
    return rows


def view_error(view: View, place: StampedPose, query: StampedPose) -> tuple[float, ...]:
    """Return errors of rotation and direction, the true turn (degrees), and the distance (m)."""
    truth, rotation = inverse(place.pose) @ query.pose, np.eye(4)
    rotation[:3, :3] = view.rotation
    apart_m = float(np.linalg.norm(truth[:3, 3]))
    cosine = np.clip(view.direction @ truth[:3, 3] / apart_m, -1, 1)
    return (angle_deg(rotation, truth), angle_deg(np.eye(4), truth),
            float(np.degrees(np.arccos(cosine))), apart_m)


def show(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print rows as a table."""
    cells = [list(rows[0])] + [
        [f'{value:.2f}' if isinstance(value, float) else str(value) for value in row.values()]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(title)
    for line in cells:
        print('  '.join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--set', action='append', default=[], type=parse_setting,
                        metavar='NAME=VALUE')
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    config = with_values(Config(), {'pose_graph.node_distance_m': 0.1, **dict(arguments.set)})
    model = load_configured(config)
    inputs = arguments.data, arguments.out, model, config
    laps, checks = three_laps(*inputs)
    results = {
        'gardens_point_3laps': laps,
        'geometric check, gardens_point_3laps, seed 1': checks,
        'kitti00_first151, no revisit': no_revisit(*inputs),
        'relative views, kitti00_first151': views(*inputs),
    }
    for title, rows in results.items():
        show(title, rows)
    (arguments.out / 'results.json').write_text(
        json.dumps({**results, 'config': to_dict(config)}, indent=1))


if __name__ == '__main__':
    main()
