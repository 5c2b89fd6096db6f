# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The work on images, in two threads of its own; it exists exactly while the node is active.

One thread decodes the newest message and makes the network's input of it, while the other, the
worker, recognizes the image before it and hands the result to the consumers.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import rclpy
from rclpy.impl.rcutils_logger import RcutilsLogger

from ..common.newest import Counters, NewestPipeline
from ..errors import ImageError, R2FormerError
from ..geometry.pose_buffer import PoseBuffer
from ..maps.search import Prepared
from ..recognizer import Recognizer
from .conversions import frame_from, stamp_ns_from
from .inputs import ImageLike
from .seen import Consumer, Seen
from .statistics import Statistics

REPEAT_S = 10.0
"""Shortest time between two log lines about an error that every image may repeat."""


class ImageWorker:
    """Recognize the newest image and hand the result to the consumers, until it is stopped."""

    def __init__(
        self,
        recognizer: Recognizer,
        odometry: PoseBuffer,
        consumers: Sequence[Consumer],
        statistics: Statistics,
        log: RcutilsLogger,
    ) -> None:
        self.recognizer = recognizer
        self._odometry = odometry
        self._consumers = consumers
        self._statistics = statistics
        self._log = log
        # Held while an image is recognized, and by whoever changes what that uses.
        self._busy = threading.RLock()
        self._pipeline = NewestPipeline(self.prepare, self.work)

    @property
    def counters(self) -> Counters:
        """What happened to the images so far."""
        return self._pipeline.counters

    @property
    def queue_age_s(self) -> float:
        """How old the image in progress was when its work began."""
        return self._pipeline.queue_age_s

    def offer(self, message: ImageLike) -> None:
        """Take a message in place of one that is still waiting."""
        self._pipeline.offer(message)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Finish the image in progress and hold the next one until the block ends."""
        with self._busy:
            yield

    def stop(self) -> None:
        """Finish the image in progress, drop the one that waits, and end both threads."""
        self._pipeline.stop()
        with self._busy:  # an image may take longer than the pipeline waits for it
            self._consumers = ()

    def prepare(self, message: ImageLike) -> Prepared | None:
        """Decode an image and make the network's input of it; None if it cannot be used."""
        with self._guard(stamp_ns_from(message.header.stamp)):
            return self.recognizer.search.prepare(frame_from(message))
        return None

    def work(self, prepared: Prepared) -> bool:
        """Recognize one image and hand the result on; False if that failed."""
        with self._guard(prepared.frame.stamp_ns), self._busy:
            seen = self._see(prepared)
            for consumer in self._consumers:
                consumer(seen)
            return True
        return False

    def _see(self, prepared: Prepared) -> Seen:
        frame, recognizer = prepared.frame, self.recognizer
        odom_T_camera = self._odometry.at(frame.stamp_ns)
        recognition, features = recognizer.recognize_and_encode(prepared, odom_T_camera)
        self._statistics.saw(recognition, time.monotonic())
        return Seen(recognizer, frame, recognition, features, odom_T_camera)

    @contextmanager
    def _guard(self, stamp_ns: int) -> Iterator[None]:
        """Log what goes wrong with an image, and let the next one come."""
        try:
            yield
        except ImageError as error:
            self._statistics.saw_bad(str(error))
            self._log.warning(
                f'image of stamp {stamp_ns} skipped: {error}', throttle_duration_sec=1.0)
        except R2FormerError as error:  # the disk is full, a row of the map is damaged
            self._failed(stamp_ns, str(error))
        except Exception as error:
            if rclpy.ok():  # else shutting down: publishing is no longer possible
                self._log.error(traceback.format_exc(), throttle_duration_sec=REPEAT_S)
                self._failed(stamp_ns, f'{type(error).__name__}: {error}')

    def _failed(self, stamp_ns: int, reason: str) -> None:
        """Log a failure that the image did not cause."""
        self._statistics.saw_failure(reason)
        self._log.error(
            f'image of stamp {stamp_ns} failed: {reason}', throttle_duration_sec=REPEAT_S)
