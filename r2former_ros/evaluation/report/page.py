# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page of an evaluation: figures, curves, a plan, and what the network saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...config import Config, to_yaml
from ...geometry.drawing import draw_matches
from ...maps.place_map import PlaceMap
from ...model import Model
from ...model.preprocess import preprocess
from ...records import Image, LocalFeatures, Place
from ...sources.pictures import thumbnail_jpeg
from ..measures import accepts, judged
from ..outcomes import RERANK, Outcome, inside
from ..thumbnails import place_picture
from ..trial import Trial
from .html import Picture, charts, command_block, folded, gallery, page, paragraph, table
from .marks import NEAR_M, RIGHT, WRONG, marks_of
from .overlays import attention_overlay, jpeg
from .plots import plan_png, precision_recall_png, recall_png
from .tables import number, table_rows, title_of

SHOWN_WORST, SHOWN_BEST, SHOWN_CANDIDATES = 6, 4, 3
PICTURE_WIDTH, MATCH_HEIGHT = 320, 270


def trial_report(
    trial: Trial, outcomes: Sequence[Outcome], result: Mapping[str, Any],
    model: Model, config: Config,
) -> str:
    """
    Write the page, one file that needs no network.

    :param result: as ``result_of`` returned it.
    """
    min_score = config.decision.min_score
    worst, best = worst_queries(outcomes, min_score), best_queries(outcomes)
    images = _query_images(trial, {one.query.name for one in [*worst, *best]})
    with PlaceMap.open(trial.map_path) as place_map:
        shown = Illustrator(place_map, model, place_map.places(), images)
        sections = [
            paragraph(summary(result)),
            table('Retrieval and reranking', table_rows(result)),
            charts('Curves', _curves(outcomes)),
            table('Score as decision', decision_rows(result)),
            table('Cost', cost_rows(result)),
            *_plan(outcomes, shown.places, min_score),
            gallery('Worst: wrong with the highest scores', [shown.row(one) for one in worst]),
            gallery('Best: right with the highest scores', [shown.row(one) for one in best]),
            command_block('Made by', result['command']),
            folded('Effective settings', to_yaml(config)),
        ]
    warning = '' if model.origin.trained else \
        'Untrained weights: the figures and rankings mean nothing yet.'
    return page(f'Evaluation: {trial.title}', sections, warning)


def summary(result: Mapping[str, Any]) -> str:
    """Say in words what was asked and by which rule."""
    weights = result['weights']
    text = (f'{result["queries"]} queries, {result["database"]} database images; '
            f'{result["protocol"]}. Queries without a right place: {result["outside"]}')
    if result['negatives']:
        text += f' ({result["negatives"]} of them given as negatives)'
    return (f'{text}. Weights {weights["fingerprint"]}: {weights["origin"]}. '
            f'r2former_ros {result["version"]}.')


def decision_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return what accepting every answer of the smallest score would mean."""
    names = {
        'min_score': 'smallest score (decision.min_score)',
        'accepted': 'accepted, of the queries in the map',
        'precision': 'of these right',
        'false_accepts': 'accepted, of the queries outside the map',
        'error_median_m': 'error of the accepted, median [m]',
        'error_p95_m': 'error of the accepted, 95 % [m]',
        'error_median_deg': 'error of the accepted, median [deg]',
        'error_p95_deg': 'error of the accepted, 95 % [deg]',
    }
    rows = [[text, number(result['decision'][name], 2)] for name, text in names.items()
            if result['decision'][name] is not None]
    for name in ('states', 'live'):
        rows += [[f'{name}: {key}', str(count)] for key, count in result.get(name, {}).items()]
    return [['measure', 'reranked'], *rows]


def cost_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return latency by stage, memory and size of the map."""
    rows = [[f'{stage} [ms]', number(ms, 1), number(result['latency_p95_ms'].get(stage), 1)]
            for stage, ms in result['latency_ms'].items()]
    return [
        ['stage', 'median', '95 %'], *rows,
        ['memory, peak [MiB]', number(result['memory_mb'], 0), ''],
        ['map [KiB a place]', number(result['map_bytes_per_place'] / 1024, 1), ''],
    ]


