# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Encode a map again, from its source images if they can be read, else from its thumbnails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import Config
from ..errors import BagError, ImageError, MapError
from ..maps.place_map import PlaceMap
from ..maps.refine import map_camera_of
from ..maps.sessions import (
    Session,
    origin_of,
    renumbered,
    session_of,
    sessions_of,
    write_origin,
    write_sessions,
)
from ..model import Model
from ..records import Frame, Image, MountedCamera, Place, PosedFrame
from ..sources.bags import Bag
from ..sources.frames import dataset_folder
from ..sources.pictures import decode_picture, read_image
from .build import Mapper, map_header
from .copying import new_map

Lookup = Callable[[Place], Image | None]


@dataclass
class ReencodingSummary:
    """Number of places by where their image came from; those without one are left out."""

    from_source: int = 0
    from_thumbnail: int = 0
    left_out: int = 0
    landmarks: int = 0


def reencode_map(
    model: Model,
    path: str | Path,
    out: str | Path,
    config: Config,
    *,
    look_in: str | Path | None = None,
    camera: MountedCamera | None = None,
    on_place: Callable[[], object] = lambda: None,
) -> ReencodingSummary:
    """
    Write a map with the same places, encoded by another model.

    :param look_in: a folder that holds the bags and picture folders, by name, if they moved.
    :param camera: to make landmarks with; None: the one stored in the map, if any.
    :param on_place: called after each place, to show progress.
    :raises MapError: if no place has an image, or the new map cannot be written.
    """
    summary = ReencodingSummary()
    with PlaceMap.open(path) as place_map, ExitStack() as stack:
        sessions, places = sessions_of(place_map), place_map.places()
        lookups = {one.name: stack.enter_context(_images_of(one, look_in)) for one in sessions}
        header = replace(map_header(model, config), frame_id=place_map.header.frame_id)
        with new_map(out, header) as encoded:
            mapper = Mapper(model, encoded, config)
            camera = camera or map_camera_of(place_map)
            kept = []
            for place_id in places:
                lookup = lookups[session_of(sessions, place_id).name]
                if _reencode(mapper, place_map, places[place_id], lookup, camera, summary):
                    kept.append(place_id)
                on_place()
            if not kept:
                raise MapError(f'{path}: has neither readable source images nor thumbnails')
            summary.landmarks = mapper.finish().landmarks
            write_sessions(encoded, renumbered(sessions, kept))
            write_origin(encoded, origin_of(place_map))
    return summary


def _reencode(
    mapper: Mapper, place_map: PlaceMap, place: Place, lookup: Lookup,
    camera: MountedCamera | None, summary: ReencodingSummary,
) -> bool:
    """Encode a place and count where its image came from; return False if it has none."""
    stored = place_map.thumbnail(place.place_id)
    image = lookup(place)
    if image is not None:
        summary.from_source += 1
        used = camera
    elif stored:
        image = decode_picture(stored, f'thumbnail of place {place.place_id}')
        summary.from_thumbnail += 1
        used = None  # a thumbnail is too small for keypoints
    else:
        summary.left_out += 1
        return False
    posed = PosedFrame(Frame(place.stamp_ns, image), place.map_T_camera, place.source, used)
    keyframe = mapper.keyframe_of(posed)
    place_id = mapper.place_map.add(replace(keyframe, thumbnail=stored or keyframe.thumbnail))
    mapper.add_landmarks(place_id, posed)
    return True


def picture_of(place_map: PlaceMap, place: Place) -> Image | None:
    """Return the image a place was built from, else its thumbnail; None if it has neither."""
    session = session_of(sessions_of(place_map), place.place_id)
    with _images_of(session, None) as lookup:
        image = lookup(place)
    stored = place_map.thumbnail(place.place_id)
    if image is None and stored:
        return decode_picture(stored, f'thumbnail of place {place.place_id}')
    return image


@contextmanager
def _images_of(session: Session, look_in: str | Path | None) -> Iterator[Lookup]:
    """Open what a session was built from; the lookup finds nothing if it is gone."""
    path = Path(look_in) / Path(session.path).name if look_in else Path(session.path)
    if not session.kind or not path.exists():
        yield lambda place: None
    elif session.kind == 'bag':
        with _bag_images(path) as lookup:
            yield lookup
    else:
        folder = dataset_folder(path)
        yield lambda place: _picture(folder / place.source)


def _picture(path: Path) -> Image | None:
    try:
        return read_image(path)
    except ImageError:
        return None


@contextmanager
def _bag_images(path: Path) -> Iterator[Lookup]:
    """Read a bag in step with its places, which are looked up in the order of recording."""
    with ExitStack() as stack:
        try:
            bag = stack.enter_context(Bag(path))
        except BagError:
            yield lambda place: None
        else:
            yield BagImages(bag).image_of


class BagImages:
    """The pictures of one topic by ascending stamp."""

    def __init__(self, bag: Bag) -> None:
        self._bag = bag
        self._frames: Iterator[Frame] | None = None
        self._next: Frame | None = None

    def image_of(self, place: Place) -> Image | None:
        """Return the picture a place was built from, None if the bag no longer has it."""
        if self._frames is None:
            topic = place.source.split(':')[1]  # BAG:TOPIC:STAMP, see frame_sources
            self._frames = self._bag.images(topic, on_bad_frame=lambda error: None)
            self._next = next(self._frames, None)
        while self._next is not None and self._next.stamp_ns < place.stamp_ns:
            self._next = next(self._frames, None)
        found = self._next is not None and self._next.stamp_ns == place.stamp_ns
        return self._next.image if found and self._next else None
