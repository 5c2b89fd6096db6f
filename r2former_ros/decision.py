# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From ranked hypotheses to a state: a discrete Bayes filter over the places of a map.

The belief is one probability per place and one for "not in the map". Each image first moves it
(``_predict``: to neighbouring places, or along the odometry) and then weighs it (``_observe``).
Only few places have a probability of their own; the others share one, so that the work per image
does not grow with the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from scipy.spatial import cKDTree

from .config import DecisionConfig
from .geometry.poses import inverse
from .maps.table import PlaceTable, Rows
from .maps.trust import NEIGHBOUR_IDS
from .records import Belief, Floats, Hypothesis, Matrix, Pose, State

HEADING_VARIANCE_RAD2 = 0.25
"""A place is recognized within about 30 degrees of the heading it was mapped with."""
ACTIVE_PLACES = 512
"""The most probable places that a prediction moves; a smaller map is followed as a whole."""
OFF_THE_MAP = 1e-3
"""Weight of leaving the map, next to the kernel's sum over places: far from all, it dominates."""
NAMED_SIGMA = 0.5
"""A place near a named one counts as named too; standard deviation in agreement_radius_m."""
FARTHEST_SIGMAS = 4.0
"""Beyond this many standard deviations, a place is out of reach."""
SURE = 1e-15
"""Probabilities are clipped by this much, so that their odds are finite."""
FIRST_OUTSIDE = 0.5
"""Probability of "not in the map" before the first image."""


@dataclass(frozen=True)
class SparseBelief:
    """
    Probabilities of ``count`` places: ``base`` each, plus ``extra`` (R,) >= 0 for some ``rows``.

    ``rows`` (R,) ascend. What is missing to 1 is "not in the map".
    """

    rows: Rows
    extra: Floats
    base: float
    count: int

    def sum(self) -> float:
        """Return the probability of being in the map."""
        return float(self.extra.sum()) + self.base * self.count

    def at(self, rows: Rows) -> Floats:
        """Return the probabilities (K,) of ascending rows (K,) that include all of its own."""
        values = np.full(len(rows), self.base)
        values[np.searchsorted(rows, self.rows)] += self.extra
        return values


@dataclass(frozen=True)
class Evidence:
    """
    What an image says for some places, relative to "not in the map".

    ``rows`` (R,) ascend; ``ratio`` (R,) is the likelihood ratio of the image; ``named`` (R,)
    says from 0 to 1 how far a place is among the named ones. ``rarity`` is the inverse share of
    the places that are named.
    """

    rows: Rows
    ratio: Floats
    named: Floats
    rarity: float