def worst_queries(outcomes: Sequence[Outcome], min_score: float) -> list[Outcome]:
    """Return wrong answers, and those to queries outside the map that would be accepted."""
    wrong = [one for one in outcomes if one.rankings[RERANK].places and not one.right(RERANK)
             and (one.query.positives or accepts(one, min_score))]
    return sorted(wrong, key=_score, reverse=True)[:SHOWN_WORST]


def best_queries(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return right answers of high score, spread over the upper half of them."""
    right = sorted((one for one in outcomes if one.right(RERANK)), key=_score, reverse=True)
    half = right[: max(SHOWN_BEST, len(right) // 2)]
    return half[:: max(1, len(half) // SHOWN_BEST)][:SHOWN_BEST]


@dataclass(frozen=True)
class Illustrator:
    """Draws rows of pictures for queries, of which it has the images by name."""

    place_map: PlaceMap
    model: Model
    places: Mapping[int, Place]
    images: Mapping[str, Image]

    def row(self, outcome: Outcome) -> list[Picture]:
        """Return matched patches, the query with its attention, and the first candidates."""
        image, spec = self.images[outcome.query.name], self.model.spec.input
        pixels = preprocess(image, spec, self.model.device)
        features = self.model.encode(pixels).local_features_of(0)
        ranking = outcome.rankings[RERANK]
        overlay = Picture(jpeg(attention_overlay(image, features, spec)),
                          f'query {outcome.query.name.split("/")[-1]}: attention')
        candidates = [self._candidate(outcome, rank)
                      for rank in range(len(ranking.places[:SHOWN_CANDIDATES]))]
        return [*self._match(image, features, ranking.places[0]), overlay, *candidates]

    def _match(
        self, image: Image, features: LocalFeatures, place_id: int
    ) -> list[Picture]:
        """Draw the patches that the query shares with a place, where it has a picture."""
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
        place = self.places[place_id]
        picture = place_picture(self.place_map, place)
        if picture is None:
            picture = np.full((240, PICTURE_WIDTH, 3), 200, np.uint8)
        kind = RIGHT if place_id in outcome.query.positives else WRONG
        score = f', score {_score(outcome):.2f}' if rank == 0 else ''
        caption = f'{rank + 1}. {kind}: place {place_id}{score}'
        return Picture(thumbnail_jpeg(picture, PICTURE_WIDTH), caption, kind)


def _plan(
    outcomes: Sequence[Outcome], places: Mapping[int, Place], min_score: float
) -> list[str]:
    marks = marks_of(outcomes, places, min_score)
    poses = [place.map_T_camera for place in places.values() if place.map_T_camera is not None]
    if not marks or not poses:
        return []
    drawn = plan_png(np.array([pose[:2, 3] for pose in poses]), marks)
    caption = f'Abstained: score below {min_score:g}. Near: not right, but within {NEAR_M:g} m. ' \
              'A line joins a wrong answer to the place that was named instead.'
    return [charts('The route', [Picture(drawn, caption, mime='image/png')])]


def _curves(outcomes: Sequence[Outcome]) -> list[Picture]:
    known = inside(outcomes)
    methods = list(outcomes[0].rankings)
    curves = precision_recall_png({title_of(name): judged(known, name) for name in methods})
    recalls = recall_png(
        {title_of(name): [one.first_right(name) for one in known] for name in methods})
    return [Picture(curves, 'precision of the first answer, and recall as a share of the right '
                    'first answers', mime='image/png'),
            Picture(recalls, 'right place among the first N', mime='image/png')]


def _query_images(trial: Trial, names: set[str]) -> dict[str, Image]:
    """Read the pictures of some queries once more."""
    return {query.name: frame.image
            for queries in trial.queries for query, frame in queries.read(names)}


def _score(outcome: Outcome) -> float:
    return outcome.rankings[RERANK].score
