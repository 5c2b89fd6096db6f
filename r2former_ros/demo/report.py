# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The table, the page and the pictures that the demo leaves behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..evaluation.ground_truth import Protocol
from ..evaluation.measures import recall_at
from ..evaluation.outcomes import RERANK, RETRIEVAL, Outcome, inside
from ..evaluation.pose_errors import median_and_p95_m
from ..evaluation.report.html import Picture, gallery, page, paragraph, table
from ..evaluation.report.marks import RIGHT, WRONG, marks_of
from ..evaluation.report.plots import plan_png
from ..geometry.poses import distance_m
from ..maps.place_map import PlaceMap
from ..records import Image
from ..sources.bags import Bag
from ..sources.pictures import decode_picture, thumbnail_jpeg

RECALLS = (1, 5)
SHOWN_QUERIES, SHOWN_CANDIDATES, STRIP_QUERIES = 12, 3, 4
PICTURE_WIDTH, CAPTION_HEIGHT = 320, 26
GREEN, RED, WHITE, BLACK = (27, 138, 58), (198, 40, 40), (255, 255, 255), (32, 33, 36)
SYNTHETIC = (
    'This town is synthetic: both laps are rendered, lap 1 by day and lap 2 at dusk. The figures '
    'show that everything works together, not how well places are recognized in the real world; '
    'docs/evaluation.md in the package has figures on real data sets.'
)


def summary_rows(
    outcomes: Sequence[Outcome], latency_ms: Mapping[str, float], counts: Mapping[str, int],
    errors: Mapping[str, Any],
) -> list[list[str]]:
    """
    Return rows of three cells: measure, retrieval, after reranking; the first is the head.

    :param latency_ms: median latency by stage.
    :param counts: number of images by what happened to them.
    :param errors: of the pose, from ``pose_errors``: of the best place, and as published.
    """
    positives = [one.query.positives for one in outcomes]
    rankings = [[one.rankings[stage].places for one in outcomes] for stage in (RETRIEVAL, RERANK)]
    rows = [['measure', 'retrieval', 'after reranking']]
    for count in RECALLS:
        rows.append([f'recall@{count}',
                     *(f'{recall_at(ranked, positives, count):.3f}' for ranked in rankings)])
    rows.append(['position error, median and p95 [m]', median_and_p95_m(errors, 'place'),
                 median_and_p95_m(errors, 'metric')])
    stages = ', '.join(f'{stage} {ms:.1f}' for stage, ms in latency_ms.items())
    rows.append(['median latency [ms]', stages, ''])
    rows.append(['images', ', '.join(f'{name} {count}' for name, count in counts.items()), ''])
    return rows


def demo_report(
    map_path: Path,
    bag_path: Path,
    image_topic: str,
    outcomes: Sequence[Outcome],
    rows: Sequence[Sequence[str]],
    *,
    outlines: Sequence[NDArray[np.float64]],
    trained: bool,
    protocol: Protocol,
) -> dict[str, bytes]:
    """
    Make ``report.html`` and its two pictures, by file name.

    :param rows: the table that was printed.
    :param outlines: buildings for the plan, polygons (K, 2) in metres.
    """
    shown = _spread(outcomes, SHOWN_QUERIES)
    images = _images(bag_path, image_topic, {one.query.stamp_ns for one in shown})
    with PlaceMap.open(map_path) as place_map:
        places = place_map.places()
        lines = [_row(one, images[one.query.stamp_ns], place_map) for one in shown]
    posed = [place.map_T_camera for place in places.values() if place.map_T_camera is not None]
    # Every best hypothesis counts as an answer here: the demo shows rankings, not decisions.
    marks = marks_of(outcomes, places, -np.inf)
    plan = plan_png(np.array([pose[:2, 3] for pose in posed]), marks, outlines)
    warning = '' if trained else 'Untrained weights: the figures and rankings mean nothing yet.'
    sections = [
        paragraph(_verdict(outcomes, protocol)),
        paragraph(SYNTHETIC),
        table('Lap 2 on the map of lap 1', rows),
        gallery('Where', [[Picture(
            plan, 'Every query of lap 2 on the plan; a line joins a wrong answer to the place '
            'that was named instead.', 'span', 'image/png')]]),
        gallery('Queries and what the node answered', lines),
    ]
    return {
        'report.html': page('A camera localizes itself', sections, warning).encode(),
        'plan.png': plan,
        'localized.png': _strip(lines[:STRIP_QUERIES], trained),
    }


