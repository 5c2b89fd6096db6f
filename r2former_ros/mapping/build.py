# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Build maps from images with poses: choose keyframes, encode them, store them as places."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..common.left_out import LeftOut
from ..common.text import printable
from ..config import Config, to_dict
from ..errors import ImageError, MapError
from ..maps.place_map import MapHeader, PlaceMap, map_exists
from ..maps.sessions import UNNAMED_SESSION, Source, adopt_origin, begin_session, resumed_session
from ..model import ImageFeatures, Model
from ..model.preprocess import preprocess
from ..records import Keyframe, PosedFrame
from ..sources.pictures import thumbnail_jpeg
from .keyframes import KeyframeRule
from .landmarks import LandmarkBuilder

UNNAMED = Source('', UNNAMED_SESSION)


@dataclass
class MappingSummary:
    """Number of frames by outcome: added, present before, between keyframes, or bad."""

    added: int = 0
    present: int = 0
    between: int = 0
    bad: int = 0
    landmarks: int = 0
    """Places with landmarks, for poses in metres."""
    no_landmarks: str = ''
    """Why the last place without landmarks has none, if its camera is the reason."""


class Mapper:
    """Encode frames and add them to a map as places."""

    def __init__(
        self, model: Model, place_map: PlaceMap, config: Config,
        present: Collection[str] = (), left_out: LeftOut | None = None,
    ) -> None:
        """
        Prepare to add.

        :param present: sources of frames that are in the map already.
        :param left_out: gets a line for each frame that cannot be used.
        :raises MapError: if the map was built with other weights.
        """
        place_map.require_weights(model.fingerprint, model.origin.text)
        self.model = model
        self.place_map = place_map
        self.config = config
        self.present = frozenset(present)
        self.left_out = LeftOut() if left_out is None else left_out
        self.rule = KeyframeRule(config.map)
        self.summary = MappingSummary()
        self._landmarks: LandmarkBuilder | None = None

    def offer(self, posed: PosedFrame) -> int | None:
        """Add a frame if the keyframe rule takes it, and return its place id."""
        if not self.rule.takes(posed):
            self.summary.between += 1
            return None
        if posed.source in self.present:
            self.summary.present += 1
            return None
        try:
            keyframe = self.keyframe_of(posed)
        except ImageError as error:
            self.summary.bad += 1
            self.left_out.add(f'{posed.source}: {error}')
            return None
        self.summary.added += 1
        place_id = self.place_map.add(keyframe)
        self.add_landmarks(place_id, posed)
        return place_id

    def add_landmarks(self, place_id: int, posed: PosedFrame) -> None:
        """Begin the landmarks of a place, if its pose and its camera are known."""
        if posed.camera is None or posed.map_T_camera is None:
            return
        if self._landmarks is None:
            self._landmarks = LandmarkBuilder(self.place_map, self.config.refine)
        self._landmarks.add(place_id, posed.frame.image, posed.map_T_camera, posed.camera)

    def finish(self) -> MappingSummary:
        """Make the landmarks that still wait for later keyframes; return what became of all."""
        if self._landmarks is not None:
            self.summary.landmarks = self._landmarks.finish()
            self.summary.no_landmarks = self._landmarks.refused
        return self.summary

    def keyframe_of(self, posed: PosedFrame) -> Keyframe:
        """
        Encode one frame.

        :raises ImageError: if it holds no usable picture.
        """
        features = self.model.encode(
            preprocess(posed.frame.image, self.model.spec.input, self.model.device)
        )
        return keyframe_from(posed, features, self.config.map.thumbnail_width)


def keyframe_from(posed: PosedFrame, features: ImageFeatures, thumbnail_width: int) -> Keyframe:
    """Join a frame and the features of its image."""
    return Keyframe(
        stamp_ns=posed.frame.stamp_ns,
        map_T_camera=posed.map_T_camera,
        source=printable(posed.source),
        descriptor=features.descriptor_of(0),
        local_features=features.local_features_of(0),
        thumbnail=thumbnail_jpeg(posed.frame.image, thumbnail_width),
    )


