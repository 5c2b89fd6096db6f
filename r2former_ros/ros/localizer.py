# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node: convert, recognise, hand to the consumers.

A LifecycleNode. Configuring loads weights and map; activating subscribes. The image callback
keeps the newest message and returns. One thread makes the network's input of it while another, the
worker, still deals with the image before.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import rclpy
import torch
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from ..common.newest import NewestPipeline
from ..config import Config, options, with_values
from ..errors import ConfigError, ImageError, R2FormerError
from ..maps.calibration import calibration_for
from ..recognizer import Recognizer, load_configured
from ..records import Frame, State
from .conversions import frame_from, stamp_ns_from
from .diagnostics import Diagnostics, Statistics
from .inputs import ImageInput, ImageLike, OdometryInput
from .loop_reporter import LoopReporter
from .markers import Pictures
from .outputs import Consumer, Outputs, Seen
from .parameters import declare_parameters, read_config, refuse_changes
from .services import Services
from .spinning import end_process, spin_until_interrupted

CONFIGURED = 'is read when the node is configured: clean it up first'
FAILURES_EACH_S = 10.0
"""Time between two lines of what each image may meet again."""
Transition = Callable[['Localizer', LifecycleState], TransitionCallbackReturn]


@dataclass(frozen=True)
class Prepared:
    """An image with the network's input made of it."""

    frame: Frame
    pixels: torch.Tensor


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
    """
    Publish where the camera is on a map of places.

    ``consumers`` is where more can be done with each image: configuring fills the list, and the
    worker thread calls each with what was seen.
    """

    def __init__(self) -> None:
        super().__init__('localizer', automatically_declare_parameters_from_overrides=True)
        declare_parameters(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self.add_post_set_parameters_callback(self._after_parameters)
        self.config = Config()
        self.recognizer: Recognizer | None = None
        self.worker: NewestPipeline[ImageLike, Prepared] | None = None
        self.images: ImageInput | None = None
        self.odometry: OdometryInput | None = None
        self.loops: LoopReporter | None = None
        self.consumers: list[Consumer] = []
        self.statistics = Statistics(started_s=time.monotonic())
        self.outputs = Outputs(self)
        self.pictures = Pictures(self)
        self.services_offered = Services(self)
        # Held while the worker deals with an image, and by who changes what it uses.
        self._at_work = threading.RLock()
        self.diagnostics = Diagnostics(self)

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load weights and map."""
        self.config = read_config(self)
        try:
            self.recognizer = self._open()
            self.recognizer.warm_up()
            self._use(self.config)
        except BaseException:
            self._release()
            raise
        self._describe(self.recognizer)
        self.pictures.show(self.recognizer)
        self.consumers = [
            self.outputs.publish, self.pictures.publish, self.services_offered.answer]
        if self.loops is not None:
            self.consumers.append(self.loops.take)
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start working."""
        super().on_activate(state)
        self.statistics = Statistics(started_s=time.monotonic())
        self.odometry = OdometryInput(self)
        self.worker = NewestPipeline(self._prepare, self._work)
        self.images = ImageInput(self, self.config.node, self._on_image)
        self.diagnostics.start(self.config.node.diagnostics_period_s)
        self.outputs.say_state(State.LOST, again=True)
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

    def _open(self) -> Recognizer:
        """Load the weights, open the saved map, and begin one for this drive."""
        path, notify = self.config.map.path, self.get_logger().info
        if not self.config.loop_closure.enabled:
            if not path:
                raise ConfigError('map.path is empty: give a map (map:=site.r2map)')
            return Recognizer.open(path, self.config, notify=notify)
        model = load_configured(self.config)
        self.loops = LoopReporter(self, model, self.config)
        self.get_logger().info(f'this drive grows {self.loops.place_map.location}')
        if path:
            return Recognizer.open(path, self.config, model, notify)
        # The new map stands in, as it is now: empty, so nothing is recognised on it.
        return Recognizer(model, self.loops.place_map, self.config)

    def _stands_in(self) -> bool:
        """Say whether there is no saved map, and that of the drive is used in its place."""
        return (self.recognizer is not None and self.loops is not None
                and self.recognizer.place_map is self.loops.place_map)

    def reload_map(self) -> int:
        """
        Read the map file again, while images wait, and return the number of places.

        :raises R2FormerError: if it cannot be used, or nothing is configured; the old one stays.
        """
        with self._at_work:
            old = self.recognizer
            if old is None or self._stands_in():
                raise ConfigError('no saved map is open: configure the node with one first')
            self.recognizer = Recognizer.open(
                self.config.map.path, self.config, old.model, self.get_logger().info
            )
            self.pictures.show(self.recognizer)
            old.place_map.close()
            self.reset()
            return len(self.recognizer.index)

    def reset(self) -> bool:
        """Forget the images seen so far; False where the node is not active."""
        with self._at_work:
            if self.recognizer is None or self.worker is None:
                return False
            self.recognizer.filter.reset()
            self.statistics.state = State.LOST
            self.outputs.say_state(State.LOST)
            return True

    def _on_image(self, message: ImageLike) -> None:
        self.statistics.last_image_s = time.monotonic()
        if self.worker is not None:
            self.worker.offer(message)

    def _prepare(self, message: ImageLike) -> Prepared | None:
        """Decode an image and make the network's input of it, while the worker is busy."""
        with self._guard(stamp_ns_from(message.header.stamp)):
            recognizer = self.recognizer
            if recognizer is not None:  # else being cleaned up
                frame = frame_from(message)
                return Prepared(frame, recognizer.prepare(frame))
        return None

    def _work(self, prepared: Prepared) -> bool:
        """Deal with one image, in the worker thread; False where that failed."""
        with self._guard(prepared.frame.stamp_ns), self._at_work:
            seen = self._see(prepared)
            for consumer in self.consumers:
                consumer(seen)
            return True
        return False

    @contextmanager
    def _guard(self, stamp_ns: int) -> Iterator[None]:
        """Say what went wrong with an image, and go on with the next one."""
        try:
            yield
        except ImageError as error:
            self.statistics.saw_bad(str(error))
            self.get_logger().warning(
                f'image of stamp {stamp_ns} skipped: {error}', throttle_duration_sec=1.0)
        except R2FormerError as error:  # the disk is full, a row of the map is damaged
            self._failed(stamp_ns, str(error))
        except Exception as error:
            if self.context.ok():  # else shutting down: nobody is left to publish to
                self.get_logger().error(
                    traceback.format_exc(), throttle_duration_sec=FAILURES_EACH_S)
                self._failed(stamp_ns, f'{type(error).__name__}: {error}')

    def _see(self, prepared: Prepared) -> Seen:
        assert self.recognizer is not None
        frame = prepared.frame
        odom_T_camera = self.odometry.at(frame.stamp_ns) if self.odometry else None
        recognition, features = self.recognizer.recognize_and_encode(
            frame, odom_T_camera, prepared.pixels)
        self.statistics.saw(recognition, time.monotonic())
        return Seen(frame, recognition, features, odom_T_camera)

    def _failed(self, stamp_ns: int, reason: str) -> None:
        """Say what went wrong that is not the image's fault."""
        self.statistics.saw_failure(reason)
        self.get_logger().error(
            f'image of stamp {stamp_ns} failed: {reason}', throttle_duration_sec=FAILURES_EACH_S)

    def _describe(self, recognizer: Recognizer) -> None:
        model = recognizer.model
        self.get_logger().info(
            f'map {self.config.map.path or "none"} with {len(recognizer.index)} places; '
            f'{model.origin.text}, {model.spec.preset}, on {model.device} ({model.backend})'
        )
        if not model.origin.trained:
            self.get_logger().warning('untrained weights: results mean nothing')
        elif not recognizer.reranks:
            self.get_logger().warning('untrained reranker: hypotheses are ranked by similarity')

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        result = refuse_changes(parameters, CONFIGURED if self.recognizer is not None else '')
        if result.successful and self.recognizer is not None:
            known = {setting.name for setting in options()}
            values = {one.name: one.value for one in parameters if one.name in known}
            try:
                calibration_for(self.recognizer.place_map, with_values(self.config, values))
            except R2FormerError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return result

    def _after_parameters(self, parameters: list[Parameter]) -> None:
        if self.recognizer is not None:
            self._use(read_config(self))

    def _use(self, config: Config) -> None:
        """Take settings that may change at run time."""
        with self._at_work:
            self.config = self.outputs.config = self.pictures.config = config
            if self.recognizer is not None:
                self.recognizer.use(config)
            if self.loops is not None:
                self.loops.use(config)

    def _stop(self) -> None:
        self.diagnostics.stop()
        if self.images is not None:
            self.images.close()
            self.images = None
        if self.odometry is not None:
            self.odometry.close()
        if self.worker is not None:
            self.worker.stop()
            self.worker = None
        self.odometry = None
        self.services_offered.give_up()

    def _release(self) -> None:
        """Let go of map and weights; an image that is still at work ends first."""
        with self._at_work:
            self.consumers = []
            self.pictures.show(None)
            if self.recognizer is not None and not self._stands_in():
                self.recognizer.place_map.close()
            self.recognizer = None
            if self.loops is not None:
                self.loops.close()
                self.loops = None


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    rclpy.init(args=args)
    node = Localizer()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        spin_until_interrupted(executor)
    finally:
        node._stop()
        node._release()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    end_process(main())
