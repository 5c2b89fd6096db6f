# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a lot and a house to surfaces: walls, roofs and all that sticks out into the street."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ...records import Image
from .camera import Floats
from .facade import paint_blank, paint_front
from .light import Colour
from .materials import MATERIALS, TEXELS_PER_M, coloured, roof_tiles
from .streets import Lot
from .style import House
from .surfaces import TRIANGLE, Surface, Texture, box, plain, wall

FACES_STREET = Callable[[Floats], bool]
DETAIL_M = 55.0
PITCH = 0.72
"""Rise of a pitched roof over its run."""
MANSARD_M = (1.3, 2.5)
"""Run and rise of a mansard roof."""


def build(lot: Lot, house: House, faces_street: FACES_STREET) -> list[Surface]:
    """Build one house; ``faces_street`` tells whether a point (2,) in metres lies on a street."""
    surfaces = _walls(lot, house, faces_street) + _roof(lot, house) + _chimneys(lot, house)
    surfaces += _cornice(lot, house)
    if house.awning:
        surfaces += _awning(lot, house)
    if house.hanging_sign:
        surfaces += _hanging_sign(lot, house)
    if house.style.balconies and house.storeys > 2:
        surfaces += _balcony(lot, house)
    return surfaces


def build_tower(lot: Lot, house: House) -> list[Surface]:
    """Build what sets a tower apart: a shaft with a clock and a pointed roof."""
    side, rise = 4.6, house.height_m + 7.5
    corner = lot.corner_m + lot.along * (lot.width_m - side) / 2 + lot.inward * 0.6
    along, inward = lot.along * side, lot.inward * side
    shaft = Texture(lambda: paint_blank(house, side))
    surfaces = box(np.array([*corner, 0.0]), along_m=along, inward_m=inward, height_m=rise,
                   texture=shaft)  # fmt: skip
    clock = Texture(_paint_clock)
    a = corner + lot.along * 1.0 - lot.inward * 0.06
    surfaces.append(wall(a, a + lot.along * 2.6, bottom_m=rise - 3.4, top_m=rise - 0.8,
                         texture=clock, cut_out=True))  # fmt: skip
    return surfaces + _spire(corner, along, inward, rise, house)


def _spire(
    base: Floats, along: Floats, inward: Floats, bottom: float, house: House
) -> list[Surface]:
    ring = [base, base + along, base + along + inward, base + inward]
    texture = _tiled(house, 5.0, 6.0)
    to_middle = (along + inward) / 2
    faces = []
    for i in range(4):
        left, right = ring[i], ring[(i + 1) % 4]
        up = base + to_middle - (left + right) / 2
        faces.append(Surface(
            np.array([*left, bottom]), np.array([*(right - left), 0.0]), np.array([*up, 6.0]),
            texture, outline=TRIANGLE,
        ))  # fmt: skip
    return faces


def _paint_clock() -> Image:
    face: Image = np.zeros((96, 96, 4), np.uint8)
    face[..., :3] = (60, 54, 50)
    cv2.circle(face, (48, 48), 46, (60, 54, 50, 255), -1, cv2.LINE_AA)
    cv2.circle(face, (48, 48), 41, (238, 234, 220, 255), -1, cv2.LINE_AA)
    for hour in range(12):
        x, y = np.cos(hour * np.pi / 6), np.sin(hour * np.pi / 6)
        ends = [(int(48 + r * x), int(48 + r * y)) for r in (32, 38)]
        cv2.line(face, ends[0], ends[1], (40, 40, 40, 255), 3, cv2.LINE_AA)
    for tip in ((66, 30), (38, 34)):
        cv2.line(face, (48, 48), tip, (30, 30, 30, 255), 3, cv2.LINE_AA)
    return face


def _walls(lot: Lot, house: House, faces_street: FACES_STREET) -> list[Surface]:
    ring, found = lot.footprint(), []
    for i in range(4):
        left, right = ring[i], ring[(i + 1) % 4]
        width = float(np.linalg.norm(right - left))
        outward = -np.array([-(right - left)[1], (right - left)[0]]) / width
        # A side wall gets windows only where there is a street or a gap to look into.
        if i == 0 or faces_street((left + right) / 2 + 2.5 * outward):
            texture = _front(house, width, shop_front=i == 0)
        else:
            texture = _blank(house, width)
        found.append(wall(left, right, bottom_m=0.0, top_m=house.height_m, texture=texture))
    return found


def _front(house: House, width: float, *, shop_front: bool) -> Texture:
    return Texture(lambda: paint_front(house, width, shop_front=shop_front))


def _blank(house: House, width: float) -> Texture:
    return Texture(lambda: paint_blank(house, width))


