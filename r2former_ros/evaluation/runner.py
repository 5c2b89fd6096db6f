# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Put queries to the recognizer, and to other methods beside it, on the same features."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol as Interface
from typing import TypeVar

import numpy as np

from ..config import Config
from ..maps.index import PlaceIndex
from ..maps.place_map import PlaceMap
from ..model import ImageFeatures, Model
from ..recognizer import Recognizer
from ..records import Frame, Recognition
from .cache import spent_ms_of
from .outcomes import RERANK, RETRIEVAL, Outcome, Query, Ranking, reranked, retrieved

READ_AHEAD = 4
Item = TypeVar('Item')


@dataclass(frozen=True)
class Sight:
    """What a method is given: the query's image, features, and what the recognizer said."""

    query: Query
    frame: Frame
    features: ImageFeatures
    recognition: Recognition


class Method(Interface):
    """A way to rank places, beside retrieval and reranking."""

    name: str

    def rank(self, sight: Sight) -> Ranking:
        """Rank places for a query; it may only name the first ``query.visible`` ones."""


class GrowingRecognizer(Recognizer):
    """The recognizer of the node, with an index that can grow."""

    def forget_index(self) -> None:
        """Begin with an index without places; ``show`` adds them."""
        self._ids, self._rows = self.place_map.descriptors()
        self.index = PlaceIndex([], np.zeros((0, self._rows.shape[1]), np.float32))

    def show(self, count: int) -> None:
        """Add places to the index, up to the first ``count`` of the map."""
        for row in range(len(self.index), count):
            self.index.add(self._ids[row], self._rows[row])


class Runner:
    """Answer queries one by one."""

    def __init__(
        self, model: Model, place_map: PlaceMap, config: Config, methods: Sequence[Method] = ()
    ) -> None:
        self.recognizer = GrowingRecognizer(model, place_map, config)
        self.methods = methods
        self._grows = False

    def answer(self, query: Query, frame: Frame) -> Outcome:
        """Recognise a frame and rank by every other method."""
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
            query, rankings, recognition.state.value, latency_ms, recognition.accepted)

    def _recognize(self, frame: Frame) -> tuple[Recognition, ImageFeatures]:
        """Recognise; stages loaded from a cache count with the time they once took."""
        spent_ms = spent_ms_of(self.recognizer.model)
        spent_ms.clear()
        recognition, features = self.recognizer.recognize_and_encode(frame)
        recognition.latency_ms.update(spent_ms)
        return recognition, features

    def _show(self, count: int) -> None:
        if not self._grows:
            self.recognizer.forget_index()
            self._grows = True
        self.recognizer.show(count)


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the same items, made a few ahead in a thread: pictures are decoded meanwhile."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, source, end) for _ in range(READ_AHEAD))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, source, end))
            yield item  # type: ignore[misc]
