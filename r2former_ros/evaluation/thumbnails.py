# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The picture of a place, from the map or from the file that it was made of."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..maps.place_map import PlaceMap
from ..records import Image, Place
from ..sources.pictures import read_image


def place_picture(place_map: PlaceMap, place: Place) -> Image | None:
    """
    Return the picture of a place, or None where neither map nor disk has one.

    :raises ImageError: if the file that the place was made of is damaged.
    """
    thumbnail = place_map.thumbnail(place.place_id)
    if thumbnail:
        decoded = cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_COLOR)
        return None if decoded is None else np.asarray(
            cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8
        )
    return read_image(place.source) if Path(place.source).is_file() else None
