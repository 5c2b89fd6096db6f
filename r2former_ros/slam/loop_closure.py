# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Loop closure: grow a map while driving, and recognize where the robot has been before.

``LoopCloser.offer`` takes each frame with its odometry. A keyframe is compared with the robot's
past, except its recent part, and then becomes a place of the growing map. Its image is encoded
only once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from ..config import Config, LoopClosureConfig
from ..geometry.poses import distance_m
from ..geometry.relative_view import relative_view
from ..geometry.trajectories import POSE_TOLERANCE_NS
from ..mapping.build import keyframe_from
from ..mapping.keyframes import KeyframeRule
from ..maps.search import PlaceSearch
from ..maps.trust import NEIGHBOUR_IDS
from ..model import ImageFeatures
from ..records import (
    NOT_VERIFIED,
    Camera,
    Candidate,
    Hypothesis,
    Keyframe,
    LoopClosure,
    Pose,
    PosedFrame,
    RefinedPose,
    View,
)
from .metric_loops import DriveLandmarks, relative_to

LOGGER = logging.getLogger(__name__)
RETURNED = 20.0
"""Back at a place: the straight line to it is this much shorter than the way driven since."""


@dataclass(frozen=True)
class KeyframeResult:
    """
    The place id of a keyframe and its loop closures.

    ``best`` is the best hypothesis in the robot's past, accepted or not.
    """

    place_id: int
    best: Hypothesis | None
    loops: tuple[LoopClosure, ...]


class LoopFilter:
    """Accept a place once the best places of consecutive keyframes agree with the motion."""

    def __init__(self, config: LoopClosureConfig, min_inliers: int) -> None:
        self.config = config
        self.min_inliers = min_inliers if config.verify else NOT_VERIFIED
        self.reset()

    def reset(self) -> None:
        """Forget the keyframes so far."""
        self._last: tuple[Hypothesis, Pose | None] | None = None
        self._agreeing = 0

    def accepts(self, best: Hypothesis | None, pose: Pose | None) -> bool:
        """Decide on the best hypothesis of the next keyframe, at ``odom_T_camera``."""
        if best is None or not self._good(best):
            self.reset()
            return False
        follows = self._last is not None and self._agree(*self._last, best, pose)
        self._agreeing = self._agreeing + 1 if follows else 1
        self._last = best, pose
        return self._agreeing >= self.config.agreement_keyframes

    def _good(self, best: Hypothesis) -> bool:
        return best.score >= self.config.min_score and best.inliers >= self.min_inliers

    def _agree(
        self, before: Hypothesis, pose_before: Pose | None, best: Hypothesis, pose: Pose | None
    ) -> bool:
        one, other = before.place, best.place
        if one.map_T_camera is None or other.map_T_camera is None:
            return abs(one.place_id - other.place_id) <= NEIGHBOUR_IDS
        moved_m = 0.0 if pose_before is None or pose is None else distance_m(pose_before, pose)
        apart_m = distance_m(one.map_T_camera, other.map_T_camera)
        return apart_m <= moved_m + self.config.agreement_radius_m


