# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The health of the node on ``/diagnostics``: a level, a sentence and the figures behind it."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.timer import Timer

from .conversions import header_from
from .inputs import STEADY
from .interface import DIAGNOSTICS
from .statistics import Snapshot


class Diagnostics:
    """Publish the health of an active node."""

    def __init__(self, node: Node, snapshot: Callable[[], Snapshot | None]) -> None:
        """
        Create the publisher.

        :param snapshot: returns the node's health, or None while it is not active.
        """
        self._node = node
        self._snapshot = snapshot
        self._timer: Timer | None = None
        # Not a lifecycle publisher: without its timer it is silent.
        self._publisher = node.create_publisher(
            DIAGNOSTICS.message, DIAGNOSTICS.name, DIAGNOSTICS.qos)

    def start(self, period_s: float) -> None:
        """Publish periodically from now on."""
        self._timer = self._node.create_timer(period_s, self.publish, clock=STEADY)

    def stop(self) -> None:
        """Stop publishing."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def publish(self) -> None:
        """Publish the health as it is now."""
        snapshot = self._snapshot()
        if snapshot is not None:
            status = status_of(self._node.get_fully_qualified_name(), snapshot)
            now_ns = self._node.get_clock().now().nanoseconds
            self._publisher.publish(
                DiagnosticArray(header=header_from(now_ns, ''), status=[status]))


def status_of(node_name: str, snapshot: Snapshot) -> DiagnosticStatus:
    """
    Describe a node's health.

    :param node_name: with its namespace, which tells several localizers apart.
    """
    level, message = _summary(snapshot)
    statistics, counters = snapshot.statistics, snapshot.counters
    values = {
        'state': statistics.state.value,
        'received': str(counters.received),
        'used': str(counters.used),
        'dropped': str(counters.dropped),
        'bad': str(counters.bad),
        'rate_hz': f'{statistics.rate_hz():.2f}',
        'queue_age_ms': f'{snapshot.queue_age_s * 1e3:.1f}',
        **{f'{stage}_ms': f'{ms:.1f}' for stage, ms in statistics.latency_ms().items()},
        **snapshot.facts,
    }
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(
        level=level, name=f'r2former_ros: {node_name.lstrip("/")}', message=message, values=pairs
    )


def _summary(snapshot: Snapshot) -> tuple[bytes, str]:
    """Return the level and the sentence; the most serious problem comes first."""
    statistics = snapshot.statistics
    if statistics.last_failure:
        return DiagnosticStatus.ERROR, statistics.last_failure
    if snapshot.trouble:
        return DiagnosticStatus.WARN, snapshot.trouble
    if statistics.last_bad:
        bad = snapshot.counters.bad
        return DiagnosticStatus.WARN, f'{bad} bad images, the last: {statistics.last_bad}'
    return DiagnosticStatus.OK, f'{statistics.state.value}, {statistics.rate_hz():.1f} images/s'
