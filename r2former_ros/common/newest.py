# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Worker threads that process the newest item only, without a queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar('Item')
Prepared = TypeVar('Prepared')


@dataclass
class Counters:
    """What happened to the items: received = used + bad + dropped + in progress."""

    received: int = 0
    used: int = 0
    dropped: int = 0
    bad: int = 0


class NewestWorker(Generic[Item]):
    """
    Process the newest item in a separate thread.

    ``offer`` returns at once; an item that is still waiting when a newer one arrives is dropped
    and counted. The work returns whether the item was usable; it must not raise. ``offered_s`` is
    when the current item was offered (monotonic seconds), and ``queue_age_s`` how long it waited.
    """

    def __init__(self, work: Callable[[Item], bool], name: str = 'recognizer') -> None:
        self.counters = Counters()
        self.queue_age_s = 0.0
        self.offered_s = 0.0
        self._work = work
        self._waiting: tuple[Item, float] | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, item: Item, offered_s: float | None = None) -> None:
        """
        Hand over an item; it replaces one that is still waiting.

        :param offered_s: since when the item has been waiting (monotonic seconds); now by default.
        """
        with self._changed:
            self.counters.received += 1
            if self._waiting is not None or self._stopping:
                self.counters.dropped += 1
            if self._stopping:
                return
            self._waiting = (item, time.monotonic() if offered_s is None else offered_s)
            self._changed.notify()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Finish the current item, drop a waiting one, and return whether the thread ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            usable = self._work(item)
            with self._changed:
                if usable:
                    self.counters.used += 1
                else:
                    self.counters.bad += 1

    def _next(self) -> Item | None:
        """Wait for an item; return None when it is time to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
            if self._waiting is None:
                return None
            (item, self.offered_s), self._waiting = self._waiting, None
            if self._stopping:
                self.counters.dropped += 1
                return None
            self.queue_age_s = time.monotonic() - self.offered_s
            return item


class NewestPipeline(Generic[Item, Prepared]):
    """
    Prepare the newest item in one thread while another thread works on the previous one.

    A prepared item is dropped, too, if a newer one is ready before the current work ends.
    Preparing returns None for an unusable item; neither it nor the work may raise.
    """

    def __init__(
        self, prepare: Callable[[Item], Prepared | None], work: Callable[[Prepared], bool]
    ) -> None:
        self._prepare = prepare
        self._working = NewestWorker(work)
        self._preparing = NewestWorker(self._prepare_and_hand_on, 'preparer')

    @property
    def counters(self) -> Counters:
        """Counts of both threads together."""
        preparing, working = self._preparing.counters, self._working.counters
        return Counters(preparing.received, working.used, preparing.dropped + working.dropped,
                        preparing.bad + working.bad)

    @property
    def queue_age_s(self) -> float:
        """Age of the current item when its processing began."""
        return self._working.queue_age_s

    def offer(self, item: Item) -> None:
        """Hand over an item; it replaces one that is still waiting."""
        self._preparing.offer(item)

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Finish the current item, drop waiting ones, and return whether both threads ended."""
        until = time.monotonic() + timeout_s
        prepared = self._preparing.stop(timeout_s)
        return self._working.stop(max(0.0, until - time.monotonic())) and prepared

    def _prepare_and_hand_on(self, item: Item) -> bool:
        prepared = self._prepare(item)
        if prepared is None:
            return False
        self._working.offer(prepared, self._preparing.offered_s)
        return True
