# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A map and its queries: those of a dataset, a bag on a map, or a bag on itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.left_out import LeftOut
from ..config import Config
from ..errors import BagError, DatasetError, ImageError, MapError
from ..geometry.trajectories import Trajectory
from ..mapping.build import MapBuilder
from ..maps.place_map import PlaceMap
from ..model import Model
from ..records import Frame, Place, PosedFrame
from ..sources.bags import Bag
from ..sources.datasets import PlaceSet
from ..sources.frames import frames_of_bag
from .ground_truth import Protocol
from .outcomes import Outcome, Query
from .queries import BagQueries, Queries, RevisitQueries, database_frames, dataset_queries
from .runner import Method, Runner, read_ahead

Shown = Callable[[Iterable[Any], str, int], AbstractContextManager[Iterator[Any]]]
"""Shows progress while items pass, given the items, their name and their number."""
MakeMethods = Callable[[PlaceMap], Sequence[Method]]


@dataclass(frozen=True)
class BagImages:
    """The images of a bag and where they were taken."""

    path: Path
    topic: str
    trajectory: Trajectory


@dataclass(frozen=True)
class Trial:
    """
    A map and its queries.

    ``protocol`` says in words when an answer is right. With ``in_order``, queries follow each
    other in time, so the state of the decision is meaningful.
    """

    title: str
    map_path: str | Path
    queries: Sequence[Queries]
    protocol: str
    in_order: bool

    @property
    def left_out(self) -> LeftOut:
        """The images of all queries that could not be used."""
        every = LeftOut()
        for queries in self.queries:
            for line in queries.left_out:
                every.add(line)
        return every

    @property
    def count(self) -> int:
        """The number of query images, bad ones included."""
        return sum(map(len, self.queries))

    def places(self) -> Mapping[int, Place]:
        """Read the places of the map."""
        with PlaceMap.open(self.map_path) as place_map:
            return place_map.places()

    def map_bytes(self) -> int:
        """Return what the map takes on disk."""
        with PlaceMap.open(self.map_path) as place_map:
            return place_map.byte_size()


def dataset_trial(
    model: Model, places: PlaceSet, name: str, *, folder: Path, config: Config, shown: Shown
) -> Trial:
    """
    Build a map of the database images in a folder; the queries are the dataset's.

    :raises DatasetError: if a database image did not become a place: then the ground truth,
        which counts them, does not fit.
    """
    path = folder / 'database.r2map'
    with shown(read_ahead(database_frames(places)), 'database', len(places.database)) as frames:
        builder = MapBuilder(model, config)
        builder.new(path, frames)
    if builder.left_out:
        raise DatasetError(f'{name}: the ground truth counts every database image, but '
                           f'{builder.left_out.summary()}')
    rule = places.rule or 'right if listed in the ground truth'
    return Trial(f'dataset {_short(name)}', path, [dataset_queries(places)], rule, in_order=False)


def map_trial(images: BagImages, map_path: str | Path, protocol: Protocol) -> Trial:
    """
    Localize the images of a bag on a finished map.

    :raises MapError: if no place of the map has a pose.
    """
    with PlaceMap.open(map_path) as place_map:
        places = place_map.places()
    if all(place.map_T_camera is None for place in places.values()):
        raise MapError(f'{map_path}: no place has a pose, so no answer can be judged; build the '
                       'map with poses')
    queries = BagQueries(
        images.path, images.topic, images.trajectory, protocol=protocol, places=places
    )
    title = f'bag {images.path.name} on map {Path(map_path).name}'
    return Trial(title, map_path, [queries], str(protocol), in_order=True)


def revisit_trial(
    model: Model, images: BagImages, *,
    protocol: Protocol, exclude_s: float, folder: Path, config: Config, shown: Shown,
) -> Trial:
    """
    Map a bag in a folder and match each of its keyframes to the older ones.

    :raises BagError: if no keyframe is old enough to be matched.
    """
    path = folder / 'self.r2map'
    with Bag(images.path) as bag:
        total = bag.image_count(images.topic)
    builder = MapBuilder(model, config)
    posed = _posed_frames(images, builder.left_out)
    with shown(read_ahead(posed), 'map', total) as frames:
        builder.new(path, frames)
    with PlaceMap.open(path) as place_map:
        places = place_map.places()
    queries = RevisitQueries(
        images.path, images.topic, images.trajectory,
        protocol=protocol, places=places, exclude_s=exclude_s,
    )
    if not queries.visible_at(max(place.stamp_ns for place in places.values())):
        raise BagError(f'{images.path}: is no longer than the exclusion of {exclude_s:g} s, so no '
                       'keyframe has an older one to match')
    rule = f'{protocol}, among keyframes at least {exclude_s:g} s older'
    title = f'bag {images.path.name} on itself'
    return Trial(title, path, [queries], rule, in_order=True)


def run_trial(
    trial: Trial, model: Model, config: Config, *, make_methods: MakeMethods, shown: Shown
) -> list[Outcome]:
    """
    Answer every query with the recognizer and the other methods.

    :raises DatasetError: if no query could be used.
    """
    outcomes: list[Outcome] = []
    with PlaceMap.open(trial.map_path) as place_map:
        runner = Runner(model, place_map, config, make_methods(place_map))
        for queries in trial.queries:
            runner.recognizer.filter.reset()
            with shown(read_ahead(queries.read()), 'queries', len(queries)) as items:
                outcomes += _answers(runner, queries, items)
    if not outcomes:
        raise DatasetError(f'{trial.title}: no query has an image and a pose; '
                           f'{trial.left_out.summary()}')
    return outcomes


def _answers(
    runner: Runner, queries: Queries, items: Iterable[tuple[Query, Frame]]
) -> Iterator[Outcome]:
    """Answer one by one; an image that the network cannot use is left out."""
    for query, frame in items:
        try:
            yield runner.answer(query, frame)
        except ImageError as error:
            queries.left_out.add(f'{query.name}: {error}')


def _posed_frames(images: BagImages, left_out: LeftOut) -> Iterator[PosedFrame]:
    with Bag(images.path) as bag:
        yield from frames_of_bag(bag, images.topic, images.trajectory, left_out.add)


def _short(dataset: str) -> str:
    """Return the name of a dataset: its folder, or that of its file with a general name."""
    path = Path(dataset).resolve()
    return path.parent.name if path.stem == 'ground_truth' else path.name
