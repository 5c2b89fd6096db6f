# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Carry a robot from one part of the map to another, many times, and count how long it stays lost.

    python benchmarks/kidnap.py --data DATA --out OUT [--laps 0 1] [--jumps 40] [--set NAME=VALUE]

The map is one lap of DATA/sequences/gardens_point_3laps.csv; the images of another lap are
recognised once, and the filter alone sees them again for each jump: 30 images from one part of the
lap, then 60 from another, at least 50 m away, with simulated odometry that knows nothing of the
jump, and without. Images of other places (--foreign, folders) must never be localized.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from loop_closure import Drive, drifting, gardens_point
from numpy.typing import NDArray
from tqdm import tqdm

from r2former_ros.cli.options import parse_setting
from r2former_ros.config import Config, DecisionConfig, with_values
from r2former_ros.decision import PlaceFilter, pose_covariance
from r2former_ros.geometry.poses import distance_m, inverse
from r2former_ros.mapping.build import build_map
from r2former_ros.model.loading import load_configured
from r2former_ros.recognizer import Recognizer
from r2former_ros.records import Belief, Frame, Hypothesis, Pose, PosedFrame, StampedPose, State
from r2former_ros.sources.datasets import pictures_in
from r2former_ros.sources.pictures import read_image

BEFORE, AFTER = 30, 60
FAR_M = 50.0
"""A jump leads at least so far."""
RIGHT_M = 10.0
"""A localization is right within this distance, and wrong beyond twice that."""
PER_LAP = 200
SEED = 1
ELLIPSE = 5.991
"""The square of the 95 % ellipse's radius, in deviations."""
Seen = tuple[Sequence[Hypothesis], NDArray[np.float64]]
"""What is to be decided on: hypotheses and their evidence."""
Decided = tuple[State, Belief | None]


def lap_of(drive: Drive, lap: int) -> Drive:
    """Return the pictures and poses of one lap."""
    part = slice(lap * PER_LAP, (lap + 1) * PER_LAP)
    return replace(drive, files=drive.files[part], truth=drive.truth[part])


def opened(lap: Drive, path: Path, config: Config) -> Recognizer:
    """Build the map of a lap, if that was not done yet, and open it."""
    model = load_configured(config)
    if not path.exists():
        frames = (PosedFrame(Frame(pose.stamp_ns, read_image(file)), pose.pose, file.name)
                  for file, pose in zip(lap.files, lap.truth, strict=True))
        build_map(model, path, tqdm(frames, desc='map', total=len(lap.files)), config)
    return Recognizer.open(path, config, model)


def seen_in(recognizer: Recognizer, files: Sequence[Path], title: str) -> list[Seen]:
    """Search for pictures, each by itself."""
    search, seen = recognizer.search, []
    for file in tqdm(files, desc=title):
        query = search.encode(search.prepare(Frame(0, read_image(file))))
        _, trusted = search.verify(query, search.rerank(query, search.retrieve(query)))
        seen.append((trusted, recognizer.judge.judge(query, trusted).evidence))
    return seen


def decided(
    recognizer: Recognizer, seen: Sequence[Seen], odometry: Sequence[Pose | None]
) -> list[Decided]:
    """Return what a new filter says of each image."""
    config: DecisionConfig = recognizer.config.decision
    decision = PlaceFilter(recognizer.search.places, config)
    return [decision.decide(hypotheses, evidence, odom_T_camera)
            for (hypotheses, evidence), odom_T_camera in zip(seen, odometry, strict=True)]


def error_m(belief: Belief | None, truth: StampedPose) -> float:
    """Return how far the most probable place is from the truth; infinite without one."""
    place = belief.place.map_T_camera if belief else None
    return np.inf if place is None else distance_m(place, truth.pose)


def report_covariance(recognizer: Recognizer, lap: Drive, seen: Sequence[Seen]) -> None:
    """Print for a lap without jumps how often the ellipse of the pose holds the truth."""
    drifted = [pose.pose for pose in drifting(lap.truth, SEED)]
    errors_m, deviations_m, inside = [], [], 0
    for odometry in ([None] * len(seen), drifted):
        for (state, belief), truth in zip(
                decided(recognizer, seen, odometry), lap.truth, strict=True):
            if state is not State.LOCALIZED or belief is None:
                continue
            covariance_m2 = pose_covariance(belief, recognizer.config.decision)[:2, :2]
            off_m = (truth.pose - belief.place.map_T_camera)[:2, 3]
            inside += int(off_m @ np.linalg.solve(covariance_m2, off_m) <= ELLIPSE)
            errors_m.append(np.linalg.norm(off_m))
            deviations_m.append(np.sqrt(np.trace(covariance_m2) / 2))
    if not errors_m:
        print('without jumps no image is localized')
        return
    low, high = np.percentile(deviations_m, (10, 90))
    print(f'without jumps {len(errors_m)} images are localized, the 95 % ellipse holds the truth '
          f'of {inside}; deviations {low:.1f} to {high:.1f} m (10 to 90 %), errors '
          f'{np.percentile(errors_m, 90):.1f} m (90 %), {max(errors_m):.1f} m at most')


