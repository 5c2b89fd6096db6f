# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From ranked hypotheses to a state: a discrete Bayes filter over the places of a map.

The belief is a probability for each place and one for "not in the map". An image moves it
(``_predict``, along the map, by odometry where there is any) and weighs it (``_observe``). It
names few places; the others share one probability, so that the work does not grow with the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .config import DecisionConfig
from .geometry.poses import inverse
from .records import Belief, Hypothesis, Matrix, Place, Pose, State

NEIGHBOUR_IDS = 2
"""Places without poses count as near if their ids, in the order of driving, differ by this."""
HEADING_VARIANCE_RAD2 = 0.25
"""A place is recognised within about 30 degrees of the heading it was seen with."""
ACTIVE_PLACES = 512
"""So many most probable places are moved by a prediction; a map so small is followed whole."""
OFF_THE_MAP = 1e-3
"""Weight of leaving the map beside the kernel's sum over places: far from all, it wins."""
SEEN_WITH_IT = 0.5
"""Where a place is named, those near it need not be: a deviation, of agreement_radius_m."""
FARTHEST_SIGMAS = 4.0
"""Beyond so many deviations a place is not reached; on a large map most are not."""
SURE = 1e-15
"""A probability comes no nearer to 0 and 1 than this, so that its odds are finite."""
FIRST_OUTSIDE = 0.5
"""Probability of "not in the map" before the first image."""
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Spread:
    """
    A probability for each of ``count`` places: ``rest``, and for some ``rows`` (R,) ``more`` (R,).

    The rows ascend; ``more`` is not negative.
    """

    rows: Rows
    more: NDArray[np.float64]
    rest: float
    count: int

    def sum(self) -> float:
        """Return how probable it is to be in the map at all."""
        return float(self.more.sum()) + self.rest * self.count

    def at(self, rows: Rows) -> NDArray[np.float64]:
        """Return the probabilities (K,) of ascending rows (K,), ``rows`` of its own among them."""
        values = np.full(len(rows), self.rest)
        values[np.searchsorted(rows, self.rows)] += self.more
        return values


