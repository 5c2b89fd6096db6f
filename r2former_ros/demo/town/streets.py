# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The street plan: a closed loop, side streets, the lots along them and the route to drive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ...records import Image
from .camera import Floats

Kind = Literal['house', 'garden', 'tower']

LANE_M = 1.7
"""Distance of the driven line from the middle of the street; traffic keeps right."""
ROAD_HALF_M = 4.8
STREET_HALF_M = 7.4
SIDE_STREET_M = 42.0
CORNER_RADIUS_M = 9.0
MARGIN_M = 64.0
GRID_PER_M = 4
"""Cells per metre of the raster that keeps buildings off streets and off each other."""


@dataclass(frozen=True, eq=False)
class Street:
    """A straight street in the map frame, metres; ``main`` where the loop runs along it."""

    start_m: Floats
    end_m: Floats
    main: bool

    @property
    def length_m(self) -> float:
        """Length in metres."""
        return float(np.linalg.norm(self.end_m - self.start_m))

    @property
    def direction(self) -> Floats:
        """Unit vector (2,)."""
        unit: Floats = (self.end_m - self.start_m) / self.length_m
        return unit


@dataclass(frozen=True, eq=False)
class Lot:
    """A building plot: ``corner_m`` (2,) is its front left corner as seen from the street."""

    corner_m: Floats
    along: Floats
    width_m: float
    depth_m: float
    kind: Kind = 'house'

    @property
    def inward(self) -> Floats:
        """Unit vector (2,) away from the street."""
        return left_of(self.along)

    def footprint(self, shrink_m: float = 0.0) -> Floats:
        """Give the plan (4, 2) in metres: front left, front right, back right, back left."""
        a, b = self.along * self.width_m, self.inward * self.depth_m
        ring = self.corner_m + np.array([0 * a, a, a + b, b])
        slack = shrink_m * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
        shift = slack[:, :1] * self.along + slack[:, 1:] * self.inward
        return np.asarray(ring + shift, np.float64)


@dataclass(frozen=True, eq=False)
class Plan:
    """
    The town from above, metres in the map frame.

    ``footprints`` holds one (K, 2) polygon a building, ``route`` (M, 2) is the driven line and
    ``centreline`` (C, 2) the middle of the loop street; both close on their first point, which
    is not repeated.
    """

    footprints: list[Floats]
    route: Floats
    centreline: Floats
    streets: list[Street]
    lots: list[Lot]

    def bounds_m(self) -> tuple[Floats, Floats]:
        """Give the lower left and upper right corner (2,) of the drawn ground."""
        return self.route.min(axis=0) - MARGIN_M, self.route.max(axis=0) + MARGIN_M


def left_of(vector: Floats) -> Floats:
    """Turn (2,) left by a quarter."""
    return np.array([-vector[1], vector[0]])


def make_plan(rng: np.random.Generator) -> Plan:
    """Draw a street plan: 230 to 340 m of closed loop with side streets and lots."""
    corners = _loop_corners(rng)
    streets = [Street(a, b, True) for a, b in zip(corners, np.roll(corners, -1, axis=0))]
    centreline = rounded(corners, CORNER_RADIUS_M)
    streets += _side_streets(rng, streets)
    lots = _Plotter(rng, streets, centreline).lots()
    route = rounded(_inset(corners, -LANE_M), CORNER_RADIUS_M + LANE_M)
    footprints = [lot.footprint() for lot in lots if lot.kind != 'garden']
    return Plan(footprints, route, centreline, streets, lots)


def rounded(corners: Floats, radius_m: float, step_m: float = 0.5) -> Floats:
    """Round the corners (K, 2) of a closed polygon and resample it evenly: (M, 2)."""
    pieces = [_fillet(*triple, radius_m) for triple in zip(
        np.roll(corners, 1, axis=0), corners, np.roll(corners, -1, axis=0))]  # fmt: skip
    dense = np.concatenate([*pieces, pieces[0][:1]])
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1))])
    at = np.linspace(0, arc[-1], max(int(arc[-1] / step_m), 8), endpoint=False)
    return np.column_stack([np.interp(at, arc, dense[:, i]) for i in range(2)])


def _fillet(before: Floats, corner: Floats, after: Floats, radius_m: float) -> Floats:
    """Give points of the arc of ``radius_m`` that touches both edges at the corner."""
    into = (corner - before) / np.linalg.norm(corner - before)
    out = (after - corner) / np.linalg.norm(after - corner)
    turn = np.arctan2(into[0] * out[1] - into[1] * out[0], into @ out)
    reach = radius_m * np.tan(abs(turn) / 2)
    centre = corner - reach * into + np.sign(turn) * radius_m * left_of(into)
    spoke = corner - reach * into - centre
    angles = np.linspace(0, turn, 16)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    return np.asarray(centre + cos * spoke + sin * left_of(spoke))


