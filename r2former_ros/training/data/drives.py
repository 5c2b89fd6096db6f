# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Places from drives: posed frames of ROS 2 bags, matched by distance and heading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ...common.files import digest_of
from ...common.left_out import LeftOut
from ...config import Config
from ...errors import DatasetError
from ...geometry.poses import angle_deg
from ...mapping.keyframes import KeyframeRule
from ...records import Image
from ...sources.bags import Bag
from ...sources.datasets import PlaceSet
from ...sources.frames import frames_of_bag, trajectory_of
from ..recipe import Recipe
from .image_store import Images, Rows, Size, StoredImages, store_images
from .sources import Source

REVISIT_S = 30.0
"""Frames of one bag closer in time belong to the same visit."""


@dataclass(frozen=True)
class Drive:
    """A bag with the topics of its images and poses; None: its only image topic."""

    bag: str
    image_topic: str | None = None
    pose_topic: str | None = None
    trajectory: str | None = None


@dataclass(frozen=True)
class DriveFrames:
    """Frames of all drives: N names, drive numbers, stamps and poses (N, 4, 4), and images."""

    names: tuple[str, ...]
    drive: NDArray[np.int64]
    stamp_ns: NDArray[np.int64]
    poses: NDArray[np.float64]
    images: Images


def read_drives(
    drives: Sequence[Drive], folder: Path, size: Size, config: Config, *,
    antialias: bool, left_out: LeftOut,
) -> DriveFrames:
    """
    Read the keyframes of bags (``map.keyframe_*``) once; a later call finds them in the folder.

    :param left_out: gets one line for each frame that is left out.
    :raises BagError: if a bag, a topic or a trajectory cannot be read.
    """
    key = digest_of(*drives, *(_version(one) for one in drives), size, antialias, config.map)
    path, sidecar = folder / f'images-{key}.u8', folder / f'frames-{key}.npz'
    if not (path.exists() and sidecar.exists()):
        rows: list[tuple[str, int, int, Any]] = []
        images = _read_all(drives, config, rows, left_out.add)
        store_images(images, path, size, antialias=antialias)
        if not rows:
            raise DatasetError(f'{", ".join(one.bag for one in drives)}: no frame can be used; '
                               f'{left_out.summary()}')
        names, drive, stamps, poses = zip(*rows, strict=True)
        np.savez(sidecar, names=np.array(names), drive=np.array(drive, np.int64),
                 stamp_ns=np.array(stamps, np.int64), poses=np.stack(poses))
    with np.load(sidecar) as saved:
        return DriveFrames(tuple(saved['names'].tolist()), saved['drive'], saved['stamp_ns'],
                           saved['poses'], StoredImages(path, size))


def _version(drive: Drive) -> float:
    path = Path(drive.bag)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return max((one.stat().st_mtime for one in files if one.exists()), default=0.0)


def _read_all(
    drives: Iterable[Drive], config: Config, rows: list[tuple[str, int, int, Any]],
    on_bad: Callable[[str], None],
) -> Iterator[Image]:
    """Yield the images of keyframes; name, drive, stamp and pose of each go into ``rows``."""
    for number, drive in enumerate(drives):
        rule = KeyframeRule(config.map)
        with Bag(drive.bag) as bag:
            topic = drive.image_topic or bag.default_image_topic()
            trajectory = trajectory_of(bag, drive.pose_topic, drive.trajectory)
            for posed in frames_of_bag(bag, topic, trajectory, on_bad):
                if rule.takes(posed):
                    stamp = posed.frame.stamp_ns
                    rows.append((posed.source, number, stamp, posed.map_T_camera))
                    yield posed.frame.image


def places_of(
    frames: DriveFrames, queries: Rows, database: Rows, recipe: Recipe
) -> PlaceSet:
    """
    Find which frames show the same place, by the radii and the angle of the recipe.

    A positive is nearby, has a similar heading, and is from another visit: another drive, or half
    a minute apart. Frames within ``same_place_radius_m`` are never negatives.

    :param queries: rows of ``frames`` that ask; ``database`` those that answer.
    """
    xyz = frames.poses[:, :3, 3]
    tree = cKDTree(xyz[database])
    near, wide = (
        tree.query_ball_point(xyz[queries], radius)
        for radius in (recipe.positive_radius_m,
                       max(recipe.positive_radius_m, recipe.same_place_radius_m))
    )
    positives = [
        np.array([one for one in sorted(found)
                  if _shows_again(frames, row, database[one], recipe.positive_angle_deg)],
                 np.int64)
        for row, found in zip(queries, near, strict=True)
    ]
    same = tuple(np.array(sorted(found), np.int64) for found in wide)
    ask, answer = (tuple(Path(frames.names[row]) for row in rows) for rows in (queries, database))
    return PlaceSet(ask, answer, tuple(positives), same)


def _shows_again(frames: DriveFrames, row: int, other: int, largest_deg: float) -> bool:
    apart_s = abs(int(frames.stamp_ns[row]) - int(frames.stamp_ns[other])) * 1e-9
    revisited = bool(frames.drive[row] != frames.drive[other]) or apart_s >= REVISIT_S
    return revisited and angle_deg(frames.poses[row], frames.poses[other]) <= largest_deg


def held_out(frames: DriveFrames, share: float, same_place_radius_m: float) -> NDArray[np.bool_]:
    """Mark (N,) the last part of the first drive, and all frames near it."""
    first = np.flatnonzero(frames.drive == 0)
    last = first[len(first) - round(share * len(first)) :]
    if not len(last):
        return np.zeros(len(frames.drive), bool)
    distance, _ = cKDTree(frames.poses[last, :3, 3]).query(frames.poses[:, :3, 3])
    return np.asarray(distance <= same_place_radius_m)


@dataclass(frozen=True)
class RowsOf:
    """Some rows of other images."""

    images: Images
    rows: Rows

    def __getitem__(self, row: int) -> Image:
        """Return one picture."""
        return self.images[int(self.rows[row])]


def drive_sources(
    frames: DriveFrames, size: Size, recipe: Recipe, hold_out: float = 0.0
) -> tuple[Source, Source | None]:
    """
    Return what to learn from, and what to validate on: held-out places, against whole drives.

    :param hold_out: share of the first drive whose places are held out; 0: no validation.
    :raises DatasetError: if no frame has a positive.
    """
    out = held_out(frames, hold_out, recipe.same_place_radius_m)
    learned = np.flatnonzero(~out)
    source = _source(frames, learned, learned, size, recipe)
    if not out.any():
        return source, None
    several = bool(frames.drive.max())
    asked = np.flatnonzero(out & (frames.drive > 0) if several else out)
    answers = np.flatnonzero(frames.drive == 0) if several else np.arange(len(out))
    return source, _source(frames, asked, answers, size, replace(recipe, augment='none'))


def _source(
    frames: DriveFrames, queries: Rows, database: Rows, size: Size, recipe: Recipe
) -> Source:
    places = places_of(frames, queries, database, recipe)
    kept = queries[[len(rows) > 0 for rows in places.positives]]
    if not len(kept):
        raise DatasetError(
            f'no frame has one of another visit within {recipe.positive_radius_m:g} m and '
            f'{recipe.positive_angle_deg:g} deg; are all poses in one frame?')
    return Source(places.with_positives_only(), RowsOf(frames.images, kept),
                  RowsOf(frames.images, database), size, recipe.augment)
