# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How a map was made: its sessions, and where its frame is on the earth.

A session is one run of ``map build``, with or without ``--append``. Its places are consecutive, so
the id of its first place identifies it; the notes of the map hold the list.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from ..errors import MapError
from .place_map import PlaceMap
from .table import PlaceTable

SESSIONS, ORIGIN = 'sessions', 'geographic_origin'
UNNAMED_SESSION = 'session'
"""Name of the only session of a map built without one."""


@dataclass(frozen=True)
class Source:
    """Where the frames of a session come from: ``kind`` is bag, images or dataset."""

    kind: str
    path: str


@dataclass(frozen=True)
class Session:
    """A part of a map. ``name`` is unique in the map."""

    name: str
    first_place_id: int
    kind: str = ''
    path: str = ''

    @property
    def source(self) -> Source:
        """Where its frames came from."""
        return Source(self.kind, self.path)


def sessions_of(place_map: PlaceMap) -> list[Session]:
    """Return the sessions in the order of their places; a map without any is one session."""
    stored = place_map.note(SESSIONS) or [asdict(Session(UNNAMED_SESSION, 0))]
    return [Session(**one) for one in stored]


def write_sessions(place_map: PlaceMap, sessions: Iterable[Session]) -> None:
    """Store the sessions; an empty one is dropped."""
    kept = {one.first_place_id: one for one in sessions}
    place_map.write_note(SESSIONS, [asdict(one) for one in kept.values()])


def begin_session(
    place_map: PlaceMap, name: str, source: Source, places: PlaceTable
) -> Session:
    """Begin a session: the places added from now on belong to it, ``places`` do not."""
    before = sessions_of(place_map) if places else []
    name = unique_name(name, [one.name for one in before])
    session = Session(name, max(places, default=0) + 1, source.kind, source.path)
    write_sessions(place_map, [*before, session])
    return session


def resumed_session(place_map: PlaceMap, source: Source) -> Session | None:
    """
    Return the session that this source began; None if the map has no place yet.

    :raises MapError: if another session is the last one.
    """
    sessions = sessions_of(place_map)
    if sessions[-1].source == source:
        return sessions[-1]
    if not len(place_map):
        return None
    names = ', '.join(f'{one.name} ({one.path})' for one in sessions)
    raise MapError(f'{source.path}: is not what the last session of the map was built from '
                   f'({names}), so there is nothing to resume', 'append it as a new session')


def session_of(sessions: Sequence[Session], place_id: int) -> Session:
    """Return the session that a place belongs to."""
    row = bisect_right([one.first_place_id for one in sessions], place_id) - 1
    return sessions[max(row, 0)]


def session_counts(place_map: PlaceMap) -> dict[str, int]:
    """Return the number of places of each session."""
    sessions = sessions_of(place_map)
    counts = dict.fromkeys((one.name for one in sessions), 0)
    for place_id in place_map.places():
        counts[session_of(sessions, place_id).name] += 1
    return counts


def renumbered(sessions: Sequence[Session], kept: Sequence[int], start: int = 1) -> list[Session]:
    """
    Return the sessions after their ``kept`` places, by rising id, got the ids from ``start`` on.

    A session none of whose places was kept is left out.
    """
    first: dict[str, Session] = {}
    for new_id, old_id in enumerate(kept, start):
        session = session_of(sessions, old_id)
        first.setdefault(session.name, replace(session, first_place_id=new_id))
    return list(first.values())


def unique_name(name: str, taken: Sequence[str]) -> str:
    """Append -2, -3, … to a name that is taken."""
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f'{name}-{number}'
    return unique


def origin_of(place_map: PlaceMap) -> tuple[float, float] | None:
    """Return latitude and longitude in degrees (WGS 84) of the map frame's zero, where known."""
    stored = place_map.note(ORIGIN)
    return (float(stored[0]), float(stored[1])) if stored else None


def adopt_origin(
    place_map: PlaceMap, origin: tuple[float, float] | None, places: PlaceTable
) -> None:
    """
    Store where on the earth the map frame's origin is, x pointing east and y north, if known.

    :param places: those of the map so far.
    :raises MapError: if they have poses with another origin or none.
    """
    known = origin_of(place_map)
    if origin is None or known == origin:
        return
    if known or places.with_pose().any():
        raise MapError(f'{place_map.location}: its poses have another origin than these satellite '
                       'fixes; give poses in its frame')
    write_origin(place_map, origin)


def write_origin(place_map: PlaceMap, origin: tuple[float, float] | None) -> None:
    """Store the origin of the map frame, if known."""
    if origin is not None:
        place_map.write_note(ORIGIN, list(origin))
