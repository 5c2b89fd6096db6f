# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Prune a map: drop unwanted places and those close to others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from ..errors import MapError
from ..geometry.poses import angle_deg
from ..maps.place_map import PlaceMap
from ..maps.sessions import (
    origin_of,
    renumbered,
    session_of,
    sessions_of,
    write_origin,
    write_sessions,
)
from ..records import Place
from .copying import adopt_camera, keyframes_of, new_map


def prune_map(
    path: str | Path,
    out: str | Path,
    *,
    distance_m: float = 0.0,
    within_deg: float = 180.0,
    place_ids: Collection[int] = (),
    sessions: Collection[str] = (),
) -> dict[str, list[int]]:
    """
    Write a new map without some places; the others are renumbered from 1, in order.

    :param distance_m: drop a place closer than this to one that is kept, if the angle between the
        two is at most ``within_deg``; 0 drops none. The earlier place is kept.
    :returns: the ids of the dropped places by reason: listed, session, near.
    :raises MapError: for an id or session that the map does not have, or if no place would be
        left.
    """
    with PlaceMap.open(path) as place_map:
        places = dict(place_map.places().items())
        dropped = _unwanted(place_map, places, place_ids, sessions)
        gone = {one for ids in dropped.values() for one in ids}
        rest = {key: place for key, place in places.items() if key not in gone}
        dropped['near'] = near_places(rest, distance_m, within_deg) if distance_m > 0 else []
        kept = [one for one in rest if one not in set(dropped['near'])]
        if not kept:
            raise MapError(f'{path}: no place would be left')
        with new_map(out, place_map.header) as pruned:
            pruned.add_all(keyframes_of(place_map, kept))
            write_sessions(pruned, renumbered(sessions_of(place_map), kept))
            write_origin(pruned, origin_of(place_map))
            adopt_camera(pruned, [place_map])
    return dropped


def near_places(places: Mapping[int, Place], distance_m: float, within_deg: float) -> list[int]:
    """Return the places close to an earlier one that is kept."""
    posed = [(key, place.map_T_camera) for key, place in places.items()
             if place.map_T_camera is not None]
    if not posed:
        return []
    positions = np.array([pose[:3, 3] for _, pose in posed])
    near = cKDTree(positions).query_ball_point(positions, distance_m)
    kept: set[int] = set()
    for row, neighbours in enumerate(near):
        if not any(one in kept and angle_deg(posed[one][1], posed[row][1]) <= within_deg
                   for one in neighbours if one < row):
            kept.add(row)
    return [key for row, (key, _) in enumerate(posed) if row not in kept]


def _unwanted(
    place_map: PlaceMap,
    places: Mapping[int, Place],
    place_ids: Collection[int],
    names: Collection[str],
) -> dict[str, list[int]]:
    sessions = sessions_of(place_map)
    known = [one.name for one in sessions]
    for name in names:
        if name not in known:
            raise MapError(f'{place_map.location}: has no session {name!r}; it has '
                           f'{", ".join(known)}')
    missing = sorted(set(place_ids) - set(places))
    if missing:
        raise MapError(f'{place_map.location}: has no place {missing[0]}')
    return {
        'listed': sorted(place_ids),
        'session': [one for one in places
                    if one not in place_ids and session_of(sessions, one).name in names],
    }
