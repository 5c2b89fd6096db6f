# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page of an evaluation: a verdict, results, charts, a plan, and what the network saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...config import Config, to_yaml
from ...maps.place_map import PlaceMap
from ...model import Model
from ...records import Image, Place
from ..confidence import Reliability
from ..measures import judged, localisation_error
from ..outcomes import RERANK, Outcome, inside
from ..trial import Trial
from .html import Picture, charts, command_block, folded, gallery, page, paragraph, table
from .illustrator import Illustrator, best_queries, worst_queries
from .marks import NEAR_M, kind_of, marks_of
from .plots import (
    plan_png,
    precision_recall_png,
    recall_png,
    reliability_png,
    sparsification_png,
    timeline_png,
)
from .tables import cost_rows, decision_rows, interval_rows, title_of

PNG = 'image/png'


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
            paragraph(verdict(result), 'verdict'),
            paragraph(setup(result)),
            table('Retrieval and reranking', interval_rows(result)),
            paragraph('Recall with its 95 % interval (Wilson) below.'),
            table('Score as decision', decision_rows(result)),
            *_route(trial, outcomes, shown.places, min_score),
            charts('Curves', [*_curves(outcomes), *_trust(outcomes)]),
            table('Cost', cost_rows(result)),
            gallery('Worst: wrong with the highest scores', [shown.row(one) for one in worst]),
            gallery('Best: right with the highest scores', [shown.row(one) for one in best]),
            command_block('Command', result['command']),
            folded('Effective settings', to_yaml(config)),
        ]
    warning = '' if model.origin.trained else \
        'Untrained weights: the results and rankings mean nothing yet.'
    return page(f'Evaluation: {trial.title}', sections, warning)


def verdict(result: Mapping[str, Any]) -> str:
    """Say in a sentence or two how well it went."""
    known = result['queries'] + result['negatives'] - result['outside']
    recall, decision = result[RERANK]['recall@1'], result['decision']
    if recall is None:
        text = f'None of {result["queries"]} queries has a right place in the map.'
    else:
        low, high = result['recall_intervals'][RERANK]['recall@1']
        text = (f'The first answer is right for {recall:.1%} of {known} queries in the map '
                f'(95 % interval {low:.1%} to {high:.1%}).')
    if decision['accepted'] is not None:
        text += (f' At score {decision["min_score"]:.2g} or above, {decision["accepted"]:.1%} of '
                 'them are answered')
        if decision['precision'] is not None:
            text += f', {decision["precision"]:.1%} of these rightly'
        text += '.'
    if decision['false_accepts'] is not None:
        text += (f' Of {result["outside"]} queries outside the map, '
                 f'{decision["false_accepts"]:.1%} are answered, which is always wrong.')
    return text


def setup(result: Mapping[str, Any]) -> str:
    """Say what was asked, by which rule, when and on what machine."""
    weights, machine = result['weights'], result['machine']
    text = (f'{result["queries"]} queries, {result["database"]} places; {result["protocol"]}. '
            f'Queries without a right place: {result["outside"]}')
    if result['negatives']:
        text += f' ({result["negatives"]} of them given as negatives)'
    device = '' if machine['device'] == 'cpu' else f', {machine["device"]}'
    return (f'{text}. {result["date"].replace("T", " ")}; {machine["cpu"]}{device}; running on '
            f'{result["device"]}. Weights {weights["fingerprint"]}: {weights["origin"]}. '
            f'r2former_ros {result["version"]}.')


def _route(
    trial: Trial, outcomes: Sequence[Outcome], places: Mapping[int, Place], min_score: float
) -> list[str]:
    """Return the plan and, for queries in order, errors and states over time."""
    marks = marks_of(outcomes, places, min_score)
    poses = [place.map_T_camera for place in places.values() if place.map_T_camera is not None]
    if not marks or not poses:
        return []
    drawn = plan_png(np.array([pose[:2, 3] for pose in poses]), marks, path=trial.in_order)
    caption = (f'Abstained: score below {min_score:g}. Near: not right, but within {NEAR_M:g} m. '
               'A line joins a wrong answer to the place that was named instead.')
    sections = [charts('The route', [Picture(drawn, caption, mime=PNG)])]
    if trial.in_order:
        sections.append(gallery('Over time', [[_timeline(outcomes, places, min_score)]]))
    return sections


def _timeline(
    outcomes: Sequence[Outcome], places: Mapping[int, Place], min_score: float
) -> Picture:
    asked = [one for one in outcomes if one.query.map_T_camera is not None]
    start_ns = asked[0].query.stamp_ns
    errors = [localisation_error(one, places) for one in asked]
    drawn = timeline_png(
        [(one.query.stamp_ns - start_ns) * 1e-9 for one in asked],
        [error[0] if error else float('nan') for error in errors],
        [kind_of(one, places, min_score) for one in asked],
        [one.state for one in asked],
    )
    caption = ('Distance of the first answer from the truth; the background is the state of the '
               'recognizer: localized, candidate or lost.')
    return Picture(drawn, caption, 'wide-span', PNG)


def _curves(outcomes: Sequence[Outcome]) -> list[Picture]:
    known = inside(outcomes)
    methods = list(outcomes[0].rankings)
    curves = precision_recall_png({title_of(name): judged(known, name) for name in methods})
    recalls = recall_png(
        {title_of(name): [one.first_right(name) for one in known] for name in methods})
    return [Picture(curves, 'Precision of the first answer, and recall as a share of the right '
                    'first answers.', mime=PNG),
            Picture(recalls, 'Queries with a right place among the first N.', mime=PNG)]


def _trust(outcomes: Sequence[Outcome]) -> list[Picture]:
    """Draw how far the score of the reranked answer can be trusted, queries outside included."""
    right, scores = judged([one for one in outcomes if one.rankings[RERANK].places], RERANK)
    if not right:
        return []
    reliability = Reliability.of(right, scores)
    return [
        Picture(reliability_png(reliability), 'Reliability of the reranked score; expected '
                f'calibration error {reliability.error:.3f}.', mime=PNG),
        Picture(sparsification_png(right, scores), 'Sparsification: wrong first answers as those '
                'with the lowest scores are left out.', mime=PNG),
    ]


def _query_images(trial: Trial, names: set[str]) -> dict[str, Image]:
    """Read the pictures of some queries once more."""
    return {query.name: frame.image
            for queries in trial.queries for query, frame in queries.read(names)}
