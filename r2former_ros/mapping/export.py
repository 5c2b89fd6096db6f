# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Export the places of a map for other programs: TUM, COLMAP and hloc, GeoJSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..common.files import make_folder, replacing
from ..errors import MapError
from ..geometry.poses import BODY_T_OPTICAL, inverse, latitude_longitude, quaternion_xyzw, yaw_rad
from ..maps.place_map import PlaceMap
from ..maps.sessions import origin_of, session_of, sessions_of
from ..records import Place, Pose, StampedPose
from ..sources.trajectory_files import write_tum
from .reencode import picture_of

COLMAP_HEAD = (
    '# Image list with two lines of data per image:\n'
    '#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME\n'
    '#   POINTS2D[] as (X, Y, POINT3D_ID)\n'
)


CAMERAS_HEAD = (
    '# Camera list with one line of data per camera:\n'
    '#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n'
)
GUESSED = (
    '# A map does not hold the calibration. The focal length is a guess, as COLMAP makes it\n'
    '# (1.2 times the longer side): replace this line by yours, or let COLMAP refine it.\n'
)
GUESSED_FOCAL = 1.2
UNKNOWN_SIZE = (640, 480)


def export_tum(place_map: PlaceMap, out: str | Path) -> int:
    """
    Write ``stamp_s x y z qx qy qz qw`` per place, in the map frame; return how many.

    :raises MapError: if a place has no stamp, as pictures whose poses came without one.
    """
    posed = _posed(place_map)
    unstamped = sum(place.stamp_ns == 0 for place, _ in posed)
    if unstamped > 1:  # one may be the first of a simulation, whose clock starts at 0
        raise MapError(f'{place_map.location}: {unstamped} of {len(posed)} places with a pose '
                       'have no stamp, which TUM needs',
                       'build the map from poses with a column t_s or stamp_ns')
    write_tum(out, [StampedPose(place.stamp_ns, pose) for place, pose in posed])
    return len(posed)


def export_colmap(place_map: PlaceMap, folder: str | Path) -> int:
    """
    Write a COLMAP model without points, and ``image_list.txt`` for hloc; return how many images.

    COLMAP's poses are ``camera_T_map`` in optical axes. All images belong to camera 1, whose
    focal length in ``cameras.txt`` is a guess, because a map does not hold the calibration.
    """
    posed = _posed(place_map)
    folder = Path(folder)
    lines = [COLMAP_HEAD]
    for place, pose in posed:
        optical_T_map = inverse(pose @ BODY_T_OPTICAL)
        qx, qy, qz, qw = quaternion_xyzw(optical_T_map)
        numbers = (qw, qx, qy, qz, *optical_T_map[:3, 3])
        values = ' '.join(f'{number:.9f}' for number in numbers)
        lines.append(f'{place.place_id} {values} 1 {place.source}\n\n')
    _write(folder / 'images.txt', ''.join(lines))
    _write(folder / 'cameras.txt', _guessed_camera(place_map, posed[0][0]))
    _write(folder / 'points3D.txt', '')
    _write(folder / 'image_list.txt', ''.join(f'{place.source}\n' for place, _ in posed))
    return len(posed)


def _guessed_camera(place_map: PlaceMap, place: Place) -> str:
    """Return ``cameras.txt``, with the size of the image that a place was built from, if known."""
    image = picture_of(place_map, place)
    height, width = UNKNOWN_SIZE[::-1] if image is None else image.shape[:2]
    focal = GUESSED_FOCAL * max(width, height)
    camera = f'1 SIMPLE_PINHOLE {width} {height} {focal:g} {width / 2:g} {height / 2:g}\n'
    return CAMERAS_HEAD + GUESSED + camera


def export_geojson(place_map: PlaceMap, out: str | Path) -> int:
    """
    Write a point per place, longitude and latitude on WGS 84, with its heading; return how many.

    :raises MapError: if the map has no geographic origin.
    """
    origin = origin_of(place_map)
    if origin is None:
        raise MapError(f'{place_map.location}: has no geographic origin; only a map built from '
                       'sensor_msgs/NavSatFix has one')
    posed, sessions = _posed(place_map), sessions_of(place_map)
    positions = latitude_longitude(np.array([pose[:2, 3] for _, pose in posed]), origin)
    features = [
        _feature(place, pose, degrees, session_of(sessions, place.place_id).name)
        for (place, pose), degrees in zip(posed, positions.tolist(), strict=True)
    ]
    _write(Path(out), json.dumps({'type': 'FeatureCollection', 'features': features}, indent=1))
    return len(features)


def _feature(
    place: Place, pose: Pose, degrees: tuple[float, float], session: str
) -> dict[str, Any]:
    latitude, longitude = (round(value, 9) for value in degrees)
    return {
        'type': 'Feature',
        'geometry': {'type': 'Point', 'coordinates': [longitude, latitude]},
        'properties': {
            'place_id': place.place_id,
            'stamp_ns': place.stamp_ns,
            'session': session,
            'source': place.source,
            'heading_deg': round((90 - math.degrees(yaw_rad(pose))) % 360, 3),  # from north
        },
    }


def _posed(place_map: PlaceMap) -> list[tuple[Place, Pose]]:
    posed = [(place, place.map_T_camera) for place in place_map.places().values()
             if place.map_T_camera is not None]
    if not posed:
        raise MapError(f'{place_map.location}: none of {len(place_map)} places has a pose')
    return posed


def _write(path: Path, text: str) -> None:
    make_folder(path.parent)
    with replacing(path) as part:
        part.write_text(text, encoding='utf-8')
