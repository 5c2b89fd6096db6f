# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A worker thread that always takes the newest item and never queues."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar('Item')


@dataclass
class Counters:
    """What happened to the items: received = used + bad + dropped + the one waiting or at work."""

    received: int = 0
    used: int = 0
    dropped: int = 0
    bad: int = 0


class NewestWorker(Generic[Item]):
    """
    Work on the newest item in a thread of its own.

    ``offer`` returns at once; an item that waits while a newer one comes is dropped and counted.
    The work says with its return value whether the item was usable; it must not raise.
    """

    def __init__(self, work: Callable[[Item], bool]) -> None:
        self.counters = Counters()
        self.queue_age_s = 0.0
        self._work = work
        self._waiting: tuple[Item, float] | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='recognizer', daemon=True)
        self._thread.start()

    def offer(self, item: Item) -> None:
        """Hand over an item, in place of one that is still waiting."""
        with self._changed:
            self.counters.received += 1
            if self._waiting is not None:
                self.counters.dropped += 1
            self._waiting = (item, time.monotonic())
            self._changed.notify()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Let the work at hand end, drop what waits, and say whether the thread has ended."""
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
        """Wait for an item; None when it is time to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
            if self._waiting is None:
                return None
            (item, offered), self._waiting = self._waiting, None
            if self._stopping:
                self.counters.dropped += 1
                return None
            self.queue_age_s = time.monotonic() - offered
            return item
