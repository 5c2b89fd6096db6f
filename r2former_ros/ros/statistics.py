# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of an active node, without any ROS type."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from statistics import median

from ..common.newest import Counters
from ..records import Recognition, State

WINDOW = 100
"""Number of recent images over which rates and latencies are computed."""


@dataclass
class Statistics:
    """
    What the node has seen recently. Times are monotonic seconds.

    Updated by both the preparing thread and the worker.
    """

    last_bad: str = ''
    last_failure: str = ''
    state: State = State.LOST
    used_at_s: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    latencies_ms: deque[dict[str, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _good_since_bad: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def saw(self, recognition: Recognition, now_s: float) -> None:
        """Record a result; ``WINDOW`` good images in a row clear the last error."""
        with self._lock:
            self._good_since_bad += 1
            if self._good_since_bad >= WINDOW:
                self.last_bad = self.last_failure = ''
        self.state = recognition.state
        self.used_at_s.append(now_s)
        self.latencies_ms.append(recognition.latency_ms)

    def saw_bad(self, reason: str) -> None:
        """Record an image that cannot be used."""
        with self._lock:
            self.last_bad = reason
            self._good_since_bad = 0

    def saw_failure(self, reason: str) -> None:
        """Record an image that failed for a reason of ours."""
        with self._lock:
            self.last_failure = reason
            self._good_since_bad = 0

    def rate_hz(self) -> float:
        """Return the recent number of images used per second."""
        if len(self.used_at_s) < 2:
            return 0.0
        return (len(self.used_at_s) - 1) / max(self.used_at_s[-1] - self.used_at_s[0], 1e-9)

    def latency_ms(self) -> dict[str, float]:
        """Return the median latency of each stage."""
        stages = self.latencies_ms[-1] if self.latencies_ms else {}
        return {stage: median(one[stage] for one in list(self.latencies_ms)) for stage in stages}


@dataclass(frozen=True)
class Snapshot:
    """
    The health of an active node at one moment.

    ``trouble`` says what is wrong with the camera, if anything; ``facts`` describe map, weights,
    device and camera.
    """

    statistics: Statistics
    counters: Counters
    queue_age_s: float = 0.0
    trouble: str = ''
    facts: dict[str, str] = field(default_factory=dict)
