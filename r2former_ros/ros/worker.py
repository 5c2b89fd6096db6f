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
from ..geometry.trajectories import POSE_TOLERANCE_NS
from ..maps.search import Prepared
from ..records import Frame, Pose
from .camera import CameraWatch, Sight
from .configured import Configured
from .conversions import stamp_ns_from
from .inputs import ImageLike
from .seen import Consumer, Seen
from .statistics import Statistics
from .status import StatusReporter

REPEAT_S = 10.0
"""Shortest time between two log lines about an error that every image may repeat."""


class ImageWorker:
    """Recognize the newest image and hand the result to the consumers, until it is stopped."""

    def __init__(
        self,
        configured: Configured,
        consumers: Sequence[Consumer],
        statistics: Statistics,
        camera: CameraWatch,
        status: StatusReporter,
        log: RcutilsLogger,
    ) -> None:
        self._configured = configured
        self._consumers = consumers
        self._statistics, self._camera, self._status = statistics, camera, status
        self._log = log
        self._newest_ns: int | None = None
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
            frame = self._configured.decode(message)
            return self._configured.recognizer.search.prepare(frame)
        self._camera.unusable()
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
        frame, recognizer = prepared.frame, self._configured.recognizer
        odom_T_camera = self._configured.odometry.at(frame.stamp_ns)
        self._require_sight(frame, odom_T_camera)
        self._notice_restart(frame.stamp_ns)
        recognition, features = recognizer.recognize_and_encode(
            prepared, odom_T_camera, self._configured.camera.mounted(frame.frame_id))
        self._statistics.saw(recognition, time.monotonic())
        return Seen(recognizer, frame, recognition, features, odom_T_camera)

    def _require_sight(self, frame: Frame, odom_T_camera: Pose | None) -> None:
        """
        Refuse an image of a camera that has been blind for so long that the state is lost.

        :raises ImageError: if it is.
        """
        shown = self._camera.look(frame.image, odom_T_camera)
        limit_s = self._configured.config.node.no_image_lost_s
        if shown is not Sight.OK and self._camera.blind_s() > limit_s:
            raise ImageError(f'the camera shows nothing new: the picture is {shown.value}')

    def _notice_restart(self, stamp_ns: int) -> None:
        """Forget earlier images when stamps begin again: motion since then is unknown."""
        back_ns = 0 if self._newest_ns is None else self._newest_ns - stamp_ns
        if 0 < back_ns <= POSE_TOLERANCE_NS:
            return
        self._newest_ns = stamp_ns
        if back_ns > POSE_TOLERANCE_NS:
            self._configured.recognizer.filter.reset()
            self._log.warning(f'the clock of the images was set back by {back_ns * 1e-9:.1f} s: '
                              'localizing begins again')

    @contextmanager
    def _guard(self, stamp_ns: int) -> Iterator[None]:
        """Log what goes wrong with an image, and let the next one come."""
        try:
            yield
        except ImageError as error:
            self._statistics.saw_bad(str(error))
            self._status.skipped(stamp_ns, 'bad_image', str(error), self._statistics.state)
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
        self._status.skipped(stamp_ns, 'failure', reason, self._statistics.state)
        self._log.error(
            f'image of stamp {stamp_ns} failed: {reason}', throttle_duration_sec=REPEAT_S)
