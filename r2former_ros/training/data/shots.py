# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Pictures to learn reranking from: places, and queries that see them from elsewhere.

A query knows which picture shows its place and where each patch is there. A picture gives a
mild view as a place, a query by a camera that turned, rolled, zoomed and shifted (a third of
them: the same view in strongly different light), and at times its mirror image, which is another
place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...records import Image
from ..augment import AugmentConfig, Matrix, change_appearance
from .partners import Points, Size, partners_by_homography

FIELD_OF_VIEW_DEG = 70.0
"""Horizontal field of view that pictures of unknown cameras are taken to have."""


@dataclass(frozen=True)
class Shot:
    """
    One picture uint8 (H, W, 3).

    Shots of one ``group`` may show one place, unless both have a ``place_m`` (x, y) and are far
    apart. A query has the number of the earlier shot that shows its place and the partners
    (2 P, 2): of its patches there, then of that shot's patches here.
    """

    image: Image
    group: str
    place_m: tuple[float, float] = (np.nan, np.nan)
    positive: int | None = None
    partners: Points | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Moves:
    """How far a camera moves at most: angles, zoom, and shift as a share of the image."""

    yaw_deg: float = 30.0
    pitch_deg: float = 10.0
    roll_deg: float = 15.0
    least_zoom: float = 0.8
    zoom: float = 2.0
    shift: float = 0.15


STILL = Moves(2.0, 2.0, 2.0, 0.96, 1.1, 0.035)
MOVED = Moves()
AS_PLACE = AugmentConfig(
    light=0.3, night=0.05, colour=0.3, grey=0.1, blur=0.1, coarse=0.15, occlusion=0.05, noise=0.1,
)
AS_QUERY = AugmentConfig(
    light=0.6, night=0.25, colour=0.4, grey=0.15, blur=0.2, coarse=0.2, occlusion=0.25, noise=0.2,
)
IN_OTHER_LIGHT = AugmentConfig(
    light=0.9, night=0.6, colour=0.6, grey=0.25, blur=0.25, coarse=0.3, occlusion=0.3, noise=0.3,
)
QUERIES, SAME_VIEW, MIRRORED = 0.8, 1 / 3, 0.2
"""Shares: of pictures with a query, of queries from the same view, of mirrored places."""


def shots_of_pictures(
    images: Iterable[Image], groups: Sequence[str], size: Size, seed: int
) -> Iterator[Shot]:
    """
    Yield the shots of pictures (H, W, 3), each picture's place first.

    :param groups: of ``group_of``.
    :param size: height and width of the shots.
    """
    rng, count = np.random.default_rng(seed), 0
    for picture, group in zip(images, groups, strict=True):
        shots = _shots_of(picture, group, size, rng, count)
        yield from shots
        count += len(shots)


def _shots_of(
    picture: Image, group: str, size: Size, rng: np.random.Generator, number: int
) -> list[Shot]:
    """Return a place, perhaps a query that looks for it, and perhaps its mirror image."""
    source = picture.shape[0], picture.shape[1]
    place_T_source = _camera_moved(STILL, source, size, rng)
    place = change_appearance(_warped(picture, place_T_source, size), AS_PLACE, rng)
    shots = [Shot(place, group)]
    if rng.random() < QUERIES:
        same_view = rng.random() < SAME_VIEW
        query_T_source = _camera_moved(STILL if same_view else MOVED, source, size, rng)
        query = change_appearance(_warped(picture, query_T_source, size),
                                  IN_OTHER_LIGHT if same_view else AS_QUERY, rng)
        ways = (query_T_source, place_T_source), (place_T_source, query_T_source)
        partners = [partners_by_homography(*way, source, size) for way in ways]
        shots.append(Shot(query, group, positive=number, partners=np.concatenate(partners)))
    if rng.random() < MIRRORED:
        shots.append(Shot(np.ascontiguousarray(place[:, ::-1]), f'{group}, mirrored {number}'))
    return shots


def group_of(path: Path) -> str:
    """
    Name the pictures that may show one place with this one.

    Frames of clips (``floor__clip_frame_7``): all clips before the same ``__``. Else all names
    that differ in their last number only.
    """
    if '_frame_' in path.stem:
        return '__'.join(path.stem.split('__')[-2:-1]) or path.stem.partition('_frame_')[0]
    return re.sub(r'\d+$', '', path.stem) or str(path)


def _camera_moved(
    moves: Moves, source: Size, size: Size, rng: np.random.Generator
) -> Matrix:
    """Draw the homography from a picture's pixels to those of a camera that moved."""
    height, width = size
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    focal_px = width / 2 / np.tan(np.radians(FIELD_OF_VIEW_DEG) / 2)
    camera = np.array([[focal_px, 0, centre[0]], [0, focal_px, centre[1]], [0, 0, 1]])
    limits = np.radians([moves.pitch_deg, moves.yaw_deg, moves.roll_deg])
    turn = _turned(rng.uniform(-1, 1, 3) * limits)
    zoom = np.exp(rng.uniform(np.log(moves.least_zoom), np.log(moves.zoom)))
    shift = rng.uniform(-1, 1, 2) * moves.shift * (width, height)
    x, y = (1 - zoom) * centre + shift
    zoomed = np.array([[zoom, 0, x], [0, zoom, y], [0, 0, 1]])
    down, across = height / source[0], width / source[1]
    resized = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    return np.asarray(zoomed @ camera @ turn @ np.linalg.inv(camera) @ resized)


def _turned(angles_rad: NDArray[np.float64]) -> Matrix:
    """Return a rotation by pitch, yaw and roll about x right, y down, z forward."""
    turn = np.eye(3)
    for axis, angle in zip((1, 0, 2), angles_rad[[1, 0, 2]], strict=True):
        vector = np.zeros(3)
        vector[axis] = angle
        turn = cv2.Rodrigues(vector)[0] @ turn
    return turn


def _warped(picture: Image, view_T_picture: Matrix, size: Size) -> Image:
    return np.asarray(cv2.warpPerspective(
        picture, view_T_picture, size[::-1], borderMode=cv2.BORDER_REFLECT_101), np.uint8)
