# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What ``/diagnostics`` says about the node: a level, a sentence and the figures behind it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from ..newest import Counters
from ..records import Recognition, State

WINDOW = 100
"""Number of last images over which rates and latencies are taken."""


@dataclass
class Statistics:
    """What the node has seen lately. Times are monotonic seconds."""

    started_s: float
    last_image_s: float | None = None
    last_bad: str = ''
    state: State = State.LOST
    used_at_s: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    latencies_ms: deque[dict[str, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _good_since_bad: int = 0

    def saw(self, recognition: Recognition, now_s: float) -> None:
        """Take one result into account; a bad image is old news after as many good ones."""
        self._good_since_bad += 1
        if self._good_since_bad >= WINDOW:
            self.last_bad = ''
        self.state = recognition.state
        self.used_at_s.append(now_s)
        self.latencies_ms.append(recognition.latency_ms)

    def saw_bad(self, reason: str) -> None:
        """Take a bad image into account."""
        self.last_bad = reason
        self._good_since_bad = 0

    def rate_hz(self) -> float:
        """Return how many images a second were used lately."""
        if len(self.used_at_s) < 2:
            return 0.0
        return (len(self.used_at_s) - 1) / max(self.used_at_s[-1] - self.used_at_s[0], 1e-9)

    def latency_ms(self) -> dict[str, float]:
        """Return the median latency of each stage."""
        stages = self.latencies_ms[-1] if self.latencies_ms else {}
        return {stage: median(one[stage] for one in list(self.latencies_ms)) for stage in stages}

    def silence_s(self, now_s: float) -> float:
        """Return the time since the last image, or since the start."""
        return now_s - (self.last_image_s or self.started_s)


def status_of(
    node_name: str,
    statistics: Statistics,
    counters: Counters,
    *,
    silent_topic: str,
    queue_age_s: float,
    constants: dict[str, str],
) -> DiagnosticStatus:
    """
    Describe the node.

    :param node_name: with its namespace, which tells several localizers apart.
    :param silent_topic: the image topic if it has been silent too long, else empty.
    :param constants: facts that do not change while the node is active (map, device, weights).
    """
    level, message = _sentence(statistics, counters, silent_topic)
    values = {
        'state': statistics.state.value,
        'received': str(counters.received),
        'used': str(counters.used),
        'dropped': str(counters.dropped),
        'bad': str(counters.bad),
        'rate_hz': f'{statistics.rate_hz():.2f}',
        'queue_age_ms': f'{queue_age_s * 1e3:.1f}',
        **{f'{stage}_ms': f'{ms:.1f}' for stage, ms in statistics.latency_ms().items()},
        **constants,
    }
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(
        level=level, name=f'r2former_ros: {node_name.lstrip("/")}', message=message, values=pairs
    )


def _sentence(
    statistics: Statistics, counters: Counters, silent_topic: str
) -> tuple[bytes, str]:
    if silent_topic:
        return DiagnosticStatus.WARN, f'no image arrives on {silent_topic}'
    if statistics.last_bad:
        return DiagnosticStatus.WARN, f'{counters.bad} bad images, the last: {statistics.last_bad}'
    return DiagnosticStatus.OK, f'{statistics.state.value}, {statistics.rate_hz():.1f} images/s'