def jumps(lap: Drive, count: int) -> list[list[int]]:
    """Choose rows of a lap, a closed loop: before the jump, then after it."""
    rng, size, chosen = np.random.default_rng(SEED), len(lap.files), []
    while len(chosen) < count:
        start, end = rng.integers(0, size, 2)
        if distance_m(lap.truth[start].pose, lap.truth[end].pose) >= FAR_M:
            rows = [*range(start - BEFORE, start), *range(end, end + AFTER)]
            chosen.append([int(row % size) for row in rows])
    return chosen


def odometry_of(truth: Sequence[StampedPose], seed: int) -> list[Pose]:
    """Simulate odometry before and after a jump, which it does not notice."""
    one, two = (drifting(part, seed) for part in (truth[:BEFORE], truth[BEFORE:]))
    carried = one[-1].pose @ inverse(two[0].pose)
    return [*(pose.pose for pose in one), *(carried @ pose.pose for pose in two)]


def report(recognizer: Recognizer, lap: Drive, seen: Sequence[Seen], count: int) -> None:
    """Print how soon a jump is noticed, and how soon the robot is localized rightly again."""
    for with_odometry in (False, True):
        noticed, found, wrong = [], [], 0
        for seed, rows in enumerate(jumps(lap, count)):
            truth = [lap.truth[row] for row in rows]
            odometry = odometry_of(truth, seed) if with_odometry else [None] * len(rows)
            after = decided(recognizer, [seen[row] for row in rows], odometry)[BEFORE:]
            localized = [state is State.LOCALIZED for state, _ in after]
            errors_m = [error_m(belief, pose) for (_, belief), pose in zip(
                after, truth[BEFORE:], strict=True)]
            right = [one and error <= RIGHT_M
                     for one, error in zip(localized, errors_m, strict=True)]
            noticed.append(localized.index(False) + 1 if False in localized else AFTER + 1)
            found.append(right.index(True) + 1 if True in right else AFTER + 1)
            left = noticed[-1] - 1
            wrong += sum(one and error > 2 * RIGHT_M for one, error in zip(
                localized[left:], errors_m[left:], strict=True))
        shares = '  '.join(f'{limit}: {np.mean(np.array(found) <= limit):.2f}'
                           for limit in (10, 20, 30, 40, AFTER))
        print(f'{"with" if with_odometry else "without"} odometry: {count} jumps; not localized '
              f'after {np.median(noticed):g} images (most {max(noticed)}); found after '
              f'{np.median(found):g} (median), by image {shares}; wrong images {wrong}')


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--laps', type=int, nargs=2, default=(0, 1), help='of the map, driven')
    parser.add_argument('--jumps', type=int, default=40)
    parser.add_argument('--foreign', type=Path, nargs='*', default=[], metavar='DIR')
    parser.add_argument('--set', action='append', default=[], type=parse_setting,
                        metavar='NAME=VALUE')
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    config = with_values(Config(), dict(arguments.set))
    drive = gardens_point(arguments.data)
    mapped, driven = (lap_of(drive, lap) for lap in arguments.laps)
    recognizer = opened(mapped, arguments.out / f'lap_{arguments.laps[0]}.r2map', config)
    seen = seen_in(recognizer, driven.files, 'lap')
    report_covariance(recognizer, driven, seen)
    report(recognizer, driven, seen, arguments.jumps)
    for folder in arguments.foreign:
        files = pictures_in(folder)
        seen = seen_in(recognizer, files, folder.name)
        track = [pose.pose for pose in drifting(driven.truth, SEED)]
        moving = [track[row % len(track)] for row in range(len(files))]
        counts = [sum(state is State.LOCALIZED for state, _ in decided(recognizer, seen, odometry))
                  for odometry in ([None] * len(files), moving)]
        print(f'{folder.name}: of {len(files)} images {counts[0]} localized, with the odometry of '
              f'a lap {counts[1]}')


if __name__ == '__main__':
    main()
