# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Copy places from one map into another, which appears only once it is complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import MapError
from ..maps.place_map import MapHeader, PlaceMap, map_exists
from ..maps.refine import map_camera_of, note_camera
from ..records import Keyframe, Pose


@contextmanager
def new_map(path: str | Path, header: MapHeader) -> Iterator[PlaceMap]:
    """
    Make a map that exists only if the block succeeds; see ``PlaceMap.replacing``.

    :raises MapError: if the map exists already or cannot be written.
    """
    if map_exists(path):
        raise MapError(f'{path}: exists already; choose another name or remove it')
    with PlaceMap.replacing(path, header) as place_map:
        yield place_map


def keyframes_of(
    place_map: PlaceMap, place_ids: Iterable[int], out_T_map: Pose | None = None
) -> Iterator[Keyframe]:
    """Read places completely, with their poses transformed if a transform is given."""
    places = place_map.places()
    for place_id in place_ids:
        place = places[place_id]
        (descriptor,), (local_features,) = place_map.features([place_id])
        pose = place.map_T_camera
        if pose is not None and out_T_map is not None:
            pose = out_T_map @ pose
        yield Keyframe(place.stamp_ns, pose, place.source, descriptor, local_features,
                       place_map.thumbnail(place_id), place_map.packed_landmarks(place_id))


def adopt_camera(out: PlaceMap, maps: Sequence[PlaceMap]) -> None:
    """Take over the camera of the first map that names one."""
    camera = next(filter(None, map(map_camera_of, maps)), None)
    if camera is not None:
        note_camera(out, camera)