def _inset(corners: Floats, distance_m: float) -> Floats:
    """Move every edge of a polygon by ``distance_m`` to its left."""
    edges = np.roll(corners, -1, axis=0) - corners
    normals = np.column_stack([-edges[:, 1], edges[:, 0]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    moved = []
    for i, corner in enumerate(corners):
        pair = normals[[i - 1, i]]
        moved.append(np.linalg.solve(pair, pair @ corner + distance_m))
    return np.array(moved)


def _loop_corners(rng: np.random.Generator) -> Floats:
    """Choose the shape of the loop: corners (K, 2) in driving order, centred on the origin."""
    shapes = [
        [(0, 0), (1, 0), (1, 0.66), (0, 0.66)],
        [(0, 0), (1, 0), (0.9, 0.62), (0.08, 0.72)],
        [(0, 0), (1, 0), (1, 0.48), (0.55, 0.48), (0.55, 0.95), (0, 0.95)],
        [(0, 0), (1, 0), (1, 0.46), (0.72, 0.76), (0, 0.76)],
        [(0, 0), (0.94, -0.06), (1, 0.6), (0.44, 0.72), (-0.04, 0.56)],
    ]
    shape = np.array(shapes[rng.integers(len(shapes))])
    shape = shape * [rng.choice([-1, 1]), 1] + rng.normal(0, 0.012, shape.shape)
    perimeter = np.linalg.norm(np.roll(shape, -1, axis=0) - shape, axis=1).sum()
    shape *= rng.uniform(265, 345) / perimeter
    angle = rng.uniform(-0.3, 0.3)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray((shape - shape.mean(axis=0)) @ turn.T)


def _outward(streets: list[Street]) -> float:
    """Tell on which side the outside of the loop is: +1 left, -1 right."""
    corners = np.array([street.start_m for street in streets])
    after = np.roll(corners, -1, axis=0)
    area = (corners[:, 0] * after[:, 1] - corners[:, 1] * after[:, 0]).sum()
    return -1.0 if area > 0 else 1.0


def _side_streets(rng: np.random.Generator, loop: list[Street]) -> list[Street]:
    """Open side streets: some go straight on at corners, some leave the middle of an edge."""
    outward = _outward(loop)
    found = []
    for edge, following in zip(loop, loop[1:] + loop[:1]):
        turn = edge.direction[0] * following.direction[1]
        turn -= edge.direction[1] * following.direction[0]
        if turn * outward < 0 and rng.random() < 0.55:
            end = edge.end_m + edge.direction * SIDE_STREET_M
            found.append(Street(edge.end_m, end, False))
        if edge.length_m > 52 and rng.random() < 0.75:
            start = edge.start_m + edge.direction * edge.length_m * rng.uniform(0.36, 0.64)
            away = outward * left_of(edge.direction)
            found.append(Street(start, start + away * SIDE_STREET_M, False))
    return found


class _Plotter:
    """Lays out lots along the streets on a raster of what is taken."""

    def __init__(
        self, rng: np.random.Generator, streets: list[Street], centreline: Floats
    ) -> None:
        self._rng, self._streets = rng, streets
        self._low_m = centreline.min(axis=0) - MARGIN_M
        size = np.ceil((centreline.max(axis=0) + MARGIN_M - self._low_m) * GRID_PER_M)
        self._taken: Image = np.zeros((int(size[1]), int(size[0])), np.uint8)
        wide = int(2 * (STREET_HALF_M - 0.3) * GRID_PER_M)
        cv2.polylines(self._taken, [self._cells(centreline)], True, 1, wide)
        for street in streets:
            self._take(self._strip(street), 1)
        self._lots: list[Lot] = []

    def lots(self) -> list[Lot]:
        """Close the side streets first, then line every street on both sides."""
        for street in self._streets:
            if not street.main:
                self._close(street)
        for street in self._streets:
            for side in (1.0, -1.0):
                self._line(street, side)
        return self._lots

    def _cells(self, points_m: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
        return np.asarray(np.round((points_m - self._low_m) * GRID_PER_M), np.int32)

    def _strip(self, street: Street) -> Floats:
        ahead, aside = street.direction * 3.0, left_of(street.direction) * (STREET_HALF_M - 0.3)
        a, b = street.start_m - ahead, street.end_m + ahead
        return np.array([a - aside, b - aside, b + aside, a + aside])

    def _take(self, polygon_m: Floats, value: int) -> None:
        cv2.fillPoly(self._taken, [self._cells(polygon_m)], value)

    def _fits(self, lot: Lot) -> bool:
        cells = self._cells(lot.footprint(0.5))
        low = cells.min(axis=0)
        width, height = cells.max(axis=0) - low + 1
        area: Image = np.zeros((height, width), np.uint8)
        cv2.fillPoly(area, [cells - low], 1)
        taken = self._taken[low[1] : low[1] + height, low[0] : low[0] + width]
        return area.shape == taken.shape and not bool((area & taken).any())

    def _place(self, lot: Lot) -> bool:
        if not self._fits(lot):
            return False
        self._take(lot.footprint(), 1)
        self._lots.append(lot)
        return True

    def _close(self, street: Street) -> None:
        along = -left_of(street.direction)
        width = 2 * STREET_HALF_M + 2.0
        corner = street.end_m + street.direction * 3.2 - along * width / 2
        kind: Kind = 'tower' if self._rng.random() < 0.35 else 'house'
        self._place(Lot(corner, along, width, 9.0, kind))

    def _line(self, street: Street, side: float) -> None:
        """Walk along one side and put a lot wherever one fits."""
        along = street.direction * side
        start = street.start_m if side > 0 else street.end_m
        start = start + left_of(along) * STREET_HALF_M
        at, end = -STREET_HALF_M - 9.0, street.length_m + STREET_HALF_M + 9.0
        while at < end:
            lot = self._widest(start, along, at, street.main)
            at += lot.width_m if lot and self._place(lot) else 0.75

    def _widest(self, start: Floats, along: Floats, at_m: float, main: bool) -> Lot | None:
        """Give the widest lot that fits here, of a size drawn at random, or None."""
        width, depth = self._rng.uniform(7.0, 14.5), self._rng.uniform(8.5, 10.5)
        kind: Kind = 'garden' if main and self._rng.random() < 0.09 else 'house'
        for shorter in (1.0, 0.75, 0.55):
            lot = Lot(start + along * at_m, along, width * shorter, depth, kind)
            if lot.width_m > 4.5 and self._fits(lot):
                return lot
        return None
