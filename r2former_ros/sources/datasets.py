# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Labelled places for training and evaluation: which database images show a query's place.

Layouts: a ``ground_truth.json``; folders of VG / ``datasets_vg`` whose file names hold UTM
coordinates (Pitts30k, Tokyo 24/7, St Lucia, ...); a folder of MSLS with its CSV files.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..common.files import read_text
from ..common.text import printable, quoted
from ..errors import DatasetError
from ..geometry.poses import FARTHEST_M
from .pictures import is_picture

_logger = logging.getLogger(__name__)
Rows = NDArray[np.int64]
TRAIN_RADIUS_M = 10.0
SAME_PLACE_RADIUS_M = 25.0
MSLS_VALIDATION = ('cph', 'sf')
"""Cities of MSLS that are kept for validation, as in the dataset's own tools."""


@dataclass(frozen=True)
class PlaceSet:
    """
    Images of queries and of a database, by path.

    For each query, ``positives`` holds the database rows to learn as its place (within 10 m, as
    published), and ``same_place`` those that must not count as another place (within 25 m).
    ``rule`` states when a database image shows the place of a query.
    """

    queries: tuple[Path, ...]
    database: tuple[Path, ...]
    positives: tuple[Rows, ...]
    same_place: tuple[Rows, ...]
    rule: str = ''

    def __post_init__(self) -> None:
        if not len(self.queries) == len(self.positives) == len(self.same_place):
            raise DatasetError(f'{len(self.queries)} queries, but positives for '
                               f'{len(self.positives)}')

    def with_positives_only(self) -> PlaceSet:
        """Return a copy without the queries that have no positive."""
        kept = [row for row, positives in enumerate(self.positives) if len(positives)]
        return PlaceSet(
            tuple(self.queries[row] for row in kept), self.database,
            tuple(self.positives[row] for row in kept),
            tuple(self.same_place[row] for row in kept),
            self.rule,
        )


def read_places(
    path: str | Path, split: str = 'train', radius_m: float = SAME_PLACE_RADIUS_M
) -> PlaceSet:
    """
    Read a dataset; the files that are there tell its layout.

    :param path: a ground-truth file, or the folder of a VG dataset or of MSLS.
    :param split: of a VG dataset; of MSLS, train or val (the cities that it keeps for that).
    :param radius_m: radius of ``same_place``, for datasets with positions.
    :raises DatasetError: if it has none of these layouts, or is incomplete.
    """
    path = Path(path)
    if path.is_file():
        return read_ground_truth(path)
    if (path / 'images' / split / 'queries').is_dir():
        return read_vg(path, split, radius_m)
    if (path / 'train_val').is_dir():
        return read_msls(path, split, radius_m)
    raise DatasetError(f'{path}: neither a ground_truth.json, nor a folder with '
                       f'images/{split}/queries (VG) or train_val (MSLS)')


def read_ground_truth(path: Path) -> PlaceSet:
    """
    Read ``queries``, ``database`` and ``positives``; paths are relative to the file.

    :raises DatasetError: naming the entry that is not what it should be.
    """
    try:
        content = json.loads(read_text(path))
        if not isinstance(content, dict):
            raise TypeError(f'it holds a {type(content).__name__}, not an object with these keys')
        queries, database = (_paths(path, content, key) for key in ('queries', 'database'))
        listed = content['positives']
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(f'{path}: is not a ground truth with queries, database and positives '
                           f'({error})') from error
    if not isinstance(listed, list):
        raise DatasetError(f'{path}: positives is {quoted(listed)}, expected a list per query')
    positives = tuple(_rows(path, number, rows, len(database))
                      for number, rows in enumerate(listed))
    rule = str(content.get('rule', ''))
    return PlaceSet(queries, database, positives, positives,
                    'right if listed in the ground truth' + (f' ({rule})' if rule else ''))


def _paths(path: Path, content: Any, key: str) -> tuple[Path, ...]:
    names = content[key]
    wrong = [name for name in names if not isinstance(name, str)] if isinstance(names, list) \
        else [names]
    if wrong:
        raise TypeError(f'{key} holds {quoted(wrong[0])}, expected file names')
    return tuple(path.parent / name for name in names)


def _rows(path: Path, query: int, rows: Any, count: int) -> Rows:
    """Return the database rows that are listed for a query."""
    if not isinstance(rows, list):
        raise DatasetError(f'{path}: positives of query {query} are {quoted(rows)}, expected a '
                           'list of rows of the database')
    for row in rows:
        if type(row) is not int or not 0 <= row < count:
            raise DatasetError(f'{path}: positives of query {query} name {quoted(row)}, which is '
                               f'not a row of the {count} database images (from 0)')
    return np.array(rows, np.int64)


def read_vg(folder: Path, split: str, radius_m: float = SAME_PLACE_RADIUS_M) -> PlaceSet:
    """
    Read a VG dataset; names are ``@easting@northing@...``, in metres.

    :raises DatasetError: if names hold no coordinates, or degrees.
    """
    queries, database = (pictures_in(folder / 'images' / split / part)
                         for part in ('queries', 'database'))
    query_xy, database_xy = (np.array([_utm(path) for path in paths])
                             for paths in (queries, database))
    _refuse_degrees(folder, [*queries, *database], np.concatenate([query_xy, database_xy]))
    return from_positions(queries, database, query_xy, database_xy, radius_m=radius_m)


