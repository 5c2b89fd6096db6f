# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pictures and the page that the demo leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..evaluation.measures import Answer
from ..evaluation.report.html import Picture, gallery, page, table
from ..evaluation.report.plots import RIGHT, WRONG, Mark, plan_png
from ..maps.place_map import PlaceMap
from ..records import Image
from ..sources.bags import Bag
from ..sources.pictures import thumbnail_jpeg

SHOWN_QUERIES = 12
SHOWN_CANDIDATES = 3
PICTURE_WIDTH = 320
GREEN, RED, WHITE = (27, 138, 58), (198, 40, 40), (255, 255, 255)


def demo_report(
    map_path: Path,
    bag_path: Path,
    image_topic: str,
    answers: Sequence[Answer],
    rows: Sequence[Sequence[str]],
    *,
    outlines: Sequence[NDArray[np.float64]],
    trained: bool,
) -> dict[str, bytes]:
    """
    Make ``report.html`` and its two pictures, by file name.

    :param rows: the table that was printed.
    :param outlines: buildings for the plan, polygons (K, 2) in metres.
    """
    shown = _spread(answers, SHOWN_QUERIES)
    images = _images(bag_path, image_topic, {answer.stamp_ns for answer in shown})
    with PlaceMap.open(map_path) as place_map:
        places = place_map.places().values()
        lines = [_row(answer, images[answer.stamp_ns], place_map) for answer in shown]
    poses = [place.map_T_camera for place in places if place.map_T_camera is not None]
    plan = plan_png(np.array([pose[:2, 3] for pose in poses]), list(map(_mark, answers)), outlines)
    warning = '' if trained else 'Untrained weights: the figures and rankings mean nothing yet.'
    sections = [
        table('Lap 2 on the map of lap 1', rows),
        gallery('Where', [[
            Picture(plan, 'every query of lap 2 on the plan', 'span', 'image/png')]]),
        gallery('Queries and what the node answered', lines),
    ]
    html = page('A camera localizes itself', sections, warning)
    return {
        'report.html': html.encode(),
        'plan.png': plan,
        'localized.png': _strip(lines[:4], trained),
    }


def _spread(answers: Sequence[Answer], count: int) -> list[Answer]:
    if len(answers) <= count:
        return list(answers)
    return [answers[round(i * (len(answers) - 1) / (count - 1))] for i in range(count)]


def _mark(answer: Answer) -> Mark:
    x, y = answer.truth[:2, 3]
    best = answer.hypotheses[0].place.map_T_camera if answer.hypotheses else None
    if answer.right or best is None:
        return Mark((x, y), RIGHT if answer.right else WRONG)
    return Mark((x, y), WRONG, (best[0, 3], best[1, 3]))


def _images(bag_path: Path, topic: str, stamps_ns: set[int]) -> dict[int, bytes]:
    """Take the shown frames out of the bag, as JPEG."""
    with Bag(bag_path) as bag:
        return {
            frame.stamp_ns: thumbnail_jpeg(frame.image, PICTURE_WIDTH)
            for frame in bag.images(topic) if frame.stamp_ns in stamps_ns
        }


def _row(answer: Answer, query: bytes, place_map: PlaceMap) -> list[Picture]:
    x, y = answer.truth[:2, 3]
    row = [Picture(query, f'query at x {x:.0f} y {y:.0f} m')]
    for rank, one in enumerate(answer.hypotheses[:SHOWN_CANDIDATES], 1):
        place = one.place
        where = ''
        if place.map_T_camera is not None:
            x, y = place.map_T_camera[:2, 3]
            where = f' at x {x:.0f} y {y:.0f} m'
        kind = 'right' if place.place_id in answer.positives else 'wrong'
        caption = f'{rank}. place {place.place_id}{where}, score {one.score:.2f}, ' \
                  f'similarity {one.similarity:.2f}'
        row.append(Picture(place_map.thumbnail(place.place_id), caption, kind))
    return row


def _strip(rows: Sequence[Sequence[Picture]], trained: bool) -> bytes:
    """Draw some rows as one PNG: the query, then the candidates framed green or red."""
    drawn = [np.hstack([_framed(picture) for picture in row]) for row in rows]
    width = max((row.shape[1] for row in drawn), default=PICTURE_WIDTH)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
              for row in drawn]
    sheet = np.vstack(padded) if padded else np.full((64, width, 3), 255, np.uint8)
    if not trained:
        cv2.putText(sheet, 'untrained weights', (12, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, RED, 2)
    return cv2.imencode('.png', cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes()


def _framed(picture: Picture) -> Image:
    decoded = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:  # a map without thumbnails
        decoded = np.full((240, PICTURE_WIDTH, 3), 200, np.uint8)
    height = round(decoded.shape[0] * PICTURE_WIDTH / decoded.shape[1])
    image = cv2.cvtColor(cv2.resize(decoded, (PICTURE_WIDTH, height)), cv2.COLOR_BGR2RGB)
    colour = {'right': GREEN, 'wrong': RED}.get(picture.kind, WHITE)
    return np.asarray(
        cv2.copyMakeBorder(image, 6, 6, 6, 6, cv2.BORDER_CONSTANT, value=colour), np.uint8
    )
