# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The worker that always takes the newest item."""

import threading

from r2former_ros.newest import NewestWorker

WAIT_S = 10.0


class Gate:
    """Work that waits until it is let through, and says when it has begun."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.through = threading.Semaphore(0)
        self.seen = []

    def __call__(self, item):
        self.begun.release()
        assert self.through.acquire(timeout=WAIT_S)
        self.seen.append(item)
        return item != 'bad'


def test_the_newest_waiting_item_is_taken_and_the_others_are_counted():
    gate = Gate()
    worker = NewestWorker(gate)
    worker.offer(1)
    assert gate.begun.acquire(timeout=WAIT_S)  # 1 is at work
    for item in (2, 3, 4):
        worker.offer(item)
    gate.through.release()
    assert gate.begun.acquire(timeout=WAIT_S)
    gate.through.release()
    assert worker.stop()
    assert gate.seen == [1, 4]
    counters = worker.counters
    assert (counters.received, counters.used, counters.dropped, counters.bad) == (4, 2, 2, 0)


def test_items_of_no_use_are_counted_as_bad():
    gate = Gate()
    worker = NewestWorker(gate)
    worker.offer('bad')
    assert gate.begun.acquire(timeout=WAIT_S)
    gate.through.release()
    assert worker.stop()
    assert (worker.counters.used, worker.counters.bad) == (0, 1)


def test_stopping_drops_what_waits_and_the_counters_add_up():
    gate = Gate()
    worker = NewestWorker(gate)
    worker.offer(1)
    assert gate.begun.acquire(timeout=WAIT_S)
    worker.offer(2)
    gate.through.release()
    gate.through.release()
    assert worker.stop()
    counters = worker.counters
    assert counters.received == counters.used + counters.dropped + counters.bad == 2


def test_an_idle_worker_stops():
    assert NewestWorker(lambda item: True).stop()