def read_msls(
    folder: Path, split: str = 'train', radius_m: float = SAME_PLACE_RADIUS_M
) -> PlaceSet:
    """
    Read the cities of a split of ``train_val``; different cities never share a place.

    :raises DatasetError: for the split ``test``, whose ground truth is not published.
    """
    if split not in ('train', 'val'):
        raise DatasetError(f'{folder}: MSLS has no ground truth for the split {split}; give val')
    parts: dict[str, list[tuple[list[Path], NDArray[np.float64]]]] = {'query': [], 'database': []}
    cities = [city for city in sorted((folder / 'train_val').iterdir())
              if (city.name in MSLS_VALIDATION) == (split == 'val')]
    for number, city in enumerate(cities):
        for part in parts:
            if (city / part).is_dir():
                paths, xy = _msls_part(city / part)
                parts[part].append((paths, xy + (number * 1e8, 0.0)))
    if not all(any(paths for paths, _ in found) for found in parts.values()):
        raise DatasetError(f'{folder}: train_val holds no city of the split {split} with '
                           'pictures of query and database')
    (queries, query_xy), (database, database_xy) = (
        ([path for paths, _ in found for path in paths], np.concatenate([xy for _, xy in found]))
        for found in (parts['query'], parts['database'])
    )
    return from_positions(queries, database, query_xy, database_xy, radius_m=radius_m)


def from_positions(
    queries: Sequence[Path], database: Sequence[Path],
    query_xy: NDArray[np.float64], database_xy: NDArray[np.float64],
    *, radius_m: float = SAME_PLACE_RADIUS_M,
) -> PlaceSet:
    """Make positives from positions (N, 2) in metres."""
    tree = cKDTree(database_xy)
    near, same = (
        tuple(np.array(sorted(rows), np.int64) for rows in tree.query_ball_point(query_xy, radius))
        for radius in (TRAIN_RADIUS_M, radius_m)
    )
    return PlaceSet(tuple(queries), tuple(database), near, same, f'right within {radius_m:g} m')


def pictures_in(folder: Path) -> list[Path]:
    """
    Return all pictures in a folder and its subfolders, sorted.

    :raises DatasetError: if there are none.
    """
    found = sorted(path for path in folder.rglob('*') if is_picture(path))
    if not found:
        raise DatasetError(f'{folder}: holds no pictures')
    return found


def _utm(path: Path) -> tuple[float, float]:
    fields = path.name.split('@')
    try:
        xy = float(fields[1]), float(fields[2])
    except (IndexError, ValueError) as error:
        raise DatasetError(f'{printable(path)}: the name holds no @easting@northing@') from error
    _require_metres(xy, path)
    return xy


def _require_metres(xy: tuple[float, float], path: Path) -> None:
    if not all(abs(value) <= FARTHEST_M for value in xy):
        raise DatasetError(f'{printable(path)}: easting and northing {xy} are not finite, or '
                           f'beyond {FARTHEST_M:.0e} m')


def _refuse_degrees(folder: Path, paths: Sequence[Path], xy: NDArray[np.float64]) -> None:
    """
    Tell degrees from metres: all fit into 180 and 90, and have the decimals that degrees need.

    :raises DatasetError: because within degrees everything is within a few "metres".
    """
    if not ((abs(xy) <= (180, 90)).all() or (abs(xy) <= (90, 180)).all()):
        return
    decimals = [len(field.partition('.')[2]) for path in paths
                for field in path.name.split('@')[1:3]]
    if min(decimals) >= 4:
        raise DatasetError(f'{folder}: names such as {printable(paths[0].name)} hold degrees, '
                           'expected UTM easting and northing in metres')
    if np.ptp(xy, axis=0).max() < 2:
        _logger.warning('%s: all images lie within 2 m of each other; names must hold metres, '
                        'not degrees', folder)


def _msls_part(folder: Path) -> tuple[list[Path], NDArray[np.float64]]:
    """Return pictures and positions (N, 2); panoramas (``raw.csv``) are left out, as published."""
    raw = folder / 'raw.csv'
    try:
        shapes = _csv_rows(raw) if raw.exists() else []
        panoramas = {row['key'] for row in shapes if row['pano'] == 'True'}
        rows = [row for row in _csv_rows(folder / 'postprocessed.csv')
                if row['key'] not in panoramas]
        paths = [folder / 'images' / f'{row["key"]}.jpg' for row in rows]
        xy = [(float(row['easting']), float(row['northing'])) for row in rows]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise DatasetError(f'{folder}: cannot be read as MSLS ({error})') from error
    for path, position in zip(paths, xy):
        _require_metres(position, path)
    return paths, np.array(xy, np.float64).reshape(-1, 2)


def _csv_rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding='utf-8', newline='') as lines:
        return list(csv.DictReader(lines))
