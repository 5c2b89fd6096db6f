# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node: convert, recognise, publish.

A LifecycleNode. Configuring loads weights and map; activating subscribes. The image callback
keeps the newest message and returns; one worker thread does the rest.
"""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import String

from ..config import Config
from ..decision import pose_covariance
from ..errors import ConfigError, ImageError, R2FormerError
from ..newest import NewestWorker
from ..recognizer import Recognizer, load_configured
from ..records import Recognition, State
from .conversions import frame_from, header_from, hypotheses_message, pose_message, stamp_ns_from
from .diagnostics import Statistics, status_of
from .loop_reporter import LoopReporter
from .parameters import declare_parameters, read_config, refuse_changes

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STEADY = Clock(clock_type=ClockType.STEADY_TIME)
"""For timers that must run on when simulated time stands still."""

Transition = Callable[['Localizer', LifecycleState], TransitionCallbackReturn]


def logged(transition: Transition) -> Transition:
    """Log what a transition raises (rclpy would swallow it) and let the transition fail."""

    def guarded(node: Localizer, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except R2FormerError as error:
            node.get_logger().error(str(error))
        except Exception:
            node.get_logger().error(traceback.format_exc())
        return TransitionCallbackReturn.FAILURE

    return guarded


class Localizer(LifecycleNode):
    """Publish where the camera is on a map of places."""

    def __init__(self) -> None:
        super().__init__('localizer', automatically_declare_parameters_from_overrides=True)
        declare_parameters(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self.config = Config()
        self.recognizer: Recognizer | None = None
        self.loops: LoopReporter | None = None
        self.worker: NewestWorker[Image | CompressedImage] | None = None
        self.statistics = Statistics(started_s=time.monotonic())
        self._subscription: Subscription | None = None
        self._timers: list[Timer] = []
        self._hypotheses = self.create_lifecycle_publisher(PointCloud2, '~/hypotheses', 10)
        self._pose = self.create_lifecycle_publisher(PoseWithCovarianceStamped, '~/pose', 10)
        self._state = self.create_lifecycle_publisher(String, '~/state', LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load weights and map."""
        self.config = read_config(self)
        try:
            self._open()
        except BaseException:
            self._release()
            raise
        assert self.recognizer is not None
        model = self.recognizer.model
        if self.loops is not None:
            self.get_logger().info(f'this drive grows {self.loops.place_map.path}')
        self.get_logger().info(
            f'map {self.config.map.path or "none"} with {len(self.recognizer.index)} places; '
            f'{model.origin.text}, {model.spec.preset}, on {model.device}'
        )
        if not model.origin.trained:
            self.get_logger().warning('untrained weights: results mean nothing')
        elif not self.recognizer.reranks:
            self.get_logger().warning('untrained reranker: hypotheses are ranked by similarity')
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start working."""
        super().on_activate(state)
        self.statistics = Statistics(started_s=time.monotonic())
        self.worker = NewestWorker(self._work)
        self._subscribe(ReliabilityPolicy.RELIABLE)
        period_s = self.config.node.diagnostics_period_s
        self._timers = [self.create_timer(period_s, self._publish_diagnostics, clock=STEADY)]
        self._state.publish(String(data=State.LOST.value))
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working."""
        self._stop()
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of weights and map."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop whatever runs."""
        self._stop()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _open(self) -> None:
        """Load the weights, open the saved map, and begin one for this drive."""
        path = self.config.map.path
        if not self.config.loop_closure.enabled:
            if not path:
                raise ConfigError('map.path is empty: give a map (map:=site.r2map)')
            self.recognizer = Recognizer.open(path, self.config)
            return
        model = load_configured(self.config)
        self.loops = LoopReporter(self, model, self.config)
        if path:
            self.recognizer = Recognizer.open(path, self.config, model)
        else:  # the new map stands in, as it is now: empty, so nothing is recognised on it
            self.recognizer = Recognizer(model, self.loops.place_map, self.config)

    def _on_image(self, message: Image | CompressedImage) -> None:
        self.statistics.last_image_s = time.monotonic()
        if self.worker is not None:
            self.worker.offer(message)

    def _work(self, message: Image | CompressedImage) -> bool:
        """Recognise one image, in the worker thread; False for one that is of no use."""
        assert self.recognizer is not None
        try:
            frame = frame_from(message)
            recognition, query = self.recognizer.recognize_and_encode(frame)
            self._publish(recognition)
            if self.loops is not None:
                self.loops.take(
                    frame, query, saved=self.recognizer, known=recognition.hypotheses)
        except ImageError as error:
            return self._bad(message, str(error))
        except Exception as error:
            if not self.context.ok():  # shutting down: nobody is left to publish to
                return True
            self.get_logger().error(traceback.format_exc())
            return self._bad(message, f'{type(error).__name__}: {error}')
        return True

    def _bad(self, message: Image | CompressedImage, reason: str) -> bool:
        self.statistics.last_bad = reason
        stamp_ns = stamp_ns_from(message.header.stamp)
        self.get_logger().warning(
            f'image of stamp {stamp_ns} skipped: {reason}', throttle_duration_sec=1.0
        )
        return False

    def _publish(self, recognition: Recognition) -> None:
        before = self.statistics.state
        self.statistics.saw(recognition, time.monotonic())
        stamp_ns, frame_id = recognition.stamp_ns, self.config.map.frame_id
        first = recognition.hypotheses[: self.config.node.hypotheses]
        self._hypotheses.publish(hypotheses_message(first, stamp_ns, frame_id))
        if recognition.state is not before:
            self._state.publish(String(data=recognition.state.value))
        best = recognition.best
        if recognition.state is State.LOCALIZED and best and best.place.map_T_camera is not None:
            covariance = pose_covariance(first, self.config.decision)
            self._pose.publish(
                pose_message(best.place.map_T_camera, covariance, stamp_ns, frame_id)
            )

    def _publish_diagnostics(self) -> None:
        if self.worker is None or self.recognizer is None:
            return
        now_s = time.monotonic()
        silent = self.statistics.silence_s(now_s) > self.config.node.no_image_warning_s
        topic = self._subscription.topic_name if self._subscription and silent else ''
        if topic:
            self.get_logger().warning(
                f'no image arrives on {topic}; is the topic name right?',
                throttle_duration_sec=30.0,
            )
        status = status_of(
            self.statistics,
            self.worker.counters,
            silent_topic=topic,
            queue_age_s=self.worker.queue_age_s,
            constants=self._constants(),
        )
        now_ns = self.get_clock().now().nanoseconds
        self._diagnostics.publish(DiagnosticArray(header=header_from(now_ns, ''), status=[status]))

    def _constants(self) -> dict[str, str]:
        assert self.recognizer is not None
        model = self.recognizer.model
        return {
            'map': self.config.map.path,
            'places': str(len(self.recognizer.index)),
            **(self.loops.facts() if self.loops else {}),
            'weights': f'{model.spec.preset} {model.fingerprint} ({model.origin.text})',
            'device': str(model.device),
        }

    def _subscribe(self, reliability: ReliabilityPolicy) -> None:
        """Depth 1: an older image is of no use, and waiting ones only add latency."""
        compressed = self.config.node.image_transport == 'compressed'
        self._subscription = self.create_subscription(
            CompressedImage if compressed else Image,
            'image/compressed' if compressed else 'image',
            self._on_image,
            QoSProfile(depth=1, reliability=reliability),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible),
        )

    def _on_incompatible(self, _: object) -> None:
        """Fall back to best effort, from a timer: a subscription cannot end in its own event."""
        self.get_logger().warning('the publisher offers best effort only: images may be lost')
        timer = self.create_timer(0.0, lambda: self._fall_back(timer), clock=STEADY)

    def _fall_back(self, timer: Timer) -> None:
        self.destroy_timer(timer)
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscribe(ReliabilityPolicy.BEST_EFFORT)

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        return refuse_changes(parameters, configured=self.recognizer is not None)

    def _stop(self) -> None:
        for timer in self._timers:
            self.destroy_timer(timer)
        self._timers = []
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None
        if self.worker is not None:
            self.worker.stop()
            self.worker = None

    def _release(self) -> None:
        if self.loops is not None:
            self.loops.close()
            self.loops = None
        if self.recognizer is not None:
            self.recognizer.place_map.close()
            self.recognizer = None


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    rclpy.init(args=args)
    node = Localizer()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        # ros2 launch and a terminal both send an interrupt: the second must not cut this short.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        node._stop()
        node._release()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
