# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The worker that always takes the newest item."""

import threading
import time

from r2former_ros.common.newest import NewestPipeline, NewestWorker

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


def test_the_next_item_is_prepared_while_one_is_at_work_and_the_newest_wins():
    prepared, gate = threading.Semaphore(0), Gate()

    def prepare(item):
        prepared.release()
        return f'prepared {item}'

    pipeline = NewestPipeline(prepare, gate)
    for item in (1, 2, 3):
        pipeline.offer(item)
        assert prepared.acquire(timeout=WAIT_S)  # though 1 is still at work
        if item == 1:
            assert gate.begun.acquire(timeout=WAIT_S)
    until(lambda: pipeline.counters.dropped == 1)  # the prepared 2, for the prepared 3
    gate.through.release()
    assert gate.begun.acquire(timeout=WAIT_S)
    gate.through.release()
    assert pipeline.stop()
    assert gate.seen == ['prepared 1', 'prepared 3']
    counters = pipeline.counters
    assert (counters.received, counters.used, counters.dropped, counters.bad) == (3, 2, 1, 0)


def test_what_cannot_be_prepared_is_bad_and_never_worked_on():
    gate = Gate()
    gate.through.release()
    pipeline = NewestPipeline(lambda item: None if item == 'torn' else item, gate)
    for number, item in enumerate(('torn', 'whole'), 1):
        pipeline.offer(item)
        until_counted(pipeline, number)
    assert pipeline.stop()
    assert gate.seen == ['whole']
    assert (pipeline.counters.used, pipeline.counters.bad) == (1, 1)


def until(condition):
    """Wait until something is true."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, 'waited in vain'
        time.sleep(0.001)


def until_counted(pipeline, number):
    """Wait until so many items are done with."""
    until(lambda: pipeline.counters.used + pipeline.counters.bad == number)


def test_the_age_counts_from_when_the_item_was_offered():
    slow = 0.05
    pipeline = NewestPipeline(lambda item: time.sleep(slow) or item, lambda item: True)
    pipeline.offer(1)
    until_counted(pipeline, 1)
    assert pipeline.queue_age_s >= slow
    assert pipeline.stop()
