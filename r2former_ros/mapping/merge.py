# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Merge several maps into one, with separate sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..errors import MapError
from ..maps.place_map import PlaceMap
from ..maps.sessions import (
    UNNAMED_SESSION,
    Session,
    origin_of,
    renumbered,
    sessions_of,
    unique_name,
    write_origin,
    write_sessions,
)
from ..records import Pose
from .copying import adopt_camera, keyframes_of, new_map

SAME = ('fingerprint', 'descriptor_dim', 'local_dim', 'local_dtype')
"""Header fields that merged maps must share, so that their places can be compared."""


def merge_maps(
    out: str | Path, paths: Sequence[str], transforms: Mapping[str, Pose] | None = None
) -> dict[str, int]:
    """
    Write the places of several maps into a new one, in the order of the maps.

    :param transforms: ``out_T_map`` by path or file name of a map; other maps keep their poses.
    :returns: the number of places by map.
    :raises MapError: if the maps differ in weights or local features, or, without a transform, in
        their geographic origin.
    """
    moves = _moves(paths, transforms or {})
    with ExitStack() as stack:
        maps = [stack.enter_context(PlaceMap.open(path)) for path in paths]
        for other in maps[1:]:
            _require_same(maps[0], other)
        _require_origin(maps, moves)
        merged = stack.enter_context(new_map(out, maps[0].header))
        sessions: list[Session] = []
        for place_map, move in zip(maps, moves, strict=True):
            sessions += _named_sessions(place_map, sessions, len(merged) + 1)
            merged.add_all(keyframes_of(place_map, place_map.places(), move))
        write_sessions(merged, sessions)
        adopt_camera(merged, maps)
        if moves[0] is None:
            write_origin(merged, origin_of(maps[0]))
        return {path: len(place_map) for path, place_map in zip(paths, maps, strict=True)}


def _moves(paths: Sequence[str], transforms: Mapping[str, Pose]) -> list[Pose | None]:
    """Return the transform of each map, found by path or by file name."""
    unknown = set(transforms) - {*paths, *(Path(path).name for path in paths)}
    if unknown:
        raise MapError(f'{min(unknown)}: has a transform, but is not one of the maps to merge: '
                       f'{", ".join(paths)}')
    return [transforms.get(path, transforms.get(Path(path).name)) for path in paths]


def _require_same(one: PlaceMap, other: PlaceMap) -> None:
    for name in SAME:
        values = [getattr(place_map.header, name) for place_map in (one, other)]
        if values[0] != values[1]:
            raise MapError(f'{other.location}: {name} is {values[1]}, but {values[0]} in '
                           f'{one.location}; r2former map reencode converts it')


def _require_origin(maps: Sequence[PlaceMap], moves: Sequence[Pose | None]) -> None:
    origins = {origin_of(place_map): place_map.location
               for place_map, move in zip(maps, moves, strict=True)
               if move is None and origin_of(place_map)}
    if len(origins) > 1:
        raise MapError(f'{" and ".join(origins.values())}: have different geographic origins',
                       'give the transform from one map frame to the other')


def _named_sessions(
    place_map: PlaceMap, taken: Sequence[Session], first_place_id: int
) -> list[Session]:
    names = [one.name for one in taken]
    found: list[Session] = []
    for session in renumbered(sessions_of(place_map), list(place_map.places()), first_place_id):
        stem = Path(place_map.location).stem
        name = stem if session.name == UNNAMED_SESSION else session.name
        found.append(replace(session, name=unique_name(name, names)))
        names.append(found[-1].name)
    return found
