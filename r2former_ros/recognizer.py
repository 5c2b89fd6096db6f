# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The page to read first: encode, retrieve, rerank, verify, decide.

``Recognizer.recognize`` is the whole of R2Former at run time; every other module serves it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from .common.progress import Notify, silent
from .config import Config, RerankConfig
from .decision import PlaceFilter
from .geometry.verification import count_inliers
from .maps.calibration import calibration_for, with_threshold
from .maps.index import PlaceIndex
from .maps.place_map import PlaceMap
from .maps.resident import ResidentFeatures
from .model import ImageFeatures, Model, blended_score, match_probability
from .model.loading import load_configured
from .model.preprocess import preprocess
from .records import (
    NOT_VERIFIED,
    Candidate,
    Frame,
    Hypothesis,
    Keyframe,
    LocalFeatures,
    Place,
    Pose,
    Recognition,
)


class Recognizer:
    """Recognise the places of one map in camera images."""

    def __init__(
        self,
        model: Model,
        place_map: PlaceMap,
        config: Config | None = None,
        notify: Notify = silent,
    ) -> None:
        """
        Read the map and index its descriptors, or take up the index that is kept beside it.

        :param notify: told what is being done, where that may take long.
        :raises MapError: if the map is damaged or was built with other weights, or if a
            false-accept rate is wanted and the map is not calibrated.
        """
        config = config or Config()
        self.calibration = calibration_for(place_map, config)
        self.config = with_threshold(config, self.calibration)
        place_map.require_weights(model.fingerprint, model.origin.text)
        self.model = model
        self.place_map = place_map
        self.places = place_map.places()
        notify(f'{place_map.location}: {len(self.places)} places')
        retrieval = self.config.retrieval
        device = str(model.device) if retrieval.device == 'auto' else retrieval.device
        self.index = PlaceIndex.of_map(place_map, self.places, retrieval, device, notify)
        origin = model.origin
        # Weights of the first training stage alone would rank by noise. (A network without any
        # training is only there to try the whole path.)
        self.reranks = origin.reranker_trained or not origin.trained
        self.filter = PlaceFilter(list(self.places.values()), self.config.decision)
        place_map.preload(self.config.map.preload_mb, notify)
        on_cpu = model.device.type == 'cpu'
        self.resident = None if on_cpu else ResidentFeatures(place_map, model.device)

    @classmethod
    def open(
        cls,
        map_path: str | Path,
        config: Config | None = None,
        model: Model | None = None,
        notify: Notify = silent,
    ) -> Recognizer:
        """
        Load the configured weights, if no model is given, and a map.

        :raises WeightsError: if the weights cannot be loaded.
        :raises MapError: if the map cannot be read or was built with other weights.
        """
        config = config or Config()
        place_map = PlaceMap.open(map_path)
        try:
            return cls(model or load_configured(config), place_map, config, notify)
        except BaseException:
            place_map.close()
            raise

    def use(self, config: Config) -> None:
        """
        Take other settings of retrieval, reranking and decision from the next image on.

        :raises MapError: if the map is not calibrated as they need; then nothing changes.
        """
        self.calibration = calibration_for(self.place_map, config)
        self.config = with_threshold(config, self.calibration)
        self.filter.config = self.config.decision

    def warm_up(self) -> None:
        """Run the network once, so that the first image does not wait for what is compiled."""
        height, width = self.model.spec.image_height, self.model.spec.image_width
        features = self.model.encode(torch.zeros(1, 3, height, width))
        self.model.score(features, features)

    def recognize(self, frame: Frame, odom_T_camera: Pose | None = None) -> Recognition:
        """
        Say which places of the map an image shows, and whether that is sure.

        :param odom_T_camera: where odometry says the camera is, in a frame that may drift.
        :raises ImageError: if the frame holds no usable picture.
        """
        return self.recognize_and_encode(frame, odom_T_camera)[0]

    def recognize_and_encode(
        self, frame: Frame, odom_T_camera: Pose | None = None, pixels: torch.Tensor | None = None
    ) -> tuple[Recognition, ImageFeatures]:
        """
        Recognise, and return the features too, for who has a use for them of his own.

        :param pixels: what ``prepare`` made of the frame, where that was done before.
        """
        latency_ms: dict[str, float] = {}
        with _timed(latency_ms, 'encode'):
            query = self.encode(frame, pixels)
        with _timed(latency_ms, 'retrieve'):
            candidates = self.retrieve(query)
        with _timed(latency_ms, 'rerank'):
            hypotheses = self.rerank(query, candidates)
        with _timed(latency_ms, 'verify'):
            hypotheses, trusted = self.verify(query, hypotheses)
        min_score = self.config.decision.min_score
        with _timed(latency_ms, 'decide'):
            state, belief = self.filter.decide(
                trusted, min_score=min_score, odom_T_camera=odom_T_camera
            )
        accepted = bool(trusted) and trusted[0].score >= min_score
        recognition = Recognition(
            frame.stamp_ns, state, tuple(hypotheses), tuple(candidates), latency_ms, belief,
            accepted,
        )
        return recognition, query

    def prepare(self, frame: Frame) -> torch.Tensor:
        """
        Return the network's input for a frame, (1, 3, height, width) on the model's device.

        :raises ImageError: if the frame holds no usable picture.
        """
        return preprocess(frame.image, self.model.spec.input, self.model.device)

    def encode(self, frame: Frame, pixels: torch.Tensor | None = None) -> ImageFeatures:
        """Compute global descriptor and local features of the image (paper section 3.1)."""
        return self.model.encode(self.prepare(frame) if pixels is None else pixels)

    def stored(self, place_id: int) -> ImageFeatures:
        """Return the features of a place, to be used as a query."""
        return self.stored_features([place_id])

    def stored_features(self, place_ids: Sequence[int]) -> ImageFeatures:
        """Return the features of places on the model's device, where they may lie already."""
        if self.resident is not None:
            return self.resident.of(place_ids)
        stored = self.place_map.features(place_ids, widen=False)
        return ImageFeatures.stack(*stored, self.model.device)

    def retrieve(self, query: ImageFeatures) -> list[Candidate]:
        """Find the places with the most similar global descriptors."""
        return self.index.search(query.descriptor_of(0), self.config.retrieval.candidates)

    def rerank(self, query: ImageFeatures, candidates: list[Candidate]) -> list[Hypothesis]:
        """
        Order the first candidates by the match score of their local features (section 3.2).

        Where reranking is off, or its weights are untrained, the similarity ranks and scores.
        Sorting is by the difference of the logits: the probability rises with it, but saturates.
        """
        settings = self.config.rerank.effective
        if settings.candidates == 0 or not self.reranks:
            return [self._hypothesis(one, max(0.0, one.similarity)) for one in candidates]
        if not candidates:
            return []
        query = query.strongest(settings.local_features)
        chosen, compared = self.shortlist(query, candidates, settings)
        logits = self.model.score(query, compared, settings.batch)
        similarity = torch.tensor([one.similarity for one in chosen], device=logits.device)
        score, order = match_probability(logits.double()), logits[:, 1] - logits[:, 0]
        if settings.ranking == 'blended':
            ratio = self.model.network.reranker.ratio
            score = blended_score(logits, similarity, ratio).clamp(0, 1)
            order = score
        ranks, scores = order.argsort(descending=True, stable=True).tolist(), score.tolist()
        return [self._hypothesis(chosen[rank], scores[rank]) for rank in ranks]

    def shortlist(
        self, query: ImageFeatures, candidates: list[Candidate], settings: RerankConfig
    ) -> tuple[list[Candidate], ImageFeatures]:
        """Choose the candidates to rerank, by a cheap comparison, and read their features."""
        considered = candidates[: max(settings.shortlist, settings.candidates)]
        features = self.stored_features([one.place_id for one in considered])
        features = features.strongest(settings.local_features)
        if len(considered) <= settings.candidates:
            return considered, features
        scores = self.model.rescore(query, features)
        best = scores.topk(settings.candidates).indices.sort().values.tolist()
        return [considered[row] for row in best], features[best]

    def verify(
        self, query: ImageFeatures, hypotheses: list[Hypothesis]
    ) -> tuple[list[Hypothesis], list[Hypothesis]]:
        """
        Check the first hypotheses by geometry, as many as the configuration says.

        :returns: the hypotheses, those that failed last; and those to decide on, which are only
            the ones that passed where any were checked.
        """
        config = self.config.verification
        if config.hypotheses == 0:
            return hypotheses, hypotheses
        local_features = query.local_features_of(0)
        first = [self.verified(local_features, one) for one in hypotheses[: config.hypotheses]]
        good = [one for one in first if one.inliers >= config.min_inliers]
        failed = [one for one in first if one.inliers < config.min_inliers]
        return [*good, *hypotheses[config.hypotheses:], *failed], good

    def verified(self, query: LocalFeatures, hypothesis: Hypothesis) -> Hypothesis:
        """Count a hypothesis's inliers, where that was not done yet."""
        if hypothesis.inliers != NOT_VERIFIED:
            return hypothesis
        (_, (place,)) = self.place_map.features([hypothesis.place.place_id])
        spec = self.model.spec
        longer_side_px = max(spec.image_height, spec.image_width)
        inliers = count_inliers(query, place, longer_side_px, self.config.verification)
        return replace(hypothesis, inliers=inliers)

    def add(self, keyframe: Keyframe) -> Place:
        """
        Add a place to the map, where it is on disk when this returns, and to the index.

        :raises MapError: if the map was opened for reading, or cannot be written.
        """
        place_id = self.place_map.add(keyframe)
        place = Place(place_id, keyframe.stamp_ns, keyframe.map_T_camera, keyframe.source)
        self.places.add(place)
        self.index.add(place_id, keyframe.descriptor)
        return place

    def _hypothesis(self, candidate: Candidate, score: float) -> Hypothesis:
        probability = self.calibration.probability(score) if self.calibration else math.nan
        place = self.places[candidate.place_id]
        return Hypothesis(place, candidate.similarity, score, probability=probability)


@contextmanager
def _timed(latency_ms: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    latency_ms[stage] = (time.perf_counter() - start) * 1e3