class PlaceFilter:
    """Report localized only once the images so far leave little doubt about the place."""

    def __init__(self, places: PlaceTable, config: DecisionConfig) -> None:
        """
        Begin outside any place.

        :param places: those it holds now; hypotheses about places added later are ignored.
        """
        self.config = config
        self._places = places
        self._count = len(places.ids)
        self._posed = self._count > 0 and bool(places.with_pose().all())
        self._positions = self._positions_m()
        self._tree = cKDTree(self._positions)
        self._spacing_m = _spacing_m(self._tree)
        self._followed = np.arange(self._count if self._count <= ACTIVE_PLACES else 0)
        self._mean_m = self._positions.sum(axis=0) / max(self._count, 1)
        from_mean = self._positions - self._mean_m
        self._scatter_m2 = from_mean.T @ from_mean
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        count, rows = self._count, self._followed
        each = (1 - FIRST_OUTSIDE) / max(count, 1)
        self._belief = SparseBelief(
            rows, np.full(len(rows), each), 0.0 if len(rows) == count else each, count)
        self._last_odometry: Pose | None = None
        self._last_row: int | None = None
        self._agreeing = 0
        self._without_good = 0
        self._state = State.LOST

    def expect(self, position_m: Floats) -> None:
        """
        Begin near a position (3,) of the map, such as the last one before a restart.

        Half of the probability of being in the map goes to places within
        ``decision.agreement_radius_m`` of it. The state stays lost: only images change it.
        """
        self.reset()
        near = self._tree.query_ball_point(position_m, self.config.agreement_radius_m) \
            if self._posed else []
        if not near:
            return
        rows = np.array(sorted(near)) if not len(self._followed) else self._followed
        each = (1 - FIRST_OUTSIDE) / 2 / self._count
        extra = np.zeros(len(rows))
        extra[np.searchsorted(rows, sorted(near))] = (1 - FIRST_OUTSIDE) / 2 / len(near)
        self._belief = SparseBelief(rows, extra, each, self._count)

    def decide(
        self,
        hypotheses: Sequence[Hypothesis],
        evidence: Sequence[float] | Floats,
        odom_T_camera: Pose | None = None,
    ) -> tuple[State, Belief | None]:
        """
        Take the next image into account.

        :param hypotheses: best first.
        :param evidence: per hypothesis, how much more likely the image is at its place than
            outside the map; from 1 on, the best one makes the state candidate.
        :param odom_T_camera: pose of the camera from odometry, None if unknown.
        :returns: the state and the belief behind it; on an empty map the belief is None.
        """
        rows = [self._places.row_of(one.place.place_id) for one in hypotheses]
        known = [(row, ratio) for row, ratio in zip(rows, evidence) if row is not None]
        if not self._count:
            return State.LOST, None
        motion = self._motion(odom_T_camera)
        back = self._predict(motion)
        self._observe(self._evidence(known), back, self._scene_change(motion))
        row = self._most_probable(known[0][0] if known and motion is None else None)
        belief = self._summary(row)
        good = known[0][0] if known and known[0][1] >= 1 else None
        self._state = self._next_state(
            belief.probability, agrees=good is not None and self._near(good, row),
            good=good is not None, jumped=self._jumped(row, motion))
        self._last_row = row
        return self._state, belief

    def _motion(self, odom_T_camera: Pose | None) -> Pose | None:
        """Return the motion of the camera since the last image, in its own axes."""
        last, self._last_odometry = self._last_odometry, odom_T_camera
        if last is None or odom_T_camera is None or not self._posed:
            return None
        return inverse(last) @ odom_T_camera

    def _scene_change(self, motion: Pose | None) -> float:
        """
        Return how much of the scene is new since the last image, from 0 to 1.

        Without odometry the camera may be standing still: 0.
        """
        if motion is None:
            return 0.0
        travel_m = float(np.linalg.norm(motion[:3, 3]))
        return min(travel_m / max(self.config.agreement_radius_m, 1e-3), 1.0)

    def _predict(self, motion: Pose | None) -> float:
        """
        Move the belief to neighbouring places, or along the motion; the base stays as it is.

        :returns: per place, the probability that the camera has just come back to the map there.
        """
        belief = self._belief
        active, probability = belief.rows, belief.extra
        if len(active) > ACTIVE_PLACES:
            best = np.argpartition(probability, -ACTIVE_PLACES)[-ACTIVE_PLACES:]
            active, probability = active[best], probability[best]
        if motion is None:
            centres, sigma_m = self._positions[active], self.config.agreement_radius_m / 2
        else:
            centres = (self._places.poses(active) @ motion)[:, :3, 3]
            travel_m = float(np.linalg.norm(motion[:3, 3]))
            sigma_m = self._spacing_m / 2 + self.config.odometry_error_percent / 100 * travel_m
        start, end, weights = self._reached(centres, max(sigma_m, 1e-3))
        sums = np.bincount(start, weights, minlength=len(active)) + OFF_THE_MAP
        shares = weights * (probability / sums)[start]
        rows, column = np.unique(end, return_inverse=True)
        leave = self.config.leave_probability
        moved = np.bincount(column, shares, minlength=len(rows)).astype(np.float64)
        self._belief = SparseBelief(
            rows, (1 - leave) * moved, (1 - leave) * belief.base, belief.count)
        return leave * max(1 - belief.sum(), 0.0) / belief.count

    def _reached(self, centres: Floats, sigma_m: float) -> tuple[Rows, Rows, Floats]:
        """Return rows of centres (A, 3), of the places near them, and Gaussian weights up to 1."""
        # Not cKDTree.sparse_distance_matrix: its time grows with the map.
        near = self._tree.query_ball_point(
            centres, FARTHEST_SIGMAS * sigma_m, return_sorted=False)
        counts = np.fromiter(map(len, near), np.intp, len(near))
        start = np.repeat(np.arange(len(near)), counts)
        end = np.fromiter(chain.from_iterable(near), np.intp, len(start))
        squared_m2 = ((self._positions[end] - centres[start]) ** 2).sum(axis=1)
        return start, end, np.exp(-squared_m2 / (2 * sigma_m**2))

    def _evidence(self, named_rows: Sequence[tuple[int, float]]) -> Evidence:
        """
        Weigh the places that hypotheses name, given as (row, ratio), and those near them.

        A ratio is evidence for its own place; for the places around it, it is at most no evidence
        against them.
        """
        first = np.array([row for row, _ in named_rows], np.intp)
        odds = np.array([ratio for _, ratio in named_rows])
        sigma_m = max(NAMED_SIGMA * self.config.agreement_radius_m, 1e-3)
        start, end, weights = self._reached(self._positions[first], sigma_m)
        rows = np.unique(np.concatenate([self._followed, self._belief.rows, end, first]))
        ratio, named = np.full(len(rows), self.config.miss_likelihood), np.zeros(len(rows))
        near = np.searchsorted(rows, end)
        np.maximum.at(named, near, weights)
        np.maximum.at(ratio, near, np.minimum(odds[start], 1.0) * weights)
        np.maximum.at(ratio, np.searchsorted(rows, first), odds)
        return Evidence(rows, ratio, named, self._count / max(float(named.sum()), 1.0))

    def _observe(self, image: Evidence, back: float, scene_change: float) -> None:
        """
        Weigh each place by how much more likely the image is there than outside the map.

        A ratio counts as it is. Being named is evidence too, the more so the fewer places are
        named; but a static scene keeps naming the same places, so it counts only once, when the
        camera comes back to the map, and again as the odometry moves on.
        """
        config, belief, count = self.config, self._belief, self._count
        most = self._most_evidence(image.rarity)
        weight = image.ratio * image.rarity ** (scene_change * image.named)
        stayed = belief.at(image.rows) * np.minimum(weight, most)
        returned = back * image.rarity ** image.named * np.minimum(image.ratio, most)
        others = count - len(image.rows)
        base = (belief.base + back) * min(config.miss_likelihood, most) if others else 0.0
        outside = max(1 - belief.sum() - back * count, 0.0)
        weighed = stayed + returned
        total = float(weighed.sum()) + base * others + outside
        self._belief = SparseBelief(
            image.rows, np.maximum(weighed - base, 0.0) / total, base / total, count)

    def _most_evidence(self, rarity: float) -> float:
        """Bound the evidence of one image, so that localizing needs agreement_frames of them."""
        config = self.config
        start = config.leave_probability * rarity / self._count
        target = _odds(config.localized_probability) / start
        return float(max(1 / config.miss_likelihood, target ** (1 / config.agreement_frames)))

    def _most_probable(self, best: int | None) -> int:
        """
        Return the row of the most probable place.

        Without odometry the belief lags behind the camera, so the best hypothesis of this image
        replaces the place if it is near.
        """
        belief = self._belief
        row = int(belief.rows[belief.extra.argmax()]) if len(belief.rows) else 0
        return best if best is not None and self._near(best, row) else row

    def _summary(self, row: int) -> Belief:
        """Sum up the belief around a place."""
        belief, centre = self._belief, self._positions[row]
        radius_m = self.config.agreement_radius_m
        offset = self._positions[belief.rows] - centre
        near = np.linalg.norm(offset, axis=1) <= radius_m
        around = self._tree.query_ball_point(centre, radius_m, return_length=True)
        probability = float(belief.extra[near].sum()) + belief.base * around
        covariance = self._covariance_m2(offset, centre) if self._posed else None
        return Belief(self._places.at(row), probability, covariance)

    def _covariance_m2(self, offset: Floats, centre: Floats) -> Matrix:
        """Return the spread (3, 3) around a centre (3,), with the offsets (R, 3) of its rows."""
        belief = self._belief
        total = max(belief.sum(), 1e-12)
        from_mean = self._mean_m - centre
        of_all = self._scatter_m2 + belief.count * np.outer(from_mean, from_mean)
        of_some = (offset * (belief.extra / total)[:, None]).T @ offset
        covariance = of_some + belief.base / total * of_all + np.eye(3) * self._spacing_m**2
        return np.asarray(covariance, np.float64)

    def _jumped(self, row: int, motion: Pose | None) -> bool:
        """Say whether the most probable place moved farther than a camera can."""
        radius_m = self.config.agreement_radius_m
        travel_m = radius_m if motion is None else float(np.linalg.norm(motion[:3, 3]))
        return self._last_row is not None and \
            self._apart_m(self._last_row, row) > radius_m + travel_m

    def _next_state(
        self, probability: float, *, agrees: bool, good: bool, jumped: bool
    ) -> State:
        """Decide with hysteresis; localized always ends in lost."""
        config = self.config
        self._without_good = 0 if good else self._without_good + 1
        self._agreeing = self._agreeing + 1 if agrees else 0
        if self._state is State.LOCALIZED:
            keep = probability >= config.keep_probability and not jumped
            return State.LOCALIZED if keep else State.LOST
        enough = self._agreeing >= config.agreement_frames
        if enough and probability >= config.localized_probability:
            return State.LOCALIZED
        waiting = self._without_good < config.agreement_frames
        if good or (self._state is State.CANDIDATE and waiting):
            return State.CANDIDATE
        return State.LOST

    def _near(self, one: int, other: int) -> bool:
        return self._apart_m(one, other) <= self.config.agreement_radius_m

    def _apart_m(self, one: int, other: int) -> float:
        return float(np.linalg.norm(self._positions[one] - self._positions[other]))

    def _positions_m(self) -> Floats:
        """Return (P, 3); without poses, the places are on a line in the order of their ids."""
        if self._posed:
            return self._places.positions
        step_m = self.config.agreement_radius_m / NEIGHBOUR_IDS
        along = step_m * self._places.ids.astype(np.float64)
        return np.stack([along, 0 * along, 0 * along], axis=1)


def pose_covariance(belief: Belief, config: DecisionConfig) -> Matrix:
    """
    Return the covariance (6, 6) of the pose of a belief, over x, y, z, roll, pitch, yaw.

    It adds up the spread of the belief over the places, the spacing of the map, and a standard
    deviation of half ``agreement_radius_m``: the camera is near the place, not at it.
    """
    covariance = np.diag([0.0] * 3 + [HEADING_VARIANCE_RAD2] * 3)
    covariance[:3, :3] = np.eye(3) * (config.agreement_radius_m / 2) ** 2
    if belief.covariance_m2 is not None:
        covariance[:3, :3] += belief.covariance_m2
    return covariance


def _spacing_m(tree: cKDTree) -> float:
    """Return the median distance from a place to its nearest neighbour."""
    if tree.n < 2:
        return 0.0
    distances, _ = tree.query(tree.data, k=2)
    return float(np.median(distances[:, 1]))


def _odds(probability: float) -> float:
    inside = min(max(probability, SURE), 1 - SURE)
    return inside / (1 - inside)
