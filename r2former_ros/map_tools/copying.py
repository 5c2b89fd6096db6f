# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Places from one map into another, which appears only when it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import MapError
from ..place_map import MapHeader, PlaceMap
from ..records import Keyframe, Pose


@contextmanager
def new_map(path: str | Path, header: MapHeader) -> Iterator[PlaceMap]:
    """
    Make a map under another name, and give it its own when the block ends without an error.

    A kill in between leaves ``*.part`` behind, which the next call replaces.

    :raises MapError: if the file exists already or cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise MapError(f'{path}: exists already; choose another name or remove it')
    if not path.parent.is_dir():
        raise MapError(f'{path}: there is no folder {path.parent}')
    part = path.with_name(f'{path.name}.part')
    for stale in (part, part.with_name(f'{part.name}-wal'), part.with_name(f'{part.name}-shm')):
        stale.unlink(missing_ok=True)
    try:
        with PlaceMap.create(part, header) as place_map:
            yield place_map
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    os.replace(part, path)


def keyframes_of(
    place_map: PlaceMap, place_ids: Iterable[int], out_T_map: Pose | None = None
) -> Iterator[Keyframe]:
    """Read places with all they hold, their poses moved into another frame where one is given."""
    places = place_map.places()
    for place_id in place_ids:
        place = places[place_id]
        (descriptor,), (local_features,) = place_map.features([place_id])
        pose = place.map_T_camera
        if pose is not None and out_T_map is not None:
            pose = out_T_map @ pose
        yield Keyframe(place.stamp_ns, pose, place.source, descriptor, local_features,
                       place_map.thumbnail(place_id))