def _verdict(outcomes: Sequence[Outcome], protocol: Protocol) -> str:
    known = inside(outcomes)
    right = sum(one.right(RERANK) for one in known)
    return (f'The node named the right place first for {right} of {len(known)} images. An answer '
            f'counts as right within {protocol.positive_radius_m:g} m, if the headings differ by '
            f'at most {protocol.positive_angle_deg:g} degrees.')


def _spread(outcomes: Sequence[Outcome], count: int) -> list[Outcome]:
    if len(outcomes) <= count:
        return list(outcomes)
    return [outcomes[round(i * (len(outcomes) - 1) / (count - 1))] for i in range(count)]


def _images(bag_path: Path, topic: str, stamps_ns: set[int]) -> dict[int, bytes]:
    """Read the frames that are shown from the bag, as JPEG."""
    with Bag(bag_path) as bag:
        return {
            frame.stamp_ns: thumbnail_jpeg(frame.image, PICTURE_WIDTH)
            for frame in bag.images(topic) if frame.stamp_ns in stamps_ns
        }


def _row(outcome: Outcome, query: bytes, place_map: PlaceMap) -> list[Picture]:
    truth, ranking = outcome.query.map_T_camera, outcome.rankings[RERANK]
    places = place_map.places()
    where = '' if truth is None else f' at x {truth[0, 3]:.0f} y {truth[1, 3]:.0f} m'
    row = [Picture(query, f'query{where}')]
    for rank, place_id in enumerate(ranking.places[:SHOWN_CANDIDATES], 1):
        kind = RIGHT if place_id in outcome.query.positives else WRONG
        caption = f'{rank}. {kind}: place {place_id}'
        pose = places[place_id].map_T_camera
        if truth is not None and pose is not None:
            caption += f', {distance_m(pose, truth):.1f} m off'
        if rank == 1:
            caption += f', score {ranking.score:.2f}'
        row.append(Picture(place_map.thumbnail(place_id), caption, kind))
    return row


def _strip(rows: Sequence[Sequence[Picture]], trained: bool) -> bytes:
    """Draw rows as one PNG: the query, then the candidates framed green or red, with captions."""
    drawn = [np.hstack([_framed(picture) for picture in row]) for row in rows]
    width = max((row.shape[1] for row in drawn), default=PICTURE_WIDTH)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
              for row in drawn]
    sheet = np.vstack(padded) if padded else np.full((64, width, 3), 255, np.uint8)
    if not trained:
        cv2.putText(sheet, 'untrained weights', (12, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, RED, 2)
    return cv2.imencode('.png', cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes()


def _framed(picture: Picture) -> Image:
    decoded = decode_picture(picture.data, picture.caption) if picture.data else \
        np.full((240, PICTURE_WIDTH, 3), 200, np.uint8)  # a map without thumbnails
    height = round(decoded.shape[0] * PICTURE_WIDTH / decoded.shape[1])
    image = cv2.resize(decoded, (PICTURE_WIDTH, height))
    colour = {RIGHT: GREEN, WRONG: RED}.get(picture.kind, WHITE)
    framed = cv2.copyMakeBorder(image, 6, 6, 6, 6, cv2.BORDER_CONSTANT, value=colour)
    caption = np.full((CAPTION_HEIGHT, framed.shape[1], 3), 255, np.uint8)
    cv2.putText(caption, picture.caption, (8, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.42, BLACK, 1,
                cv2.LINE_AA)
    return np.asarray(np.vstack([framed, caption]), np.uint8)
