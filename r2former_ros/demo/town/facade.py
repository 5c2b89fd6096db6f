# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Painting the front of a house: walls, windows, doors, shops and their signs."""

from __future__ import annotations

import cv2
import numpy as np

from ...records import Image
from .light import Colour
from .materials import MATERIALS, TEXELS_PER_M, coloured, weathered
from .style import House

BLACK: Colour = (24, 24, 26)
LIT: Colour = (255, 206, 130)


class Canvas:
    """
    An upright wall to paint on, in metres from its lower left corner; y points up.

    ``image`` is (H, W, 4) uint8, sRGB and glow, with the top of the wall in row 0.
    """

    def __init__(self, colour: Image) -> None:
        glow: Image = np.zeros((*colour.shape[:2], 1), np.uint8)
        self.image: Image = np.ascontiguousarray(np.concatenate([colour, glow], axis=2))
        self.width_m = colour.shape[1] / TEXELS_PER_M
        self.height_m = colour.shape[0] / TEXELS_PER_M

    def area(self, x: float, y: float, w: float, h: float) -> Image:
        """Give the view of the image under a rectangle with lower left corner x, y."""
        top, bottom = (round((self.height_m - v) * TEXELS_PER_M) for v in (y + h, y))
        left, right = (round(v * TEXELS_PER_M) for v in (x, x + w))
        return self.image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]

    def fill(self, x: float, y: float, w: float, h: float, colour: Colour, glow: int = 0) -> None:
        """Fill a rectangle."""
        self.area(x, y, w, h)[:] = np.array([*colour, glow], np.float64).clip(0, 255)

    def shade(self, x: float, y: float, w: float, h: float, gain: float) -> None:
        """Darken or brighten what is there."""
        area = self.area(x, y, w, h)
        area[..., :3] = (area[..., :3] * np.float32(gain)).clip(0, 255)

    def ledge(self, x: float, y: float, w: float, h: float, colour: Colour) -> None:
        """Fill a moulding that sticks out: a bright upper edge and a shadow below."""
        self.shade(x, y - 0.9 * h - 0.05, w, 0.9 * h + 0.05, 0.7)
        self.fill(x, y, w, h, colour)
        self.shade(x, y + 0.72 * h, w, 0.28 * h, 1.15)

    def text(self, x: float, y: float, w: float, h: float, words: str, colour: Colour) -> None:
        """Write one line as large as the rectangle allows, in its middle."""
        area = self.area(x, y, w, h)
        if not words or min(area.shape[:2]) < 6:
            return
        font, thick = cv2.FONT_HERSHEY_DUPLEX, max(1, area.shape[0] // 9)
        (wide, tall), _ = cv2.getTextSize(words, font, 1.0, thick)
        scale = min(0.9 * area.shape[1] / wide, 0.62 * area.shape[0] / tall)
        at = (int((area.shape[1] - wide * scale) / 2), int((area.shape[0] + tall * scale) / 2))
        ink = np.ascontiguousarray(area)
        cv2.putText(ink, words, at, font, scale, (*colour, 160), thick, cv2.LINE_AA)
        area[:] = ink


def paint_front(house: House, width_m: float, *, shop_front: bool = True) -> Image:
    """Paint a street front (H, W, 4); a side wall on a street is a front without the shop."""
    rng = np.random.default_rng([house.seed, int(width_m * 100), int(shop_front)])
    canvas = _bare(rng, house, width_m)
    if house.style.quoins:
        _quoins(canvas, house)
    for storey in range(1, house.storeys):
        _storey(canvas, house, house.ground_m + (storey - 1) * house.style.storey_m, rng)
    if house.ground == 'shop' and shop_front:
        _shop(canvas, house, rng)
    elif house.ground == 'arcade':
        _arcade(canvas, house, rng)
    else:
        _residence(canvas, house, rng, door=shop_front)
    _crown(canvas, house)
    return canvas.image


def paint_blank(house: House, width_m: float) -> Image:
    """Paint a party wall (H, W, 4): no windows, sometimes an old painted advertisement."""
    rng = np.random.default_rng([house.seed, 77])
    canvas = _bare(rng, house, width_m)
    canvas.shade(0, 0, width_m, canvas.height_m, 0.92)
    if rng.random() < 0.4 and width_m > 5:
        y, h = canvas.height_m * 0.5, min(2.6, canvas.height_m * 0.3)
        canvas.shade(0.8, y, width_m - 1.6, h, float(rng.choice([0.72, 1.22])))
        canvas.text(1.0, y, width_m - 2.0, h, house.sign.split()[0], house.accent)
        canvas.image[..., 3] = 0
    return canvas.image


def _bare(rng: np.random.Generator, house: House, width_m: float) -> Canvas:
    shape = (round(house.height_m * TEXELS_PER_M), max(round(width_m * TEXELS_PER_M), 8))
    gain = weathered(rng, MATERIALS[house.style.material](rng, shape))
    return Canvas(coloured(gain, house.style.colour))


def _bays(canvas: Canvas, house: House) -> list[float]:
    """Give the middle of each bay in metres."""
    count = max(int((canvas.width_m - 0.6) / house.style.bay_m), 1)
    pitch = canvas.width_m / count
    return [(i + 0.5) * pitch for i in range(count)]


def _quoins(canvas: Canvas, house: House) -> None:
    """Set large light stones on both edges."""
    for row in range(int(canvas.height_m / 0.45)):
        long = 0.62 if row % 2 else 0.38
        for x in (0.0, canvas.width_m - long):
            canvas.fill(x, row * 0.45, long, 0.42, house.style.trim)


def _storey(canvas: Canvas, house: House, floor_m: float, rng: np.random.Generator) -> None:
    style = house.style
    if style.courses:
        canvas.ledge(0, floor_m - 0.1, canvas.width_m, 0.16, style.trim)
    for middle in _bays(canvas, house):
        if rng.random() < 0.04:
            continue
        width, height = style.window_m
        _window(canvas, house, middle - width / 2, floor_m + 0.85, height, rng)


def _window(
    canvas: Canvas, house: House, x: float, y: float, height: float, rng: np.random.Generator
) -> None:
    """Paint surround, shutters, frame and glass of one window."""
    style, width = house.style, house.style.window_m[0]
    canvas.fill(x - 0.13, y - 0.1, width + 0.26, height + 0.26, style.trim)
    canvas.ledge(x - 0.2, y - 0.2, width + 0.4, 0.12, style.trim)
    canvas.shade(x - 0.1, y - 1.0, width + 0.2, 0.72, 0.95)
    if style.shutters:
        for side in (x - 0.13 - width / 2, x + width + 0.13):
            _shutter(canvas, side, y, width / 2, height, house.accent)
    canvas.fill(x, y, width, height, style.frame)
    _glass(canvas, house, x, y, height, rng)
    if style.arched:
        _arch(canvas, house, x, y + height, width)


def _shutter(canvas: Canvas, x: float, y: float, w: float, h: float, colour: Colour) -> None:
    canvas.fill(x, y, w, h, colour)
    for slat in np.arange(0.1, h - 0.1, 0.14):
        canvas.shade(x + 0.05, y + float(slat), w - 0.1, 0.05, 0.6)


def _glass(
    canvas: Canvas, house: House, x: float, y: float, height: float, rng: np.random.Generator
) -> None:
    """Paint the panes: dark with a reflection of the sky, a curtain, or lit from inside."""
    columns, rows = house.style.panes
    inset, lit = 0.07, rng.random() < 0.42
    pane_w = (house.style.window_m[0] - inset * (columns + 1)) / columns
    pane_h = (height - inset * (rows + 1)) / rows
    tone, curtain = rng.uniform(0.7, 1.3), rng.random() < 0.4
    for i in range(columns):
        for j in range(rows):
            left, bottom = x + inset + i * (pane_w + inset), y + inset + j * (pane_h + inset)
            sky = 0.75 + 0.6 * (j + rng.uniform(0, 0.6)) / rows
            colour = tuple(float(c) * sky * tone for c in (52, 62, 74))
            canvas.fill(left, bottom, pane_w, pane_h, colour, glow=150 if lit else 0)  # type: ignore[arg-type]
            if curtain:
                canvas.fill(left, bottom, pane_w * 0.4, pane_h, (176, 170, 158), 190 * lit)
    canvas.shade(x, y + height - 0.16, house.style.window_m[0], 0.16, 0.6)


def _arch(canvas: Canvas, house: House, x: float, top: float, width: float) -> None:
    """Put a round head over a window."""
    rise = width * 0.42
    area = canvas.area(x - 0.13, top, width + 0.26, rise + 0.16)
    ink = np.ascontiguousarray(area)
    centre = (ink.shape[1] // 2, ink.shape[0] - 1)
    outer = (ink.shape[1] // 2 - 1, max(ink.shape[0] - 2, 1))
    inner = tuple(max(n - 5, 1) for n in outer)
    cv2.ellipse(ink, centre, outer, 0, 180, 360, (*house.style.trim, 0), -1)
    cv2.ellipse(ink, centre, inner, 0, 180, 360, (58, 66, 76, 0), -1)
    area[:] = ink


def _crown(canvas: Canvas, house: House) -> None:
    canvas.ledge(0, canvas.height_m - 0.32, canvas.width_m, 0.32, house.style.trim)
    for x in np.arange(0.15, canvas.width_m - 0.2, 0.55):
        canvas.fill(float(x), canvas.height_m - 0.5, 0.16, 0.18, house.style.trim)


def _door(canvas: Canvas, x: float, colour: Colour, *, width: float = 1.1) -> None:
    canvas.fill(x - 0.14, 0, width + 0.28, 2.75, (206, 200, 188))
    canvas.fill(x, 0.12, width, 2.1, colour)
    canvas.fill(x, 2.28, width, 0.36, (80, 88, 96), glow=120)
    for y in (0.35, 1.25):
        canvas.shade(x + 0.16, y, width - 0.32, 0.7, 0.72)
    canvas.fill(x + width - 0.16, 1.05, 0.07, 0.12, (214, 190, 110))
    canvas.fill(x - 0.2, 0, width + 0.4, 0.12, (150, 146, 140))


def _residence(canvas: Canvas, house: House, rng: np.random.Generator, *, door: bool) -> None:
    """Paint a ground floor to live in: a plinth, windows and a door."""
    canvas.fill(0, 0, canvas.width_m, 0.5, tuple(0.62 * c for c in house.style.trim))  # type: ignore[arg-type]
    bays = _bays(canvas, house)
    at = int(rng.integers(len(bays))) if door else -1
    for i, middle in enumerate(bays):
        if i == at:
            _door(canvas, middle - 0.55, house.accent)
        else:
            height = min(house.style.window_m[1], house.ground_m - 1.7)
            _window(canvas, house, middle - house.style.window_m[0] / 2, 1.0, height, rng)


def _arcade(canvas: Canvas, house: House, rng: np.random.Generator) -> None:
    """Paint dark round arches, as of a gate house or a garage."""
    canvas.ledge(0, house.ground_m - 0.35, canvas.width_m, 0.25, house.style.trim)
    for middle in _bays(canvas, house):
        half = 0.36 * house.style.bay_m
        canvas.fill(middle - half - 0.15, 0, 2 * half + 0.3, 2.3, house.style.trim)
        canvas.fill(middle - half, 0, 2 * half, 2.3, BLACK, glow=40)
        if rng.random() < 0.4:
            canvas.fill(middle - half, 0, 2 * half, 2.2, house.accent)
            _shutter(canvas, middle - half, 0.1, 2 * half, 2.0, house.accent)
        area = canvas.area(middle - half - 0.15, 2.3, 2 * half + 0.3, 0.95)
        ink = np.ascontiguousarray(area)
        centre, axis = (ink.shape[1] // 2, ink.shape[0]), ink.shape[1] // 2 - 1
        for shrink, colour in ((0, house.style.trim), (6, BLACK)):
            cv2.ellipse(ink, centre, (axis - shrink, ink.shape[0] - 2 - shrink), 0, 180, 360,
                        (*colour, 0), -1)  # fmt: skip
        area[:] = ink


def _shop(canvas: Canvas, house: House, rng: np.random.Generator) -> None:
    """Paint a shop: fascia with the name, panes with goods behind them, a door."""
    width, dark = canvas.width_m, tuple(0.55 * c for c in house.accent)
    canvas.fill(0.15, 0, width - 0.3, house.ground_m - 0.25, house.accent)
    canvas.ledge(0.1, house.ground_m - 0.3, width - 0.2, 0.16, house.style.trim)
    bright = sum(house.accent) > 420
    ink: Colour = (40, 34, 30) if bright else (248, 240, 214)
    canvas.fill(0.25, 3.0, width - 0.5, 0.6, house.accent, glow=70)
    canvas.text(0.3, 3.0, width - 0.6, 0.62, house.sign, ink)
    count = max(int(width / rng.uniform(1.8, 3.2)), 2)
    pitch, entry = (width - 0.5) / count, int(rng.integers(count))
    for i in range(count):
        x = 0.25 + i * pitch
        if i == entry:
            _door(canvas, x + pitch / 2 - 0.5, dark, width=1.0)  # type: ignore[arg-type]
        else:
            _display(canvas, x + 0.08, pitch - 0.16, rng)


def _display(canvas: Canvas, x: float, width: float, rng: np.random.Generator) -> None:
    """Paint a shop window with coloured goods on shelves."""
    canvas.fill(x, 0.55, width, 2.25, (46, 48, 52), glow=170)
    for shelf in (0.6, 1.2, 1.8):
        at = x + 0.1
        while at < x + width - 0.35 and rng.random() < 0.9:
            size = rng.uniform(0.12, 0.35)
            colour = tuple(0.5 * rng.uniform(40, 215, 3) + 0.5 * rng.uniform(50, 200))
            canvas.fill(at, shelf, size, rng.uniform(0.15, 0.45), colour, glow=210)
            at += size + rng.uniform(0.03, 0.2)
    canvas.shade(x, 2.4, width, 0.4, 0.6)
    canvas.shade(x + width * 0.55, 0.55, width * 0.12, 2.25, 1.35)