class PlaceFilter:
    """Say localized only when the images so far leave little doubt about the place."""

    def __init__(self, places: Sequence[Place], config: DecisionConfig) -> None:
        self.config = config
        self._places = list(places)
        self._row = {place.place_id: row for row, place in enumerate(self._places)}
        poses = [one.map_T_camera for one in self._places if one.map_T_camera is not None]
        self._poses = np.array(poses) if poses and len(poses) == len(self._places) else None
        self._positions = self._positions_m()
        self._tree = cKDTree(self._positions)
        self._spacing_m = _spacing_m(self._tree)
        count = len(self._places)
        self._followed = np.arange(count if count <= ACTIVE_PLACES else 0)
        self._mean_m = self._positions.sum(axis=0) / max(count, 1)
        from_mean = self._positions - self._mean_m
        self._scatter_m2 = from_mean.T @ from_mean
        self.reset()

    def reset(self) -> None:
        """Forget the images seen so far."""
        count, rows = len(self._places), self._followed
        each = (1 - FIRST_OUTSIDE) / max(count, 1)
        self._spread = Spread(
            rows, np.full(len(rows), each), 0.0 if len(rows) == count else each, count)
        self._last_odometry: Pose | None = None
        self._last_place: Place | None = None
        self._agreeing = 0
        self._poor = 0
        self._state = State.LOST

    def decide(
        self,
        hypotheses: Sequence[Hypothesis],
        *,
        min_score: float,
        odom_T_camera: Pose | None = None,
    ) -> tuple[State, Belief | None]:
        """
        Take the next image into account.

        :param hypotheses: best first; places that the map had not at first are passed over.
        :param min_score: a score that speaks as much for the place as for "not in the map".
        :param odom_T_camera: where odometry says the camera is, None where it says nothing.
        :returns: the state, and the belief behind it: None on an empty map.
        """
        known = [one for one in hypotheses if one.place.place_id in self._row]
        if not self._places:
            return State.LOST, None
        motion = self._motion(odom_T_camera)
        back = self._predict(motion)
        self._observe(known, min_score=min_score, back=back, news=self._news(motion))
        belief = self._conclude(known[0].place if known and motion is None else None)
        good = known[0] if known and known[0].score >= min_score else None
        self._state = self._next_state(belief, good, jumped=self._jumped(belief.place, motion))
        self._last_place = belief.place
        return self._state, belief

    def _motion(self, odom_T_camera: Pose | None) -> Pose | None:
        """Return how the camera moved since the last image, in its own axes."""
        last, self._last_odometry = self._last_odometry, odom_T_camera
        if last is None or odom_T_camera is None or self._poses is None:
            return None
        return inverse(last) @ odom_T_camera

    def _news(self, motion: Pose | None) -> float:
        """
        Return how far, from 0 to 1, the camera sees another scene than in the last image.

        Without odometry it may be standing still.
        """
        if motion is None:
            return 0.0
        travel_m = float(np.linalg.norm(motion[:3, 3]))
        return min(travel_m / max(self.config.agreement_radius_m, 1e-3), 1.0)

    def _predict(self, motion: Pose | None) -> float:
        """
        Move the belief to places near by, or to where the motion leads.

        What all places have alike stays alike.

        :returns: the probability, for each place, that the camera has come back to the map there.
        """
        spread = self._spread
        active, probability = spread.rows, spread.more
        if len(active) > ACTIVE_PLACES:
            best = np.argpartition(probability, -ACTIVE_PLACES)[-ACTIVE_PLACES:]
            active, probability = active[best], probability[best]
        if motion is None or self._poses is None:
            centres, sigma_m = self._positions[active], self.config.agreement_radius_m / 2
        else:
            centres = (self._poses[active] @ motion)[:, :3, 3]
            travel_m = float(np.linalg.norm(motion[:3, 3]))
            sigma_m = self._spacing_m / 2 + self.config.odometry_error_percent / 100 * travel_m
        start, end, weights = self._reached(centres, max(sigma_m, 1e-3))
        sums = np.bincount(start, weights, minlength=len(active)) + OFF_THE_MAP
        shares = weights * (probability / sums)[start]
        rows, column = np.unique(end, return_inverse=True)
        leave = self.config.leave_probability
        moved = np.bincount(column, shares, minlength=len(rows)).astype(np.float64)
        self._spread = Spread(rows, (1 - leave) * moved, (1 - leave) * spread.rest, spread.count)
        return leave * max(1 - spread.sum(), 0.0) / spread.count

    def _reached(
        self, centres: NDArray[np.float64], sigma_m: float
    ) -> tuple[Rows, Rows, NDArray[np.float64]]:
        """Return rows of centres (A, 3), of the places near them, and Gaussian weights up to 1."""
        # cKDTree.sparse_distance_matrix would do, but it takes the longer the larger the map.
        near = self._tree.query_ball_point(
            centres, FARTHEST_SIGMAS * sigma_m, return_sorted=False)
        counts = np.fromiter(map(len, near), np.intp, len(near))
        start = np.repeat(np.arange(len(near)), counts)
        end = np.fromiter(chain.from_iterable(near), np.intp, len(start))
        squared_m2 = ((self._positions[end] - centres[start]) ** 2).sum(axis=1)
        return start, end, np.exp(-squared_m2 / (2 * sigma_m**2))

    def _observe(
        self, hypotheses: Sequence[Hypothesis], *, min_score: float, back: float, news: float
    ) -> None:
        """
        Weigh each place by how much more likely the image is there than outside the map.

        A score speaks by its odds. That a place is named at all speaks by how few are named; but
        a scene names the same places for as long as it is in view, wherever it is. So this counts
        once, for a camera that comes back to the map, and then again as the odometry moves on.
        """
        config, spread, count = self.config, self._spread, len(self._places)
        rows, ratio, named = self._speaking(hypotheses, min_score)
        rarity = count / max(float(named.sum()), 1.0)
        # Images that say as much as they may need agreement_frames to bring a camera back.
        start = config.leave_probability * rarity / count
        target = _odds(config.localized_probability) / start
        most = max(1 / config.miss_likelihood, target ** (1 / config.agreement_frames))
        stayed = spread.at(rows) * np.minimum(ratio * rarity ** (news * named), most)
        returned = back * rarity ** named * np.minimum(ratio, most)
        others = count - len(rows)
        rest = (spread.rest + back) * min(config.miss_likelihood, most) if others else 0.0
        outside = max(1 - spread.sum() - back * count, 0.0)
        weighed = stayed + returned
        total = float(weighed.sum()) + rest * others + outside
        self._spread = Spread(rows, np.maximum(weighed - rest, 0.0) / total, rest / total, count)

    def _speaking(
        self, hypotheses: Sequence[Hypothesis], min_score: float
    ) -> tuple[Rows, NDArray[np.float64], NDArray[np.float64]]:
        """
        Return what the scores say for places, and how far from 0 to 1 they are named.

        Near a place that is named, the score cannot speak for another one, only less against it.

        :returns: rows (R,), ascending; ratio (R,); named (R,). Of the others nothing is said.
        """
        odds = np.array([_odds(one.score) / _odds(min_score) for one in hypotheses])
        first = np.array([self._row[one.place.place_id] for one in hypotheses], np.intp)
        sigma_m = max(SEEN_WITH_IT * self.config.agreement_radius_m, 1e-3)
        start, end, weights = self._reached(self._positions[first], sigma_m)
        rows = np.unique(np.concatenate([self._followed, self._spread.rows, end, first]))
        ratio, named = np.full(len(rows), self.config.miss_likelihood), np.zeros(len(rows))
        near = np.searchsorted(rows, end)
        np.maximum.at(named, near, weights)
        np.maximum.at(ratio, near, np.minimum(odds[start], 1.0) * weights)
        np.maximum.at(ratio, np.searchsorted(rows, first), odds)
        return rows, ratio, named

    def _conclude(self, best: Place | None) -> Belief:
        """
        Find the most probable place, and how probable the places around it are together.

        Without a motion the belief lags behind the camera, so the best hypothesis of this image
        takes the place's part, if it lies near.
        """
        spread = self._spread
        row = int(spread.rows[spread.more.argmax()]) if len(spread.rows) else 0
        if best is not None and self._near(best, self._places[row]):
            row = self._row[best.place_id]
        centre, radius_m = self._positions[row], self.config.agreement_radius_m
        offset = self._positions[spread.rows] - centre
        near = np.linalg.norm(offset, axis=1) <= radius_m
        around = self._tree.query_ball_point(centre, radius_m, return_length=True)
        probability = float(spread.more[near].sum()) + spread.rest * around
        covariance = None if self._poses is None else self._covariance_m2(offset, centre)
        return Belief(self._places[row], probability, covariance)

    def _covariance_m2(self, offset: NDArray[np.float64], centre: NDArray[np.float64]) -> Matrix:
        """Return the spread (3, 3) around a centre (3,); the offsets (R, 3) are of its rows."""
        spread = self._spread
        total = max(spread.sum(), 1e-12)
        from_mean = self._mean_m - centre
        of_all = self._scatter_m2 + spread.count * np.outer(from_mean, from_mean)
        of_some = (offset * (spread.more / total)[:, None]).T @ offset
        covariance = of_some + spread.rest / total * of_all + np.eye(3) * self._spacing_m**2
        return np.asarray(covariance, np.float64)

    def _jumped(self, place: Place, motion: Pose | None) -> bool:
        """Say whether the most probable place is further from the last than a camera may move."""
        radius_m = self.config.agreement_radius_m
        travel_m = radius_m if motion is None else float(np.linalg.norm(motion[:3, 3]))
        return self._last_place is not None and \
            self._apart_m(self._last_place, place) > radius_m + travel_m

    def _next_state(self, belief: Belief, good: Hypothesis | None, *, jumped: bool) -> State:
        """Decide, with hysteresis; from localized the way leads over lost."""
        config = self.config
        self._poor = 0 if good is not None else self._poor + 1
        agrees = good is not None and self._near(good.place, belief.place)
        self._agreeing = self._agreeing + 1 if agrees else 0
        if self._state is State.LOCALIZED:
            keep = belief.probability >= config.keep_probability and not jumped
            return State.LOCALIZED if keep else State.LOST
        enough = self._agreeing >= config.agreement_frames
        if enough and belief.probability >= config.localized_probability:
            return State.LOCALIZED
        if good is not None or (
            self._state is State.CANDIDATE and self._poor < config.agreement_frames
        ):
            return State.CANDIDATE
        return State.LOST

    def _near(self, one: Place, other: Place) -> bool:
        return self._apart_m(one, other) <= self.config.agreement_radius_m

    def _apart_m(self, one: Place, other: Place) -> float:
        ends = self._positions[[self._row[one.place_id], self._row[other.place_id]]]
        return float(np.linalg.norm(ends[0] - ends[1]))

    def _positions_m(self) -> NDArray[np.float64]:
        """Return (P, 3); without poses, places lie on a line by their ids."""
        if self._poses is not None:
            return np.asarray(self._poses[:, :3, 3], np.float64)
        step_m = self.config.agreement_radius_m / NEIGHBOUR_IDS
        along = step_m * np.array([place.place_id for place in self._places], np.float64)
        return np.stack([along, 0 * along, 0 * along], axis=1)


def pose_covariance(belief: Belief, config: DecisionConfig) -> NDArray[np.float64]:
    """
    Return the covariance (6, 6) of the pose of a belief, over x, y, z, roll, pitch, yaw.

    The spread of the belief over the places and the spacing of the map make it. The camera is
    near the place, not at it, so a deviation is never below half of ``agreement_radius_m``.
    """
    covariance = np.diag([0.0] * 3 + [HEADING_VARIANCE_RAD2] * 3)
    covariance[:3, :3] = np.eye(3) * (config.agreement_radius_m / 2) ** 2
    if belief.covariance_m2 is not None:
        covariance[:3, :3] += belief.covariance_m2
    return covariance


def _spacing_m(tree: cKDTree) -> float:
    """Return the median distance from a place to the nearest other one."""
    if tree.n < 2:
        return 0.0
    distances, _ = tree.query(tree.data, k=2)
    return float(np.median(distances[:, 1]))


def _odds(probability: float) -> float:
    inside = min(max(probability, SURE), 1 - SURE)
    return inside / (1 - inside)
