# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node ``localizer``: its lifecycle and its parameters.

Configuring loads weights and map (``Configured``); activating subscribes and starts the worker
(``Active``). Results go to the consumers.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from ..config import Config
from ..errors import ConfigError, R2FormerError
from ..records import State
from .active import Active
from .configured import Configured, Guard, unguarded
from .diagnostics import Diagnostics
from .markers import Pictures
from .outputs import Outputs
from .parameters import declare_parameters, read_config, refuse_changes
from .seen import Consumer
from .services import Services
from .spinning import end_process, ended_by_signals, run
from .statistics import Snapshot
from .status import StatusReporter
from .transitions import logged

CONFIGURED = 'is read when the node is configured: clean it up first'


class Localizer(LifecycleNode):
    """Say where the camera is. The worker hands each result to ``consumers``: append yours."""

    def __init__(self) -> None:
        super().__init__('localizer', automatically_declare_parameters_from_overrides=True)
        declare_parameters(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self.config = Config()
        self.while_configuring: Guard = unguarded
        self.configured: Configured | None = None
        self.active: Active | None = None
        self.outputs = Outputs(self)
        self.status = StatusReporter(self)
        self.pictures = Pictures(self)
        self.services_offered = Services(self, self)
        self.diagnostics = Diagnostics(self, self._snapshot)
        self.consumers: list[Consumer] = [
            self.outputs.publish, self.status.take, self.pictures.publish,
            self.services_offered.answer]

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load weights and map."""
        self.configured = Configured(self, read_config(self), self.while_configuring)
        self._use(self.configured.config)
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start working."""
        super().on_activate(state)
        assert self.configured is not None
        consumers = [*self.consumers, *self.configured.consumers]
        self.active = Active(self, self.configured, consumers, self.status, self.reset)
        self.diagnostics.start(self.config.node.diagnostics_period_s)
        self.outputs.say_state(State.LOST, again=True)
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop working."""
        self._deactivate()
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release weights and map."""
        self._clean_up()
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working and release weights and map."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Stop working and release weights and map, whatever the state."""
        self._deactivate()
        self._clean_up()

    def reload_map(self) -> int:
        """
        Read the map file again, while images wait, and return the number of places.

        :raises R2FormerError: if it cannot be used, or nothing is configured; the old map stays.
        """
        if self.configured is None:
            raise ConfigError('no saved map is open: configure the node with one first')
        with self._paused():
            self.configured.reload()
            self.reset()
        return len(self.configured.recognizer.search.index)

    def reset(self) -> bool:
        """Forget the images seen so far; False unless the node is active."""
        if self.configured is None or self.active is None:
            return False
        with self._paused():
            self.configured.recognizer.filter.reset()
            self.active.statistics.state = State.LOST
            self.outputs.say_state(State.LOST)
        return True

    def image_topic(self) -> str | None:
        """Return the image topic, None unless the node is active."""
        return self.active.images.topic_name if self.active else None

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Hold the worker, where there is one, while something that it uses changes."""
        with self.active.worker.paused() if self.active else nullcontext():
            yield

    def _snapshot(self) -> Snapshot | None:
        return self.active.snapshot() if self.active else None

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Check a change and apply it; rclpy has checked types and ranges before."""
        result = refuse_changes(parameters, CONFIGURED if self.configured else '')
        if result.successful and self.configured is not None:
            try:
                self._use(self.configured.changed({one.name: one.value for one in parameters}))
            except R2FormerError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return result

    def _use(self, config: Config) -> None:
        """Apply settings that may change at run time."""
        assert self.configured is not None
        with self._paused():
            self.config = config
            for part in (self.outputs, self.status, self.pictures, self.services_offered):
                part.config = config
            self.configured.use(config)

    def _deactivate(self) -> None:
        self.diagnostics.stop()
        if self.active is not None:
            self.active.close()
            self.active = None
        self.services_offered.give_up()

    def _clean_up(self) -> None:
        if self.configured is not None:
            self.configured.close()
            self.configured = None
            gc.collect()  # what was configured refers to itself, and so to the weights


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    rclpy.init(args=args)
    node = Localizer()
    node.while_configuring = partial(ended_by_signals, node.context)
    try:
        run(node)
    finally:
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    end_process(main())
