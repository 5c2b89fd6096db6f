# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Results in the formats of other tools: CSV, TUM, VPR-methods-evaluation, MSLS."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...records import Place, StampedPose
from ...sources.trajectory_files import write_tum
from ..measures import accepts, localisation_error
from ..outcomes import RERANK, Outcome
from .tables import table_rows

LISTED = 20
ESCAPED = 'backslashreplace'
"""What becomes of bytes in names that are not UTF-8."""


def write_tables(folder: Path, result: Mapping[str, Any]) -> None:
    """Write ``methods.csv``, a row per measure, and ``queries.csv``, a row per query."""
    with (folder / 'methods.csv').open('w', newline='', encoding='utf-8', errors=ESCAPED) as file:
        csv.writer(file).writerows(table_rows(result))
    with (folder / 'queries.csv').open('w', newline='', encoding='utf-8', errors=ESCAPED) as file:
        csv.writer(file).writerows(query_rows(result))


def query_rows(result: Mapping[str, Any]) -> list[list[Any]]:
    """Return a head and a row per query: its position, and each method's first answer."""
    methods = list(result['methods'])
    answered = [f'{method}_{value}' for method in methods
                for value in ('place_id', 'score', 'first_right')]
    rows: list[list[Any]] = [
        ['name', 'stamp_ns', 'x_m', 'y_m', 'z_m', 'right_places', 'state', *answered]
    ]
    for one in result['per_query']:
        answers = [one['answers'][method] for method in methods]
        cells = [cell for answer in answers
                 for cell in (next(iter(answer['places']), ''), answer['score'],
                              answer['first_right'])]
        where = one['xyz_m'] or ['', '', '']
        rows.append([one['name'], one['stamp_ns'], *where, len(one['positives']), one['state'],
                     *('' if cell is None else cell for cell in cells)])
    return rows


def write_predictions(
    folder: Path, outcomes: Sequence[Outcome], places: Mapping[int, Place]
) -> None:
    """
    Write a text file per query as VPR-methods-evaluation does (``save_file_with_paths``).

    Places are named by their source: the path of the picture, or bag, topic and stamp.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for row, one in enumerate(outcomes):
        lists = {
            'Query path:': [one.query.name],
            'Predictions paths:': [places[place_id].source
                                   for place_id in one.rankings[RERANK].places[:LISTED]],
            'Positives paths:': [places[place_id].source
                                 for place_id in sorted(one.query.positives)],
        }
        text = '\n'.join('\n'.join([head, *names]) + '\n' for head, names in lists.items())
        (folder / f'{row:03d}.txt').write_text(text, encoding='utf-8', errors=ESCAPED)


def write_msls(path: Path, outcomes: Sequence[Outcome], places: Mapping[int, Place]) -> bool:
    """
    Write a prediction file as mapillary_sls's ``evaluate.py`` reads it: keys are file stems.

    All rows get the same number of predictions, because it is read as a matrix.

    :returns: False, and nothing is written, if two queries or two places share a stem.
    """
    keys = [Path(one.query.name).stem for one in outcomes]
    place_keys = [Path(place.source).stem for place in places.values()]
    if any(len(set(stems)) < len(stems) or any(set(stem) & set(' \t') for stem in stems)
           for stems in (keys, place_keys)):
        return False
    ranked = [one.rankings[RERANK].places for one in outcomes]
    count = min(LISTED, *map(len, ranked)) if ranked else 0
    rows = [' '.join([key, *(Path(places[place_id].source).stem for place_id in row[:count])])
            for key, row in zip(keys, ranked, strict=True)]
    path.write_text('\n'.join(rows) + '\n', encoding='utf-8', errors=ESCAPED)
    return True


def write_trajectories(
    folder: Path, outcomes: Sequence[Outcome], places: Mapping[int, Place], min_score: float
) -> None:
    """
    Write ``accepted.tum`` and ``truth.tum``: poses of the accepted places, and of the queries.

    Both hold the stamps of the queries that were accepted and have a pose, so evo can pair them.
    """
    taken = [one for one in outcomes
             if accepts(one, min_score) and localisation_error(one, places)]
    write_tum(folder / 'accepted.tum', [
        StampedPose(one.query.stamp_ns, pose) for one in taken
        if (pose := places[one.rankings[RERANK].places[0]].map_T_camera) is not None
    ])
    write_tum(folder / 'truth.tum', [
        StampedPose(one.query.stamp_ns, one.query.map_T_camera) for one in taken
        if one.query.map_T_camera is not None
    ])
