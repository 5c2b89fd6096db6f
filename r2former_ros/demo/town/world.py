# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The standing town and the traffic of one lap, as surfaces."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ...records import Image
from .buildings import build, build_tower
from .camera import Floats
from .ground import ground_surface
from .props import LAMP_M, billboard, car, lamp_texture, person_texture, tree_texture
from .relief import CELLS_PER_M, Relief
from .streets import ROAD_HALF_M, STREET_HALF_M, Lot, Plan, Street, left_of
from .style import House, make_house, make_style
from .surfaces import Surface, Texture, box, plain, wall

Lots = list[tuple[Lot, House]]
STYLES = 8


def make_houses(plan: Plan, rng: np.random.Generator) -> Lots:
    """Give every lot a house in one of the few styles of this town."""
    styles = [make_style(rng) for _ in range(STYLES)]
    return [(lot, make_house(rng, styles, busy=rng.random() < 0.7)) for lot in plan.lots]


def standing(plan: Plan, houses: Lots, seed: int) -> tuple[list[Surface], Relief]:
    """Build all that is the same on every lap, and its height map."""
    rng = np.random.default_rng([seed, 2])
    trees, surfaces = [tree_texture(seed * 8 + i) for i in range(6)], [ground_surface(plan, seed)]
    surfaces += _backdrop(plan, rng)
    feet: list[Floats] = []
    for lot, house in houses:
        if lot.kind == 'garden':
            surfaces += _garden_wall(lot, house)
            feet += [lot.corner_m + lot.along * lot.width_m * u + lot.inward * v
                     for u, v in ((0.2, 2.5), (0.55, 5.0), (0.85, 2.8))]  # fmt: skip
            continue
        surfaces += build(lot, house, lambda p: _distance_m(plan.streets, p) < STREET_HALF_M + 4.0)
        if lot.kind == 'tower':
            surfaces += build_tower(lot, house)
    feet += _avenue(plan, rng)
    for foot in feet:
        size = rng.uniform(0.75, 1.15)
        surfaces.append(billboard(foot, width_m=4.4 * size, height_m=6.6 * size,
                                  texture=trees[int(rng.integers(6))]))  # fmt: skip
    lamps = _lamps(plan)
    post = lamp_texture()
    surfaces += [billboard(lamp[:2], width_m=0.8, height_m=LAMP_M, texture=post, reach_m=120.0)
                 for lamp in lamps]  # fmt: skip
    return surfaces, _relief(plan, houses, feet, lamps)


def traffic(plan: Plan, seed: int, lap: int) -> list[Surface]:
    """Park the cars and set out the people of one lap."""
    rng, surfaces = np.random.default_rng([seed, 4, lap]), []
    walkers = [person_texture(int(rng.integers(2**31))) for _ in range(12)]
    for street in plan.streets:
        for side in (1.0, -1.0):
            for at in np.arange(8.0, street.length_m - 8, 6.3):
                surfaces += _parked(plan, street, side, float(at + rng.uniform(0, 0.8)), rng)
        surfaces += _walkers(plan, street, walkers, rng)
    return surfaces


def _parked(
    plan: Plan, street: Street, side: float, at_m: float, rng: np.random.Generator
) -> list[Surface]:
    """Fill a parking place in four cases of ten; no one parks in a junction."""
    aside = left_of(street.direction) * side * (ROAD_HALF_M - 1.0)
    rear = street.start_m + street.direction * at_m + aside
    front = rear + street.direction * 5.0
    if rng.random() > 0.42 or not all(_off_road(plan, street, p, 3.5) for p in (rear, front)):
        return []
    # Traffic keeps right, so cars on the left side are parked the other way round.
    return car(front if side > 0 else rear, -side * street.direction, rng)


def _walkers(
    plan: Plan, street: Street, textures: list[Texture], rng: np.random.Generator
) -> list[Surface]:
    found = []
    for _ in range(int(street.length_m / 12)):
        offset = rng.choice([-1, 1]) * rng.uniform(ROAD_HALF_M + 0.4, STREET_HALF_M - 0.7)
        foot = street.start_m + street.direction * rng.uniform(4, street.length_m - 4)
        foot = foot + left_of(street.direction) * offset
        tall, texture = rng.uniform(1.55, 1.9), textures[int(rng.integers(len(textures)))]
        if _off_road(plan, street, foot, 0.3):
            found.append(
                billboard(foot, width_m=0.8, height_m=tall, texture=texture, reach_m=80.0)
            )
    return found


def _off_road(plan: Plan, own: Street, point_m: Floats, margin_m: float) -> bool:
    """Tell whether a point beside its own street keeps clear of the others and of the route."""
    others = [street for street in plan.streets if street is not own]
    if _distance_m(others, point_m) < ROAD_HALF_M + margin_m:
        return False
    return bool(np.linalg.norm(plan.route - point_m, axis=1).min() > 1.9)


def _distance_m(streets: list[Street], point_m: Floats) -> float:
    """Give the distance from a point (2,) to the nearest middle line."""
    starts = np.array([street.start_m for street in streets])
    edges = np.array([street.end_m for street in streets]) - starts
    share = ((point_m - starts) * edges).sum(axis=1) / (edges * edges).sum(axis=1)
    feet = starts + share.clip(0, 1)[:, None] * edges
    return float(np.linalg.norm(feet - point_m, axis=1).min())


