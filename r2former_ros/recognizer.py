# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The page to read first: search the map for an image, then decide where the camera is.

``Recognizer.recognize`` is all of R2Former at run time; every other module serves it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .common.progress import Notify, silent
from .config import Config
from .decision import PlaceFilter
from .maps.judge import Judge
from .maps.place_map import PlaceMap
from .maps.refine import PoseRefiner, Refinement
from .maps.search import PlaceSearch, Prepared
from .model import ImageFeatures, Model
from .model.loading import load_configured
from .records import Frame, MountedCamera, Pose, Recognition


class Recognizer:
    """Say which places of a map an image shows, and whether the images so far leave any doubt."""

    def __init__(
        self,
        search: PlaceSearch,
        place_filter: PlaceFilter | None = None,
        refiner: PoseRefiner | None = None,
    ) -> None:
        """
        Decide on what a search finds.

        :param place_filter: over the places of the same map.
        :param refiner: measures poses in metres with the landmarks of the same map.
        :raises WeightsError: if the weights of its keypoints are missing.
        :raises MapError: if ``decision.false_accept_rate`` is set and the map is not calibrated.
        """
        self.search = search
        self.judge = Judge(search)
        self.filter = place_filter or PlaceFilter(search.places, self.judge.decision)
        self.refiner = refiner or PoseRefiner(search.place_map, search.config.refine)

    @classmethod
    def open(
        cls,
        map_path: str | Path,
        config: Config | None = None,
        model: Model | None = None,
        notify: Notify = silent,
    ) -> Recognizer:
        """
        Open a map, and load the configured weights unless a model is given.

        :param notify: told what is being done if it may take long.
        :raises WeightsError: if the weights cannot be loaded.
        :raises MapError: if the map cannot be read or was built with other weights.
        """
        config = config or Config()
        place_map = PlaceMap.open(map_path)
        try:
            model = model or load_configured(config)
            return cls(PlaceSearch(model, place_map, config, notify))
        except BaseException:
            place_map.close()
            raise

    @property
    def config(self) -> Config:
        """The settings in use; a false-accept rate has been turned into ``min_score``."""
        return replace(self.search.config, decision=self.judge.decision)

    def close(self) -> None:
        """Close the map."""
        self.search.place_map.close()

    def use(self, config: Config) -> None:
        """
        Change the settings of retrieval, reranking and decision, from the next image on.

        :raises MapError: if they need a calibration that the map lacks; then nothing changes.
        """
        self.judge.use(config)
        self.search.config = config
        self.filter.config = self.judge.decision
        self.refiner.use(config.refine)

    def recognize(
        self,
        frame: Frame,
        odom_T_camera: Pose | None = None,
        camera: MountedCamera | None = None,
    ) -> Recognition:
        """
        Recognize the place of one image and update the state.

        :param odom_T_camera: pose of the camera from odometry, in a frame that may drift.
        :param camera: that took the image, for a pose in metres; None: the map's own camera.
        :raises ImageError: if the frame holds no usable picture.
        """
        return self.recognize_and_encode(self.search.prepare(frame), odom_T_camera, camera)[0]

    def recognize_and_encode(
        self,
        prepared: Prepared,
        odom_T_camera: Pose | None = None,
        camera: MountedCamera | None = None,
    ) -> tuple[Recognition, ImageFeatures]:
        """Recognize, and also return the features, for callers that reuse them."""
        search = self.search
        latency_ms: dict[str, float] = {}
        with _timed(latency_ms, 'encode'):
            query = search.encode(prepared)
        latency_ms['encode'] += prepared.prepare_ms
        with _timed(latency_ms, 'retrieve'):
            candidates = search.retrieve(query)
        with _timed(latency_ms, 'rerank'):
            hypotheses = search.rerank(query, candidates)
        with _timed(latency_ms, 'verify'):
            hypotheses, trusted = search.verify(query, hypotheses)
        refined = Refinement(hypotheses)
        if self.refiner.ready:
            with _timed(latency_ms, 'refine'):
                refined = self.refiner.refine(prepared.frame.image, hypotheses, camera)
        with _timed(latency_ms, 'decide'):
            measured = refined.pose.place_id if refined.pose else None
            judgement = self.judge.judge(query, trusted, measured)
            state, belief = self.filter.decide(trusted, judgement.evidence, odom_T_camera)
            known = {one.place.place_id: probability for one, probability
                     in zip(trusted, judgement.probabilities.tolist())}
        return Recognition(
            prepared.frame.stamp_ns,
            state,
            tuple(replace(one, probability=known.get(one.place.place_id, math.nan))
                  for one in refined.hypotheses),
            tuple(candidates),
            latency_ms,
            belief,
            judgement.accepted,
            judgement.required,
            refined.pose,
            refined.reason,
        ), query


@contextmanager
def _timed(latency_ms: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    latency_ms[stage] = (time.perf_counter() - start) * 1e3
