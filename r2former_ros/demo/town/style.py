# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a house looks, drawn at random: every town has a few styles that its houses repeat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .light import Colour

Roof = Literal['flat', 'pitched', 'mansard']
Ground = Literal['shop', 'house', 'arcade']

WALLS: dict[str, list[Colour]] = {
    'plaster': [
        (228, 208, 168), (216, 174, 108), (214, 152, 124), (172, 192, 206), (178, 204, 178),
        (232, 228, 218), (220, 180, 180), (192, 116, 86), (150, 162, 140), (236, 216, 130),
    ],
    'brick': [(158, 82, 64), (130, 92, 72), (190, 164, 118), (104, 76, 68), (176, 104, 74)],
    'stone': [(198, 182, 152), (164, 160, 152), (136, 134, 130), (206, 188, 170)],
    'boards': [(226, 222, 210), (142, 164, 180), (160, 70, 60), (120, 140, 116)],
    'concrete': [(170, 170, 166), (196, 192, 182), (140, 146, 150)],
}  # fmt: skip
TRIMS: list[Colour] = [(236, 232, 222), (206, 196, 178), (150, 140, 128), (96, 84, 76)]
FRAMES: list[Colour] = [(242, 242, 238), (70, 48, 36), (44, 66, 54), (40, 48, 70), (120, 40, 36)]
ACCENTS: list[Colour] = [
    (30, 92, 66), (150, 34, 40), (28, 58, 116), (196, 142, 30), (88, 44, 100), (24, 110, 120),
    (60, 60, 64), (206, 96, 34), (232, 226, 206),
]  # fmt: skip
ROOFS: list[Colour] = [(150, 82, 60), (96, 92, 96), (118, 70, 56), (80, 84, 92), (170, 104, 74)]

_TRADES = (
    'BAKERY CAFE BOOKS HOTEL PHARMACY FLORIST BARBER TAILOR GROCER CINEMA BANK SHOES OPTICIAN '
    'BISTRO TEA-ROOM RECORDS BICYCLES ANTIQUES BUTCHER CHEESE TOYS POST LAUNDRY PIZZERIA'
).split()
_NAMES = (
    'ROSA MARTIN IDA OTTO LINDEN HARBOUR STAR ANCHOR GOLDEN NORTH WEBER MORI SILVA KIM NOVAK '
    'OLD-MILL ARGO LUNA FOX SWAN LION ALBA CORNER UNION'
).split()


@dataclass(frozen=True)
class Style:
    """One way to build a house; lengths in metres, colours sRGB in [0, 255]."""

    material: str
    colour: Colour
    trim: Colour
    frame: Colour
    storey_m: float
    bay_m: float
    window_m: tuple[float, float]
    arched: bool
    panes: tuple[int, int]
    shutters: bool
    balconies: bool
    quoins: bool
    courses: bool
    roof: Roof
    roof_colour: Colour


@dataclass(frozen=True)
class House:
    """One house: a style with its own colours, height, ground floor, name and seed."""

    style: Style
    storeys: int
    ground: Ground
    accent: Colour
    sign: str
    awning: bool
    hanging_sign: bool
    seed: int

    @property
    def ground_m(self) -> float:
        """Height of the ground floor."""
        return 3.9 if self.ground != 'house' else self.style.storey_m + 0.3

    @property
    def height_m(self) -> float:
        """Height of the wall from the pavement to the eaves."""
        return self.ground_m + (self.storeys - 1) * self.style.storey_m + 0.7


def jittered(rng: np.random.Generator, colour: Colour, spread: float = 9.0) -> Colour:
    """Shift a colour a little in brightness and tint."""
    shift = rng.normal(0, spread) + rng.normal(0, spread / 2.5, 3)
    r, g, b = (np.asarray(colour) + shift).clip(12, 246)
    return float(r), float(g), float(b)


def pick(rng: np.random.Generator, colours: list[Colour]) -> Colour:
    """Draw one of the colours."""
    return colours[int(rng.integers(len(colours)))]


def make_style(rng: np.random.Generator) -> Style:
    """Draw a style."""
    material = str(rng.choice(list(WALLS), p=[0.4, 0.27, 0.15, 0.08, 0.1]))
    modern = material == 'concrete'
    storey, bay = rng.uniform(2.9, 3.6), rng.uniform(2.1, 3.4)
    wide = rng.uniform(1.5, bay - 0.4) if modern else rng.uniform(0.85, min(1.45, bay - 0.7))
    return Style(
        material=material, colour=pick(rng, WALLS[material]), trim=pick(rng, TRIMS),
        frame=pick(rng, FRAMES), storey_m=storey, bay_m=bay,
        window_m=(wide, rng.uniform(1.3, 1.6) if modern else rng.uniform(1.5, 2.1)),
        arched=not modern and rng.random() < 0.22,
        panes=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        shutters=material in ('plaster', 'boards') and rng.random() < 0.4 and bay - wide > 1.1,
        balconies=rng.random() < 0.3, quoins=not modern and rng.random() < 0.35,
        courses=rng.random() < 0.55,
        roof='flat' if modern else rng.choice(['flat', 'pitched', 'mansard'], p=[0.25, 0.5, 0.25]),
        roof_colour=pick(rng, ROOFS),
    )  # fmt: skip


def make_house(rng: np.random.Generator, styles: list[Style], *, busy: bool) -> House:
    """Draw a house in one of the styles; ``busy`` streets have shops."""
    style = styles[int(rng.integers(len(styles)))]
    colour = pick(rng, WALLS[style.material]) if rng.random() < 0.5 else style.colour
    shop = rng.random() < (0.55 if busy else 0.2)
    ground: Ground = 'shop' if shop else rng.choice(['house', 'arcade'], p=[0.85, 0.15])
    return House(
        style=replace(style, colour=jittered(rng, colour), frame=pick(rng, FRAMES)),
        storeys=int(rng.choice([2, 3, 4, 5], p=[0.2, 0.42, 0.3, 0.08])),
        ground=ground, accent=jittered(rng, pick(rng, ACCENTS)), sign=_name(rng),
        awning=shop and rng.random() < 0.5, hanging_sign=shop and rng.random() < 0.45,
        seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _name(rng: np.random.Generator) -> str:
    trade, name = (words[int(rng.integers(len(words)))] for words in (_TRADES, _NAMES))
    return str(rng.choice([trade, f'{name} {trade}', f'{trade} {name}', name]))
