# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answer queries with the recognizer and other methods, on the same features."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol as Interface
from typing import TypeVar

from ..config import Config
from ..maps.index import PlaceIndex
from ..maps.place_map import PlaceMap
from ..maps.search import PlaceSearch
from ..model import ImageFeatures, Model
from ..recognizer import Recognizer
from ..records import Frame, Recognition
from .cache import spent_ms_of
from .outcomes import RERANK, RETRIEVAL, Outcome, Query, Ranking, reranked, retrieved

READ_AHEAD = 4
Item = TypeVar('Item')


@dataclass(frozen=True)
class Sight:
    """The input of a method: the query's image, features, and the recognizer's result."""

    query: Query
    frame: Frame
    features: ImageFeatures
    recognition: Recognition


class Method(Interface):
    """A way to rank places, other than retrieval and reranking."""

    name: str

    def rank(self, sight: Sight) -> Ranking:
        """Rank places for a query; only the first ``query.visible`` may be named."""


class GrowingIndex:
    """The first places of a map, more and more of them."""

    def __init__(self, place_map: PlaceMap) -> None:
        """Begin without any."""
        self._ids, self._descriptors = place_map.descriptors()
        self.index = PlaceIndex([], self._descriptors[:0])

    def show(self, count: int) -> None:
        """Add places up to the first ``count`` of the map."""
        for row in range(len(self.index), count):
            self.index.add(self._ids[row], self._descriptors[row])


class Runner:
    """Answer queries one by one."""

    def __init__(
        self, model: Model, place_map: PlaceMap, config: Config, methods: Sequence[Method] = ()
    ) -> None:
        self.recognizer = Recognizer(PlaceSearch(model, place_map, config))
        self.methods = methods
        self._growing: GrowingIndex | None = None

    def answer(self, query: Query, frame: Frame) -> Outcome:
        """Recognize a frame and rank places with every other method."""
        if query.visible is not None:
            self._show(query.visible)
        recognition, features = self._recognize(frame)
        sight = Sight(query, frame, features, recognition)
        rankings = {RETRIEVAL: retrieved(recognition.candidates),
                    RERANK: reranked(recognition.hypotheses, recognition.candidates)}
        latency_ms = dict(recognition.latency_ms)
        for method in self.methods:
            start = time.perf_counter()
            rankings[method.name] = method.rank(sight)
            latency_ms[method.name] = (time.perf_counter() - start) * 1e3
        return Outcome(
            query, rankings, recognition.state.value, latency_ms, recognition.accepted,
            None if recognition.pose is None else recognition.pose.map_T_base)

    def _recognize(self, frame: Frame) -> tuple[Recognition, ImageFeatures]:
        """Recognise; stages loaded from a cache count with the time they once took."""
        search = self.recognizer.search
        spent_ms = spent_ms_of(search.model)
        spent_ms.clear()
        recognition, features = self.recognizer.recognize_and_encode(search.prepare(frame))
        recognition.latency_ms.update(spent_ms)
        return recognition, features

    def _show(self, count: int) -> None:
        if self._growing is None:
            search = self.recognizer.search
            self._growing = GrowingIndex(search.place_map)
            search.index = self._growing.index
        self._growing.show(count)


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the same items, prepared a few ahead in a thread, which decodes pictures."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, source, end) for _ in range(READ_AHEAD))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, source, end))
            yield item  # type: ignore[misc]
