# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Search a map for the places of an image: encode, retrieve, rerank, verify.

``PlaceSearch`` says what an image shows and how well it matches, not whether that is enough:
decisions over time are made by ``recognizer`` (localization) and ``slam`` (loop closure).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from ..common.progress import Notify, silent
from ..config import Config, RerankConfig
from ..geometry.verification import count_inliers
from ..model import ImageFeatures, Model, blended_score, match_probability
from ..model.preprocess import preprocess
from ..records import (
    NOT_VERIFIED,
    Candidate,
    Frame,
    Hypothesis,
    Keyframe,
    LocalFeatures,
    Place,
)
from .features import preloaded
from .index import PlaceIndex
from .place_map import PlaceMap

KEPT_IN_USE = 32
"""Places whose unpacked local features are cached: several consumers ask for an image's best."""
KEPT_DESCRIPTORS = 1024
"""Places whose descriptors are cached."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """
    A frame and the network's input made from it.

    ``pixels`` (1, 3, height, width) is on the model's device; making it took ``prepare_ms``.
    """

    frame: Frame
    pixels: torch.Tensor
    prepare_ms: float


class PlaceSearch:
    """
    Search one map, with one model.

    ``config`` may be replaced between images. ``index`` is what ``retrieve`` searches; evaluation
    replaces it by one that grows with the queries.
    """

    def __init__(
        self,
        model: Model,
        place_map: PlaceMap,
        config: Config | None = None,
        notify: Notify = silent,
    ) -> None:
        """
        Read the map and index its descriptors, or load the index cached next to it.

        :param notify: told what is being done if it may take long.
        :raises MapError: if the map is damaged or was built with other weights.
        """
        place_map.require_weights(model.fingerprint, model.origin.text)
        self.config = config or Config()
        self.model = model
        self.place_map = place_map
        self.places = place_map.places()
        self.places.verify()
        notify(f'{place_map.location}: {len(self.places)} places')
        retrieval = self.config.retrieval
        device = str(model.device) if retrieval.device == 'auto' else retrieval.device
        self.index = PlaceIndex.of_map(place_map, self.places, retrieval, device, notify)
        # An untrained reranker ranks at random. (A network without any training is only there to
        # try the whole path.)
        self.reranks = model.origin.reranker_trained or not model.origin.trained
        features = preloaded(place_map, self.config.map.preload_mb, model.device, notify)
        self.features = features
        # Caches of methods would make the search refer to itself, and keep the weights in memory
        # until the garbage collector runs.
        self.local_features = lru_cache(KEPT_IN_USE)(
            lambda place_id: features.of([place_id]).local_features_of(0))
        self.descriptor = lru_cache(KEPT_DESCRIPTORS)(
            lambda place_id: features.of([place_id]).descriptor_of(0))

    def warm_up(self) -> None:
        """Run the network once, so that the first image does not wait for compilation."""
        height, width = self.model.spec.image_height, self.model.spec.image_width
        features = self.model.encode(torch.zeros(1, 3, height, width))
        self.model.score(features, features)

    def prepare(self, frame: Frame) -> Prepared:
        """
        Make the network's input from a frame.

        :raises ImageError: if the frame holds no usable picture.
        """
        start = time.perf_counter()
        pixels = preprocess(frame.image, self.model.spec.input, self.model.device)
        return Prepared(frame, pixels, (time.perf_counter() - start) * 1e3)

    def encode(self, prepared: Prepared) -> ImageFeatures:
        """Compute the global descriptor and local features of an image (paper section 3.1)."""
        return self.model.encode(prepared.pixels)

    def retrieve(self, query: ImageFeatures) -> list[Candidate]:
        """Find the places with the most similar global descriptors."""
        return self.index.search(query.descriptor_of(0), self.config.retrieval.candidates)

    def rerank(self, query: ImageFeatures, candidates: list[Candidate]) -> list[Hypothesis]:
        """
        Order the first candidates by the match score of their local features (section 3.2).

        If reranking is off, or its weights are untrained, the similarity ranks and scores.
        Hypotheses are sorted by the difference of the logits: the score rises with it but
        saturates.
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
        """Choose the candidates to rerank by a cheap comparison, and read their features."""
        considered = candidates[: max(settings.shortlist, settings.candidates)]
        features = self.features.of([one.place_id for one in considered])
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
        Check the geometry of as many of the first hypotheses as configured.

        :returns: all hypotheses, those that failed last; and those to decide on: the ones that
            passed if any were checked, otherwise all.
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
        """Return the hypothesis with its inliers counted."""
        if hypothesis.inliers != NOT_VERIFIED:
            return hypothesis
        place = self.local_features(hypothesis.place.place_id)
        spec = self.model.spec
        longer_side_px = max(spec.image_height, spec.image_width)
        inliers = count_inliers(query, place, longer_side_px, self.config.verification)
        return replace(hypothesis, inliers=inliers)

    def add(self, keyframe: Keyframe) -> Place:
        """
        Add a place to the map and the index; it is on disk when this returns.

        :raises MapError: if the map was opened for reading, or cannot be written.
        """
        place_id = self.place_map.add(keyframe)
        place = Place(place_id, keyframe.stamp_ns, keyframe.map_T_camera, keyframe.source)
        self.places.add(place)
        self.index.add(place_id, keyframe.descriptor)
        return place

    def _hypothesis(self, candidate: Candidate, score: float) -> Hypothesis:
        return Hypothesis(self.places[candidate.place_id], candidate.similarity, score)
