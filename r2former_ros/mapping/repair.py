# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Copy what is intact from a damaged map file into a new one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..common.progress import Notify, noted, silent
from ..errors import MapError
from ..maps.place_map import MapHeader, in_database, store_type
from ..maps.sqlite import require_map, translated
from ..maps.store import (
    NOTE,
    BlobRow,
    LandmarkRow,
    NewPlace,
    PlaceRow,
    PlaceStore,
    checksum,
    released_on_error,
)

COLUMNS = {
    'places': 'id',
    'descriptors': 'place_id',
    'features': 'place_id',
    'thumbnails': 'place_id',
}
"""Tables, and the column with the id of the place."""
DECIDING = ('fingerprint', 'weights', 'trained', 'descriptor_dim', 'local_dim')
"""What of a header must agree before the rest of it is believed to be the same."""


@dataclass(frozen=True)
class Repair:
    """
    What became of the places of a damaged map.

    ``poses_lost`` are places that are kept without pose, stamp and source. ``end_known`` is False
    if so much is gone that the last id is unknown. ``header_given`` names the lost fields of the
    header that were taken from the given weights and settings; ``notes_lost`` are keys of meta
    that are not in the new map.
    """

    kept: int
    lost: tuple[int, ...]
    thumbnails_lost: tuple[int, ...]
    end_known: bool
    poses_lost: tuple[int, ...] = ()
    header_given: tuple[str, ...] = ()
    notes_lost: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing was lost."""
        return self.end_known and not (
            self.lost or self.poses_lost or self.thumbnails_lost or self.notes_lost)


def repair_map(
    path: str | Path,
    out: str | Path,
    notify: Notify = silent,
    built_with: Callable[[], MapHeader] | None = None,
) -> Repair:
    """
    Copy the places whose descriptor and local features are intact, with their ids.

    A place is kept without its thumbnail, and without pose, stamp and source, if those are
    damaged. Intact notes (sessions, origin, calibration) are copied too. The damaged file is not
    changed.

    :param built_with: supplies a damaged header, called only then.
    :raises MapError: if the file is not a map, if its header is damaged and not supplied, or if
        ``out`` exists or cannot be written.
    """
    if in_database(path):
        raise MapError(f'{path}: only map files can be repaired; restore a backup of the database')
    damaged = Path(path)
    with translated(damaged):
        connection = _lenient_connection(damaged)
        with released_on_error(connection.close):
            require_map(damaged, connection)
            values, lost = _meta(connection)
            header, given = _header(damaged, values, built_with)
            ids, end_known = _possible_ids(damaged, connection, header.descriptor_dim)
            with closing(store_type(out).create(out, header)) as fresh:
                for key in values:
                    if key.startswith(NOTE):
                        fresh.write_note(key.removeprefix(NOTE), values[key])
                repair = _copied(connection, noted(ids, 'ids', len(ids), notify), fresh, end_known)
        connection.close()
    return replace(repair, header_given=given, notes_lost=lost)


def _meta(connection: sqlite3.Connection) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what the intact rows of meta hold, and which others, but of the header, it had."""
    values, lost = {}, []
    query = 'SELECT CAST(key AS BLOB), CAST(value AS BLOB), checksum FROM meta'
    try:
        for key, text, stored in connection.execute(query):
            if checksum(key, text) == stored:
                values[key.decode()] = json.loads(text)
            else:
                lost.append(key.decode(errors='replace'))
    except sqlite3.Error:
        lost.append('whatever else was in a part that cannot be read')
    header = {*MapHeader.__dataclass_fields__, 'map_id', 'package_version'}
    return values, tuple(key for key in lost if key not in header)


def _header(
    path: Path, values: dict[str, Any], built_with: Callable[[], MapHeader] | None
) -> tuple[MapHeader, tuple[str, ...]]:
    """
    Return the header, and what of it had to be given.

    :raises MapError: if something had to be and was not, or contradicts what is intact.
    """
    names = tuple(MapHeader.__dataclass_fields__)
    known = {name: values[name] for name in names if name in values}
    missing = tuple(name for name in names if name not in known)
    if not missing:
        return MapHeader(**known), ()
    if built_with is None:
        raise MapError(f'{path}: its header has lost {", ".join(missing)}',
                       'name the weights and settings that it was built with, to restore them')
    given = built_with()
    for name in DECIDING:
        if known.get(name, getattr(given, name)) != getattr(given, name):
            raise MapError(f'{path}: was built with {name} {known[name]}, not '
                           f'{getattr(given, name)}; give the weights that it was built with')
    return replace(given, **known), missing


