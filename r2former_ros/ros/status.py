# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
``~/status``: the outcome of every image, with its reason and the numbers behind it.

For whoever arbitrates among localizers. ``header.stamp`` is the image's; the level is OK for an
image that was accepted, WARN for one that was not, and ERROR for a failure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode

from ..config import Config
from ..recognizer import Recognizer
from ..records import Recognition, State
from .camera import Sight
from .conversions import header_from
from .interface import STATUS, create_publisher
from .seen import Seen
from .verdict import verdict_on

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class StatusReporter:
    """Publish what became of each image."""

    def __init__(self, node: LifecycleNode) -> None:
        self.config = Config()
        self._node = node
        self._publisher = create_publisher(node, STATUS)

    def take(self, seen: Seen) -> None:
        """Report on a recognized image, in the worker thread."""
        recognition = seen.recognition
        verdict = verdict_on(recognition, seen.recognizer.config.decision)
        self.publish(
            OK if recognition.accepted else WARN, verdict.text, recognition.stamp_ns,
            {'reason': verdict.reason, 'camera': Sight.OK.value,
             **numbers_of(recognition), **source_of(seen.recognizer)})

    def skipped(self, stamp_ns: int, reason: str, text: str, state: State) -> None:
        """Report on an image that was not recognized: ``bad_image``, or ``failure`` of ours."""
        self.publish(ERROR if reason == 'failure' else WARN, text, stamp_ns,
                     {'reason': reason, 'state': state.value})

    def camera(self, sight: Sight, text: str, state: State) -> None:
        """Report that the camera's condition has changed, or has made the node lost."""
        self.publish(
            OK if sight is Sight.OK else WARN, text, self._node.get_clock().now().nanoseconds,
            {'reason': f'camera_{sight.value}', 'state': state.value, 'camera': sight.value})

    def publish(
        self, level: bytes, text: str, stamp_ns: int, values: Mapping[str, str]
    ) -> None:
        """Publish one status under the stamp of an image."""
        name = f'r2former_ros: {self._node.get_fully_qualified_name().lstrip("/")}'
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        status = DiagnosticStatus(level=level, name=name, message=text, values=pairs)
        self._publisher.publish(DiagnosticArray(
            header=header_from(stamp_ns, self.config.map.frame_id), status=[status]))


def numbers_of(recognition: Recognition) -> dict[str, str]:
    """Return state, best place, score and probabilities; what is unknown is left out."""
    best, belief = recognition.best, recognition.belief
    values = {'state': recognition.state.value, 'accepted': str(recognition.accepted).lower()}
    if best is not None:
        values |= {'place_id': str(best.place.place_id), 'score': f'{best.score:.4f}',
                   'similarity': f'{best.similarity:.4f}'}
        if not math.isnan(best.probability):
            values['image_probability'] = f'{best.probability:.4f}'
        if not math.isnan(recognition.required_probability):
            values['required_probability'] = f'{recognition.required_probability:.4f}'
    if belief is not None:
        values |= {'belief_place_id': str(belief.place.place_id),
                   'probability': f'{belief.probability:.4f}'}
    if recognition.not_refined:
        values['not_refined'] = recognition.not_refined
    return values


def source_of(recognizer: Recognizer) -> dict[str, str]:
    """Return which map, in which revision, and which weights an answer comes from."""
    search = recognizer.search
    return {
        'map': search.place_map.location,
        'map_revision': f'{search.place_map.map_id[:12]}-{len(search.index)}',
        'weights': search.model.fingerprint,
    }