class LoopCloser:
    """The robot's past as a growing map, and the search in it."""

    def __init__(self, past: PlaceSearch, config: Config) -> None:
        """
        Begin a drive.

        :param past: searches a writable map made for this drive, whose frame is its odometry's.
        """
        self.past = past
        self.config = config
        self.camera: Camera | None = None
        self.rule = KeyframeRule(config.map)
        min_inliers = config.verification.min_inliers
        self._own = LoopFilter(config.loop_closure, min_inliers)
        self._saved = LoopFilter(config.loop_closure, min_inliers)
        self._landmarks: DriveLandmarks | None = None
        self._driven: dict[int, tuple[int, float]] = {}  # place id: stamp_ns, travelled metres
        self._travelled_m = 0.0
        self._last_pose: Pose | None = None
        self._newest_ns: int | None = None
        self._before_restart: set[int] = set()  # place ids
        self._warned = False

    def offer(
        self,
        posed: PosedFrame,
        query: ImageFeatures | None = None,
        *,
        saved: PlaceSearch | None = None,
        known: Sequence[Hypothesis] = (),
        known_pose: RefinedPose | None = None,
    ) -> KeyframeResult | None:
        """
        Take the next frame; its pose is ``odom_T_camera``, None without odometry.

        :param query: the frame's features, if computed already.
        :param saved: searches a saved map, where it found the hypotheses ``known`` and, if it
            could be measured, the frame's pose in metres, ``known_pose``.
        :returns: None for a frame between keyframes.
        :raises ImageError: if the frame holds no usable picture.
        :raises MapError: if the grown map cannot be written.
        """
        self._notice_restart(posed.frame.stamp_ns)
        self._travel(posed.map_T_camera)
        self._warn_of_short_loop(posed)
        if not self.rule.takes(posed):
            return None
        query = query or self.past.encode(self.past.prepare(posed.frame))
        keyframe = keyframe_from(posed, query, self.config.map.thumbnail_width)
        old = self.past.rerank(query, self._old_candidates(query, posed.frame.stamp_ns))
        best = self._checked_best(keyframe, old, self.past)
        loops = [self._measured(self._loop(keyframe, best, self.past, self._own), posed)]
        if saved is not None:
            best_known = self._checked_best(keyframe, known, saved)
            on_map = self._loop(keyframe, best_known, saved, self._saved)
            loops.append(on_map and replace(
                on_map, relative=relative_to(on_map.hypothesis, known_pose)))
        place = self.past.add(keyframe)
        self._add_landmarks(place.place_id, posed)
        self._driven[place.place_id] = place.stamp_ns, self._travelled_m
        return KeyframeResult(place.place_id, best, tuple(filter(None, loops)))

    def _notice_restart(self, stamp_ns: int) -> None:
        """
        Begin anew where the clock was set back.

        Stamps no longer tell which places are recent, nor for a back end which pose a place has:
        loops are closed among the keyframes after the restart only.
        """
        if self._newest_ns is not None and stamp_ns < self._newest_ns - POSE_TOLERANCE_NS:
            self._before_restart.update(self._driven)
            self._driven.clear()
            self._last_pose = None
            self._own.reset()
            self._saved.reset()
        elif self._newest_ns is not None:
            stamp_ns = max(stamp_ns, self._newest_ns)
        self._newest_ns = stamp_ns

    def _travel(self, pose: Pose | None) -> None:
        if pose is not None and self._last_pose is not None:
            self._travelled_m += distance_m(self._last_pose, pose)
        self._last_pose = pose if pose is not None else self._last_pose

    def _warn_of_short_loop(self, posed: PosedFrame) -> None:
        """Say once that a loop is too short to be closed, if odometry comes back to a place."""
        pose = posed.map_T_camera
        if pose is None or self._warned:
            return
        config = self.config.loop_closure
        for place_id, (then_ns, travelled_m) in reversed(self._driven.items()):
            length_m = self._travelled_m - travelled_m
            if length_m >= config.exclusion_m:
                return
            place = self.past.places[place_id].map_T_camera
            old = (posed.frame.stamp_ns - then_ns) * 1e-9 >= config.exclusion_s
            if old and place is not None and distance_m(place, pose) < length_m / RETURNED:
                self._warned = True
                LOGGER.warning(
                    'a loop of %.0f m is not closed: loop_closure.exclusion_m ignores keyframes '
                    'of the last %g m of travel', length_m, config.exclusion_m)
                return

    def _old_candidates(self, query: ImageFeatures, stamp_ns: int) -> list[Candidate]:
        """Retrieve places, except recent ones and those from before a restart of the clock."""
        recent = {place_id for place_id, _ in takewhile(
            lambda one: self._is_recent(one[1], stamp_ns), reversed(self._driven.items()))}
        excluded = recent | self._before_restart
        wanted = self.config.retrieval.candidates
        found = self.past.index.search(query.descriptor_of(0), wanted + len(excluded))
        return [one for one in found if one.place_id not in excluded][:wanted]

    def _is_recent(self, driven: tuple[int, float], stamp_ns: int) -> bool:
        config, (then_ns, travelled_m) = self.config.loop_closure, driven
        young = (stamp_ns - then_ns) * 1e-9 < config.exclusion_s
        near = self._last_pose is not None and self._travelled_m - travelled_m < config.exclusion_m
        return young or near

    def _checked_best(
        self, keyframe: Keyframe, hypotheses: Sequence[Hypothesis], search: PlaceSearch
    ) -> Hypothesis | None:
        if not hypotheses or not self.config.loop_closure.verify:
            return hypotheses[0] if hypotheses else None
        return search.verified(keyframe.local_features, hypotheses[0])

    def _loop(
        self,
        keyframe: Keyframe,
        best: Hypothesis | None,
        search: PlaceSearch,
        sequence: LoopFilter,
    ) -> LoopClosure | None:
        if not sequence.accepts(best, keyframe.map_T_camera) or best is None:
            return None
        view = self._view(keyframe, best, search)
        return LoopClosure(keyframe.stamp_ns, best, search is not self.past, view)

    def finish(self) -> None:
        """Complete the map at the end of the drive."""
        if self._landmarks is not None:
            self._landmarks.finish()

    def _measured(self, loop: LoopClosure | None, posed: PosedFrame) -> LoopClosure | None:
        """Add where the frame is relative to the place in metres, if that can be measured."""
        if loop is None or self._landmarks is None or posed.camera is None:
            return loop
        measured = self._landmarks.measure(posed.frame, loop.hypothesis, posed.camera)
        return replace(loop, relative=measured)

    def _add_landmarks(self, place_id: int, posed: PosedFrame) -> None:
        if not self.config.loop_closure.metric or posed.camera is None \
                or posed.map_T_camera is None:
            return
        if self._landmarks is None:
            self._landmarks = DriveLandmarks(self.past.place_map, self.config.refine)
        self._landmarks.add(place_id, posed.frame, posed.map_T_camera, posed.camera)

    def _view(self, keyframe: Keyframe, best: Hypothesis, search: PlaceSearch) -> View | None:
        if self.camera is None:
            return None
        place_id, spec = best.place.place_id, search.model.spec
        view = relative_view(
            (keyframe.thumbnail, search.place_map.thumbnail(place_id)),
            (keyframe.local_features, search.local_features(place_id)),
            (spec.image_height, spec.image_width),
            self.camera,
        )
        sure = view is not None and view.inliers >= self.config.verification.min_view_inliers
        return view if sure else None