def _copied(
    connection: sqlite3.Connection, ids: Iterator[int], fresh: PlaceStore, end_known: bool
) -> Repair:
    kept, last = 0, 0
    lost: list[int] = []
    without_picture: list[int] = []
    without_pose: list[int] = []
    for place_id in ids:
        try:
            place = _read(connection, place_id)
        except MapError:
            lost.append(place_id)
            continue
        if place is None:
            continue
        if not place.source and not _place_row(connection, place_id):
            without_pose.append(place_id)
        thumbnail = _blob(connection, 'thumbnails', place_id)
        if thumbnail is None:
            without_picture.append(place_id)
        landmarks = _landmarks(connection, place_id)
        fresh.append([replace(place, thumbnail=thumbnail or b'', landmarks=landmarks)])
        kept, last = kept + 1, place_id
    known = tuple(one for one in lost if end_known or one < last)
    return Repair(kept, known, tuple(without_picture), end_known, tuple(without_pose))


def _lenient_connection(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise MapError(f'{path}: no such map file')
    address = f'{path.resolve().as_uri()}?mode=ro'
    connection = sqlite3.connect(address, uri=True, check_same_thread=False)
    connection.execute('PRAGMA writable_schema = ON')  # lets SQLite read a truncated file
    return connection


def _possible_ids(path: Path, connection: sqlite3.Connection, dim: int) -> tuple[range, bool]:
    """Return the ids that places may have, and whether their end is known."""
    found = []
    for table, column in COLUMNS.items():
        with suppress(sqlite3.Error):  # its last page is gone; ask another table
            last = connection.execute(f'SELECT max({column}) FROM {table}').fetchone()[0]
            found.append(last or 0)
    if found:
        return range(1, max(found) + 1), True
    return range(1, path.stat().st_size // (4 * dim) + 2), False


def _read(connection: sqlite3.Connection, place_id: int) -> NewPlace | None:
    """
    Return a place without its thumbnail, None if there is none of this id.

    :raises MapError: if it is lost.
    """
    descriptor, local = (
        _blob(connection, table, place_id) for table in ('descriptors', 'features'))
    if descriptor is None or local is None:
        if _broken(connection, place_id):
            raise MapError(f'the features of place {place_id} are lost')
        return None
    place = _place_row(connection, place_id)
    if place is None:
        return NewPlace(0, None, None, None, None, '', descriptor, local, thumbnail=b'',
                        place_id=place_id)
    return NewPlace(place.stamp_ns, place.x, place.y, place.z, place.rotation, place.source,
                    descriptor, local, thumbnail=b'', place_id=place_id)


def _landmarks(connection: sqlite3.Connection, place_id: int) -> tuple[tuple[str, bytes], ...]:
    """Return the landmarks of a place that are intact; a map may have none."""
    with suppress(sqlite3.Error):
        query = 'SELECT * FROM landmarks WHERE place_id = ?'
        rows = [LandmarkRow(*row) for row in connection.execute(query, (place_id,))]
        return tuple((row.kind, row.blob) for row in rows if row.intact)
    return ()


def _place_row(connection: sqlite3.Connection, place_id: int) -> PlaceRow | None:
    """Return stamp, pose and source of a place, None if they are damaged."""
    row = _row(connection, 'places', place_id)
    intact = row is not None and row[0] == place_id and checksum(*row[:-1]) == row[-1]
    return PlaceRow(*row) if row is not None and intact else None


def _blob(connection: sqlite3.Connection, table: str, place_id: int) -> bytes | None:
    row = _row(connection, table, place_id)
    return row[1] if row and row[0] == place_id and BlobRow(*row).intact else None


def _row(connection: sqlite3.Connection, table: str, place_id: int) -> tuple[Any, ...] | None:
    with suppress(sqlite3.Error):  # this row is lost
        query = f'SELECT * FROM {table} WHERE {COLUMNS[table]} = ?'
        row: tuple[Any, ...] | None = connection.execute(query, (place_id,)).fetchone()
        return row
    return None


def _broken(connection: sqlite3.Connection, place_id: int) -> bool:
    """Say whether a place may have been there: a table cannot be read, or has a row of it."""
    for table, column in COLUMNS.items():
        try:
            query = f'SELECT 1 FROM {table} WHERE {column} = ?'
            if connection.execute(query, (place_id,)).fetchone():
                return True
        except sqlite3.Error:
            return True
    return False