def _gable(house: House, width: float, rise: float) -> Texture:
    def paint() -> Image:
        rng = np.random.default_rng([house.seed, 4])
        shape = (max(round(rise * TEXELS_PER_M), 8), max(round(width * TEXELS_PER_M), 8))
        stone = coloured(0.92 * MATERIALS[house.style.material](rng, shape), house.style.colour)
        return np.dstack([stone, np.zeros(shape, np.uint8)])

    return Texture(paint)


def _tiled(house: House, width: float, run: float) -> Texture:
    def paint() -> Image:
        rng = np.random.default_rng([house.seed, 3])
        shape = (max(round(run * TEXELS_PER_M), 8), max(round(width * TEXELS_PER_M), 8))
        tiles = coloured(roof_tiles(rng, shape), house.style.roof_colour)
        return np.dstack([tiles, np.zeros(shape, np.uint8)])

    return Texture(paint)


def _dormers(house: House, width: float, run: float) -> Texture:
    """Paint a mansard slope with windows in it."""
    tiled = _tiled(house, width, run)

    def paint() -> Image:
        image = tiled.level(0, 0).copy()
        per_m, count = TEXELS_PER_M, max(int(width / house.style.bay_m / 1.5), 1)
        top, bottom = int(0.22 * image.shape[0]), int(0.86 * image.shape[0])
        for i in range(count):
            middle = int((i + 0.5) * image.shape[1] / count)
            frame = (*house.style.trim, 0)
            cv2.rectangle(image, (middle - int(0.7 * per_m), top),
                          (middle + int(0.7 * per_m), bottom), frame, -1)  # fmt: skip
            glow = 150 if (house.seed >> i) & 1 else 0
            cv2.rectangle(image, (middle - int(0.5 * per_m), top + 10),
                          (middle + int(0.5 * per_m), bottom - 6),
                          (52, 60, 70, glow), -1)  # fmt: skip
            cv2.line(image, (middle, top + 10), (middle, bottom - 6), frame, 4)
        return image

    return Texture(paint)


def _roof(lot: Lot, house: House) -> list[Surface]:
    if house.style.roof == 'flat':
        return []
    if house.style.roof == 'mansard':
        return _mansard(lot, house)
    run = lot.depth_m / 2
    rise = run * PITCH
    tiles = _tiled(house, lot.width_m, float(np.hypot(run, rise)))
    ring, eaves = lot.footprint(), house.height_m
    gable = _gable(house, lot.depth_m, rise)
    faces = [
        Surface(np.array([*ring[i], eaves]), np.array([*(ring[i + 1] - ring[i]), 0.0]),
                np.array([*(sign * lot.inward * run), rise]), tiles)
        for i, sign in ((0, 1), (2, -1))
    ]  # fmt: skip
    for i, j in ((1, 2), (3, 0)):
        faces.append(wall(ring[i], ring[j], bottom_m=eaves, top_m=eaves + rise, texture=gable,
                          outline=TRIANGLE))  # fmt: skip
    return faces


def _mansard(lot: Lot, house: House) -> list[Surface]:
    (run, rise), ring, eaves = MANSARD_M, lot.footprint(), house.height_m
    slope = _dormers(house, lot.width_m, rise)
    side = plain(tuple(0.8 * c for c in house.style.roof_colour))
    share = run / lot.depth_m
    trapezoid = np.array([[0, 0], [1, 0], [1 - share, 1], [share, 1]])
    faces = [
        Surface(np.array([*ring[i], eaves]), np.array([*(ring[i + 1] - ring[i]), 0.0]),
                np.array([*(sign * lot.inward * run), rise]), slope)
        for i, sign in ((0, 1), (2, -1))
    ]  # fmt: skip
    for i, j in ((1, 2), (3, 0)):
        faces.append(wall(ring[i], ring[j], bottom_m=eaves, top_m=eaves + rise, texture=side,
                          outline=trapezoid))  # fmt: skip
    return faces


def roof_top_m(lot: Lot, house: House) -> float:
    """Give the mean height of the roof, for the shadow that the house casts."""
    extra = {'flat': 0.0, 'pitched': lot.depth_m * PITCH / 3, 'mansard': MANSARD_M[1]}
    return house.height_m + extra[house.style.roof]


def _chimneys(lot: Lot, house: House) -> list[Surface]:
    rng = np.random.default_rng([house.seed, 9])
    texture, found = plain(tuple(0.75 * c for c in house.style.trim)), []
    for _ in range(int(rng.integers(0, 3))):
        at = lot.along * rng.uniform(0.8, max(lot.width_m - 1.6, 0.9))
        corner = lot.corner_m + at + lot.inward * lot.depth_m * rng.uniform(0.3, 0.55)
        top = roof_top_m(lot, house) + rng.uniform(1.6, 2.8) - house.height_m
        base, wide = np.array([*corner, house.height_m]), rng.uniform(0.6, 1.3)
        found += box(base, along_m=lot.along * wide, inward_m=lot.inward * 0.6, height_m=top,
                     texture=texture)[:4]  # fmt: skip
    return found


