# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The picture of a place, from the map or from the file that it was made of."""

from __future__ import annotations

from pathlib import Path

from ..maps.place_map import PlaceMap
from ..records import Image, Place
from ..sources.pictures import decode_picture, read_image


def place_picture(place_map: PlaceMap, place: Place) -> Image | None:
    """
    Return the picture of a place, or None where neither map nor disk has one.

    :raises ImageError: if the thumbnail, or the file that the place was made from, is damaged.
    """
    thumbnail = place_map.thumbnail(place.place_id)
    if thumbnail:
        return decode_picture(thumbnail, f'thumbnail of place {place.place_id}')
    return read_image(place.source) if Path(place.source).is_file() else None
