# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Queries from picture files or the images of a bag, each with its right places."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol as Interface

from ..common.left_out import LeftOut
from ..errors import DatasetError, ImageError
from ..geometry.trajectories import Trajectory
from ..records import Frame, Place, PosedFrame
from ..sources.bags import Bag
from ..sources.datasets import PlaceSet, pictures_in, read_ground_truth
from ..sources.frames import frames_of_bag
from ..sources.pictures import read_image
from .ground_truth import Protocol
from .outcomes import Query


class Queries(Interface):
    """Query images that can be read several times; ``left_out`` names those not used."""

    left_out: LeftOut

    def __len__(self) -> int:
        """Return how many there are, bad ones included."""

    def read(self, names: Collection[str] | None = None) -> Iterator[tuple[Query, Frame]]:
        """Read all queries in order, or only those named."""


class PictureQueries:
    """Picture files, each with the ids of the places it shows."""

    def __init__(
        self, paths: Sequence[Path], positives: Sequence[frozenset[int]], negative: bool = False
    ) -> None:
        self.left_out = LeftOut()
        self._queries = [
            Query(str(path), stamp_ns=number, positives=right, negative=negative)
            for number, (path, right) in enumerate(zip(paths, positives, strict=True))
        ]

    def __len__(self) -> int:
        return len(self._queries)

    def read(self, names: Collection[str] | None = None) -> Iterator[tuple[Query, Frame]]:
        """Read the files, numbered by their stamps; damaged ones are left out."""
        for query in self._queries:
            if names is not None and query.name not in names:
                continue
            try:
                image = read_image(query.name)
            except ImageError as error:
                self.left_out.add(str(error))
                continue
            yield query, Frame(query.stamp_ns, image)


class BagQueries:
    """The images of a bag that have a pose, judged against the poses of places."""

    def __init__(
        self, path: Path, topic: str, trajectory: Trajectory | None, *,
        protocol: Protocol, places: Mapping[int, Place], negative: bool = False,
    ) -> None:
        self.path, self.topic = path, topic
        self.left_out = LeftOut()
        self._trajectory = trajectory
        self._protocol = protocol
        self._places = places
        self._negative = negative
        with Bag(path) as bag:
            self._count = bag.image_count(topic)

    def __len__(self) -> int:
        return self._count

    def read(self, names: Collection[str] | None = None) -> Iterator[tuple[Query, Frame]]:
        """Read the images in the order of recording; those without a pose are left out."""
        for posed in self._frames():
            if names is None or posed.source in names:
                query = self._query(posed)
                if query is not None:
                    yield query, posed.frame

    def _frames(self) -> Iterator[PosedFrame]:
        with Bag(self.path) as bag:
            yield from frames_of_bag(bag, self.topic, self._trajectory, self.left_out.add)

    def _query(self, posed: PosedFrame) -> Query | None:
        """Return the query of a frame, None if it is not asked for."""
        pose = posed.map_T_camera
        positives: frozenset[int] = frozenset()
        if pose is not None and not self._negative:
            positives = self._protocol.positives(pose, self._places)
        return Query(posed.source, posed.frame.stamp_ns, pose, positives, negative=self._negative)


class RevisitQueries(BagQueries):
    """
    The keyframes of a map as queries, in the order of recording.

    Only places that are at least ``exclude_s`` older may be named; a keyframe without any is
    skipped.
    """

    def __init__(
        self, path: Path, topic: str, trajectory: Trajectory, *,
        protocol: Protocol, places: Mapping[int, Place], exclude_s: float,
    ) -> None:
        super().__init__(path, topic, trajectory, protocol=protocol, places=places)
        self._by_stamp = {place.stamp_ns: place for place in places.values()}
        self._stamps_ns = [place.stamp_ns for place in places.values()]
        if self._stamps_ns != sorted(self._stamps_ns):
            raise DatasetError(f'{path}: the stamps of {topic} do not rise, so it is unclear '
                               'which keyframe is older')
        self._exclude_ns = round(exclude_s * 1e9)

    def __len__(self) -> int:
        return len(self._stamps_ns)

    def _query(self, posed: PosedFrame) -> Query | None:
        if posed.frame.stamp_ns not in self._by_stamp or posed.map_T_camera is None:
            return None
        visible = self.visible_at(posed.frame.stamp_ns)
        if visible == 0:
            return None
        older = {place_id: self._places[place_id] for place_id in list(self._places)[:visible]}
        positives = self._protocol.positives(posed.map_T_camera, older)
        return Query(
            posed.source, posed.frame.stamp_ns, posed.map_T_camera, positives, visible=visible
        )

    def visible_at(self, stamp_ns: int) -> int:
        """Return how many places are at least ``exclude_s`` older than a stamp."""
        return bisect_right(self._stamps_ns, stamp_ns - self._exclude_ns)


def database_frames(places: PlaceSet) -> Iterator[PosedFrame]:
    """Read the database images of a dataset; place id n is row n - 1."""
    for path in places.database:
        yield PosedFrame(Frame(0, read_image(path)), None, str(path))


def dataset_queries(places: PlaceSet) -> PictureQueries:
    """Return the queries of a dataset, judged by its list or its radius."""
    positives = [frozenset(int(row) + 1 for row in rows) for rows in places.same_place]
    return PictureQueries(places.queries, positives)


def negative_queries(path: Path, image_topic: str | None) -> Queries:
    """
    Return queries that lie outside the map.

    :param path: a folder of pictures, a bag, or a ground-truth file, of which the queries count.
    :raises R2FormerError: if it is none of them.
    """
    if path.suffix == '.json':
        pictures: Sequence[Path] = read_ground_truth(path).queries
    elif path.is_dir() and not (path / 'metadata.yaml').is_file():
        pictures = pictures_in(path)
    else:
        with Bag(path) as bag:
            topic = image_topic or bag.default_image_topic()
        return BagQueries(
            path, topic, None, protocol=Protocol(), places={}, negative=True
        )
    return PictureQueries(pictures, [frozenset()] * len(pictures), negative=True)