def _cornice(lot: Lot, house: House) -> list[Surface]:
    out, tall = 0.32, 0.34
    base = np.array([*(lot.corner_m - lot.inward * out), house.height_m - tall])
    sides = box(base, along_m=lot.along * lot.width_m, inward_m=lot.inward * out, height_m=tall,
                texture=plain(house.style.trim), reach_m=120.0)  # fmt: skip
    under = plain(tuple(0.6 * c for c in house.style.trim))
    return [sides[0], sides[1], sides[3], _soffit(base, lot, lot.width_m, out, under)]


def _soffit(base: Floats, lot: Lot, width: float, out: float, texture: Texture) -> Surface:
    """Close a box from below, seen from the street."""
    return Surface(
        base + np.array([*(lot.inward * out), 0.0]), np.array([*(lot.along * width), 0.0]),
        np.array([*(-lot.inward * out), 0.0]), texture, reach_m=DETAIL_M,
    )  # fmt: skip


def _stripes(colour: Colour, count: int) -> Texture:
    def paint() -> Image:
        image: Image = np.full((24, count * 24, 4), 0, np.uint8)
        image[..., :3] = (232, 228, 216)
        for i in range(0, count, 2):
            image[:, i * 24 : (i + 1) * 24, :3] = colour
        return image

    return Texture(paint)


def _awning(lot: Lot, house: House) -> list[Surface]:
    """Spread a striped awning over the shop window, with a valance in front."""
    width, out, low, high = lot.width_m - 0.8, 1.25, 2.45, 2.98
    texture = _stripes(house.accent, max(int(width / 0.4), 3))
    left = lot.corner_m + lot.along * 0.4 - lot.inward * out
    right = left + lot.along * width
    slope = Surface(
        np.array([*left, low]), np.array([*(right - left), 0.0]),
        np.array([*(lot.inward * out), high - low]), texture, reach_m=90.0,
    )  # fmt: skip
    valance = wall(left, right, bottom_m=low - 0.28, top_m=low, texture=texture, reach_m=90.0)
    base = np.array([*left, low])
    return [slope, valance, _soffit(base, lot, width, out, plain((96, 92, 86)))]


def _hanging_sign(lot: Lot, house: House) -> list[Surface]:
    """Hang a sign across the pavement, with its text on both faces."""

    def paint() -> Image:
        image: Image = np.full((72, 96, 4), 90, np.uint8)
        image[..., :3] = house.accent
        cv2.rectangle(image, (3, 3), (92, 68), (238, 228, 200, 90), 2)
        word = house.sign.split()[-1][:8]
        scale = 0.62 * 6 / max(len(word), 4)
        ink = (30, 30, 30, 90) if sum(house.accent) > 420 else (248, 240, 214, 200)
        cv2.putText(image, word, (9, 44), cv2.FONT_HERSHEY_DUPLEX, scale, ink, 1, cv2.LINE_AA)
        return image

    texture = Texture(paint)
    near = lot.corner_m + lot.along * 0.35 - lot.inward * 0.15
    far = near - lot.inward * 1.1
    low, high = house.ground_m + 0.1, house.ground_m + 0.95
    return [
        wall(a, b, bottom_m=low, top_m=high, texture=texture, reach_m=DETAIL_M)
        for a, b in ((near, far), (far, near))
    ]


def _balcony(lot: Lot, house: House) -> list[Surface]:
    """Hang a long balcony with a railing over the middle of the front."""
    width, out = lot.width_m * 0.5, 0.95
    floor = house.ground_m + house.style.storey_m + 0.1
    left = lot.corner_m + lot.along * (lot.width_m - width) / 2 - lot.inward * out
    slab = box(np.array([*left, floor]), along_m=lot.along * width, inward_m=lot.inward * out,
               height_m=0.2, texture=plain(house.style.trim), reach_m=DETAIL_M)  # fmt: skip
    rails = _railing(house.style.frame, width)
    right, back = left + lot.along * width, lot.inward * out
    edges = [(left, right), (right, right + back), (left + back, left)]
    fence = [
        wall(a, b, bottom_m=floor + 0.2, top_m=floor + 1.2, texture=rails, cut_out=True,
             reach_m=DETAIL_M)
        for a, b in edges
    ]  # fmt: skip
    soffit = _soffit(np.array([*left, floor]), lot, width, out, plain((92, 90, 86)))
    return [slab[0], slab[1], slab[3], soffit, *fence]


def _railing(colour: Colour, width: float) -> Texture:
    def paint() -> Image:
        image: Image = np.zeros((40, max(int(width * 40), 8), 4), np.uint8)
        image[..., :3] = colour
        image[:3, :, 3] = image[-3:, :, 3] = 255
        image[:, ::5, 3] = image[:, 1::5, 3] = 255
        return image

    return Texture(paint)
