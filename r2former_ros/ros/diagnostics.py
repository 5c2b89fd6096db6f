# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What ``/diagnostics`` says about the node: a level, a sentence and the figures behind it."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.timer import Timer

from ..common.newest import Counters
from ..recognizer import Recognizer
from ..records import Recognition, State
from .conversions import header_from
from .inputs import STEADY
from .interface import DIAGNOSTICS

if TYPE_CHECKING:
    from .localizer import Localizer

WINDOW = 100
"""Number of last images over which rates and latencies are taken."""


@dataclass
class Statistics:
    """
    What the node has seen lately. Times are monotonic seconds.

    Images are told of by the thread that prepares them and by the worker.
    """

    started_s: float
    last_image_s: float | None = None
    last_bad: str = ''
    last_failure: str = ''
    state: State = State.LOST
    used_at_s: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    latencies_ms: deque[dict[str, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _good_since_bad: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def saw(self, recognition: Recognition, now_s: float) -> None:
        """Take one result into account; what went wrong is old news after as many good ones."""
        with self._lock:
            self._good_since_bad += 1
            if self._good_since_bad >= WINDOW:
                self.last_bad = self.last_failure = ''
        self.state = recognition.state
        self.used_at_s.append(now_s)
        self.latencies_ms.append(recognition.latency_ms)

    def saw_bad(self, reason: str) -> None:
        """Take a bad image into account."""
        with self._lock:
            self.last_bad = reason
            self._good_since_bad = 0

    def saw_failure(self, reason: str) -> None:
        """Take an image into account that failed through no fault of its own."""
        with self._lock:
            self.last_failure = reason
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


class Diagnostics:
    """Publish how an active node fares."""

    def __init__(self, node: Localizer) -> None:
        self._node = node
        self._timer: Timer | None = None
        # Not a lifecycle publisher: it is silent by having no timer.
        self._publisher = node.create_publisher(
            DIAGNOSTICS.message, DIAGNOSTICS.name, DIAGNOSTICS.qos)

    def start(self, period_s: float) -> None:
        """Publish from now on."""
        self._timer = self._node.create_timer(period_s, self._publish, clock=STEADY)

    def stop(self) -> None:
        """Publish no more."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def _publish(self) -> None:
        node = self._node
        if node.worker is None or node.recognizer is None:
            return
        status = status_of(
            node.get_fully_qualified_name(),
            node.statistics,
            node.worker.counters,
            silent_topic=self._silent_topic(),
            queue_age_s=node.worker.queue_age_s,
            constants=self._constants(node.recognizer),
        )
        now_ns = node.get_clock().now().nanoseconds
        self._publisher.publish(DiagnosticArray(header=header_from(now_ns, ''), status=[status]))

    def _silent_topic(self) -> str:
        """Return the image topic, and warn of it, if nothing comes on it; else nothing."""
        node = self._node
        silence_s = node.statistics.silence_s(time.monotonic())
        if node.images is None or silence_s <= node.config.node.no_image_warning_s:
            return ''
        node.get_logger().warning(
            f'no image arrives on {node.images.topic_name}; is the topic name right?',
            throttle_duration_sec=30.0,
        )
        return node.images.topic_name

    def _constants(self, recognizer: Recognizer) -> dict[str, str]:
        node, model = self._node, recognizer.model
        return {
            'map': node.config.map.path,
            'places': str(len(recognizer.index)),
            **(node.loops.facts() if node.loops else {}),
            'weights': f'{model.spec.preset} {model.fingerprint} ({model.origin.text})',
            'device': str(model.device),
        }


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
    if statistics.last_failure:
        return DiagnosticStatus.ERROR, statistics.last_failure
    if silent_topic:
        return DiagnosticStatus.WARN, f'no image arrives on {silent_topic}'
    if statistics.last_bad:
        return DiagnosticStatus.WARN, f'{counters.bad} bad images, the last: {statistics.last_bad}'
    return DiagnosticStatus.OK, f'{statistics.state.value}, {statistics.rate_hz():.1f} images/s'
