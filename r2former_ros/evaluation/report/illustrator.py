# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of pictures for single queries: matched patches, attention, answers, the true place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...geometry.drawing import draw_matches
from ...geometry.poses import distance_m
from ...maps.place_map import PlaceMap
from ...model import Model
from ...model.preprocess import preprocess
from ...records import Image, LocalFeatures, Place
from ...sources.pictures import thumbnail_jpeg
from ..measures import accepts
from ..outcomes import RERANK, Outcome
from ..thumbnails import place_picture
from .html import Picture
from .marks import RIGHT, WRONG
from .overlays import attention_overlay, jpeg

SHOWN_WORST, SHOWN_BEST, SHOWN_CANDIDATES = 6, 4, 3
PICTURE_WIDTH, MATCH_HEIGHT = 320, 270


def worst_queries(outcomes: Sequence[Outcome], min_score: float) -> list[Outcome]:
    """Return wrong answers, and those to queries outside the map that would be accepted."""
    wrong = [one for one in outcomes if one.rankings[RERANK].places and not one.right(RERANK)
             and (one.query.positives or accepts(one, min_score))]
    return sorted(wrong, key=_score, reverse=True)[:SHOWN_WORST]


def best_queries(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return right answers with high scores, spread over the upper half of them."""
    right = sorted((one for one in outcomes if one.right(RERANK)), key=_score, reverse=True)
    half = right[: max(SHOWN_BEST, len(right) // 2)]
    return half[:: max(1, len(half) // SHOWN_BEST)][:SHOWN_BEST]


@dataclass(frozen=True)
class Illustrator:
    """Draws rows of pictures for queries, whose images it has by name."""

    place_map: PlaceMap
    model: Model
    places: Mapping[int, Place]
    images: Mapping[str, Image]

    def row(self, outcome: Outcome) -> list[Picture]:
        """Return matched patches, the query with attention, the true place if missed, answers."""
        image, spec = self.images[outcome.query.name], self.model.spec.input
        pixels = preprocess(image, spec, self.model.device)
        features = self.model.encode(pixels).local_features_of(0)
        ranking = outcome.rankings[RERANK]
        where = '' if outcome.query.positives else ', not in the map'
        overlay = Picture(jpeg(attention_overlay(image, features, spec)),
                          f'query {outcome.query.name.split("/")[-1]}{where}: attention')
        truth = [] if outcome.right(RERANK) else self._truth(outcome)
        candidates = [self._candidate(outcome, rank)
                      for rank in range(len(ranking.places[: SHOWN_CANDIDATES - len(truth)]))]
        return [*self._match(image, features, ranking.places[0]), overlay, *truth, *candidates]

    def _match(
        self, image: Image, features: LocalFeatures, place_id: int
    ) -> list[Picture]:
        """Draw the patches that the query shares with a place that has a picture."""
        place = place_picture(self.place_map, self.places[place_id])
        if place is None:
            return []
        _, (stored,) = self.place_map.features([place_id])
        spec = self.model.spec.input
        sheet, pairs, inliers = draw_matches(
            image, features, place, stored,
            input_px=(spec.height, spec.width), height_px=MATCH_HEIGHT,
        )
        caption = f'query and first answer: {pairs} mutual best patches, ' \
                  f'a homography explains {inliers}'
        return [Picture(jpeg(sheet), caption, 'span')]

    def _candidate(self, outcome: Outcome, rank: int) -> Picture:
        place_id = outcome.rankings[RERANK].places[rank]
        kind = RIGHT if place_id in outcome.query.positives else WRONG
        score = f', score {_score(outcome):.2f}' if rank == 0 else ''
        return self._picture(outcome, place_id, f'{rank + 1}. {kind}: ', score, kind)

    def _truth(self, outcome: Outcome) -> list[Picture]:
        """Return the right place nearest to the query, if the map has one."""
        positives = outcome.query.positives
        if not positives:
            return []
        nearest = min(positives, key=lambda place_id: (self._away_m(outcome, place_id), place_id))
        return [self._picture(outcome, nearest, 'the true ', '', 'truth')]

    def _picture(
        self, outcome: Outcome, place_id: int, before: str, after: str, kind: str
    ) -> Picture:
        picture = place_picture(self.place_map, self.places[place_id])
        if picture is None:
            picture = np.full((240, PICTURE_WIDTH, 3), 200, np.uint8)
        away_m = self._away_m(outcome, place_id)
        where = f', {away_m:.1f} m away' if np.isfinite(away_m) else ''
        caption = f'{before}place {place_id}{where}{after}'
        return Picture(thumbnail_jpeg(picture, PICTURE_WIDTH), caption, kind)

    def _away_m(self, outcome: Outcome, place_id: int) -> float:
        """Return the distance from the query to a place, infinite without both poses."""
        truth, pose = outcome.query.map_T_camera, self.places[place_id].map_T_camera
        return float('inf') if truth is None or pose is None else distance_m(pose, truth)


def _score(outcome: Outcome) -> float:
    return outcome.rankings[RERANK].score