def create_map(model: Model, path: str | Path, config: Config) -> PlaceMap:
    """
    Make an empty map for a model.

    :raises MapError: if the file exists already or cannot be written.
    """
    return PlaceMap.create(path, map_header(model, config))


def map_header(model: Model, config: Config) -> MapHeader:
    """Describe a map for a model."""
    return MapHeader(
        fingerprint=model.fingerprint,
        weights=f'{model.spec.preset}, {model.origin.text}',
        trained=model.origin.trained,
        descriptor_dim=model.spec.descriptor_dim,
        local_dim=model.spec.local_dim,
        local_dtype=config.map.local_dtype,
        frame_id=config.map.frame_id,
        config=to_dict(config),
    )


class MapBuilder:
    """
    Builds a map from frames in the order of driving, or extends one.

    ``left_out`` tells which frames could not be used, those of the source included if it reports
    there.
    """

    def __init__(
        self,
        model: Model,
        config: Config,
        *,
        source: Source = UNNAMED,
        origin: tuple[float, float] | None = None,
        left_out: LeftOut | None = None,
    ) -> None:
        """
        Prepare to build.

        :param source: where the frames come from.
        :param origin: latitude and longitude (degrees) of the origin of the poses, if known.
        """
        self.model = model
        self.config = config
        self.source = source
        self.origin = origin
        self.left_out = LeftOut() if left_out is None else left_out

    def new(self, path: str | Path, frames: Iterable[PosedFrame]) -> MappingSummary:
        """
        Build a new map; one without places is removed again.

        :raises MapError: if no frame became a place, or the file cannot be written.
        """
        with create_map(self.model, path, self.config) as place_map:
            summary = self._add_session(place_map, frames)
            if summary.added == 0:
                place_map.remove()
        if summary.added == 0:
            raise MapError(f'{path}: no frame became a place; {self.left_out.summary()}')
        return summary

    def append(self, path: str | Path, frames: Iterable[PosedFrame]) -> MappingSummary:
        """
        Add frames to an existing map, as a new session.

        :raises MapError: if the map is missing, was built with other weights, or its poses have
            another geographic origin.
        """
        with PlaceMap.open(path, writable=True) as place_map:
            return self._add_session(place_map, frames)

    def resume(self, path: str | Path, frames: Iterable[PosedFrame]) -> MappingSummary:
        """
        Continue a session that was interrupted, or begin the map if there is none.

        The keyframe rule sees all frames again, so it chooses as without the interruption; frames
        that are places of the session already are not encoded again.

        :raises MapError: if the last session of the map was built from another source.
        """
        if not map_exists(path):
            return self.new(path, frames)
        with PlaceMap.open(path, writable=True) as place_map:
            session = resumed_session(place_map, self.source)
            if session is None:
                return self._add_session(place_map, frames)
            present = {place.source for place_id, place in place_map.places().items()
                       if place_id >= session.first_place_id}
            return self._add(place_map, frames, present)

    def _add_session(self, place_map: PlaceMap, frames: Iterable[PosedFrame]) -> MappingSummary:
        place_map.require_weights(self.model.fingerprint, self.model.origin.text)
        places = place_map.places()
        adopt_origin(place_map, self.origin, places)
        begin_session(place_map, Path(self.source.path).name, self.source, places)
        return self._add(place_map, frames)

    def _add(
        self, place_map: PlaceMap, frames: Iterable[PosedFrame], present: Collection[str] = ()
    ) -> MappingSummary:
        mapper = Mapper(self.model, place_map, self.config, present, self.left_out)
        for posed in frames:
            mapper.offer(posed)
        return mapper.finish()


def build_map(
    model: Model, path: str | Path, frames: Iterable[PosedFrame], config: Config
) -> MappingSummary:
    """
    Build a map whose source needs no name.

    :raises MapError: as ``MapBuilder.new`` does.
    """
    return MapBuilder(model, config).new(path, frames)