def _garden_wall(lot: Lot, house: House) -> list[Surface]:
    """Close an open lot with a low wall and a hedge behind it."""
    base = np.array([*lot.corner_m, 0.0])
    stone = plain(tuple(0.85 * c for c in house.style.trim))
    low = box(base, along_m=lot.along * lot.width_m, inward_m=lot.inward * 0.35, height_m=0.7,
              texture=stone)  # fmt: skip
    back = np.array([*(lot.corner_m + lot.inward * 0.36), 0.0])
    hedge = box(back, along_m=lot.along * lot.width_m, inward_m=lot.inward * 0.8, height_m=1.25,
                texture=_hedge(house.seed, lot.width_m))  # fmt: skip
    return low + hedge


def _hedge(seed: int, width_m: float) -> Texture:
    def paint() -> Image:
        rng = np.random.default_rng([seed, 8])
        shape = (44, int(width_m * 36), 1)
        leaves = np.repeat(rng.uniform(0.45, 1.2, shape), 4, axis=2) * (70, 98, 48, 0)
        return np.asarray(cv2.GaussianBlur(leaves.astype(np.uint8), (0, 0), 0.8), np.uint8)

    return Texture(paint)


def _avenue(plan: Plan, rng: np.random.Generator) -> list[Floats]:
    """Plant trees along some sides of some streets: their feet (2,)."""
    feet = []
    for street in plan.streets:
        for side in (1.0, -1.0):
            planted, gap = rng.random() < 0.34, rng.uniform(10, 15)
            for at in np.arange(11.0, street.length_m - 10, gap) if planted else ():
                aside = left_of(street.direction) * side * (ROAD_HALF_M + 0.75)
                feet.append(street.start_m + street.direction * at + aside)
                if not _off_road(plan, street, feet[-1], 1.0):
                    feet.pop()
    return feet


def _lamps(plan: Plan) -> Floats:
    """Set lamp posts on both pavements by turns: lanterns (L, 3) in metres."""
    lamps = []
    for street in plan.streets:
        for i, at in enumerate(np.arange(8.5, street.length_m - 5, 15.5)):
            aside = left_of(street.direction) * (1 if i % 2 else -1) * (ROAD_HALF_M + 0.5)
            foot = street.start_m + street.direction * at + aside
            if _off_road(plan, street, foot, 0.3):
                lamps.append([*foot, LAMP_M - 0.4])
    return np.array(lamps).reshape(-1, 3)


def _relief(plan: Plan, houses: Lots, trees_m: list[Floats], lamps_m: Floats) -> Relief:
    """Draw the height map that shadows are computed from."""
    low, high = plan.bounds_m()
    columns, rows = ((high - low) * CELLS_PER_M).astype(int)
    heights: NDArray[np.float32] = np.zeros((rows, columns), np.float32)
    for foot in trees_m:
        cell = np.round((foot - low) * CELLS_PER_M).astype(int).tolist()
        cv2.circle(heights, cell, round(1.5 * CELLS_PER_M), 5.0, -1)
    for lot, house in houses:
        if lot.kind != 'garden':
            cells = np.round((lot.footprint() - low) * CELLS_PER_M - 0.5).astype(np.int32)
            cv2.fillPoly(heights, [cells], house.height_m)
    return Relief(low, heights, lamps_m)


def _backdrop(plan: Plan, rng: np.random.Generator) -> list[Surface]:
    """Hang the outskirts around the town: far roofs and hills on four tall cut-outs."""
    low, high = plan.bounds_m()
    ring = [low, np.array([high[0], low[1]]), high, np.array([low[0], high[1]])]
    return [
        wall(ring[(i + 1) % 4], ring[i], bottom_m=0.0, top_m=22.0, cut_out=True,
             texture=_outskirts(int(rng.integers(2**31))))
        for i in range(4)
    ]  # fmt: skip


def _outskirts(seed: int) -> Texture:
    def paint() -> Image:
        rng = np.random.default_rng(seed)
        image: Image = np.zeros((132, 1200, 4), np.uint8)
        image[..., :3] = (96, 112, 92)
        hills = 70 - 34 * np.interp(np.arange(1200), np.linspace(0, 1200, 9), rng.random(9))
        for x, top in enumerate(hills.astype(int)):
            image[top:, x] = (92, 112, 88, 255)
        for x in rng.integers(0, 1200, 150):
            wide, top = int(rng.integers(16, 44)), int(rng.integers(52, 104))
            tone = rng.uniform(110, 196)
            colour = (tone, 0.95 * tone, 0.88 * tone, 255)
            roof = (0.72 * tone, 0.55 * tone, 0.48 * tone, 255)
            image[top:, x : x + wide] = colour
            ridge = np.array([(x - 2, top), (x + wide // 2, top - wide // 4), (x + wide + 2, top)])
            cv2.fillConvexPoly(image, ridge.astype(np.int32), roof)
            for wx in range(int(x) + 3, int(x) + wide - 4, 7):
                image[top + 5 : top + 10, wx : min(wx + 3, 1200), :3] = (70, 76, 84)
        return image

    return Texture(paint)
