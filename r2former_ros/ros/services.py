# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The services of the node. Each answers with success and one line."""

from __future__ import annotations

import json
from collections import deque
from contextlib import suppress
from typing import Protocol

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future
from std_srvs.srv import Trigger

from ..config import Config
from ..errors import R2FormerError
from ..records import Recognition
from .inputs import STEADY
from .interface import LOCALIZE_ONCE, RELOAD_MAP, RESET
from .seen import Seen

INACTIVE = 'the node is not active: ros2 lifecycle set it to active first'


class Commands(Protocol):
    """What the services ask of the node."""

    def reload_map(self) -> int:
        """
        Read the map file again and return the number of places.

        :raises R2FormerError: if it cannot be used; the old map stays.
        """
        ...

    def reset(self) -> bool:
        """Forget the images seen so far; False unless the node is active."""
        ...

    def image_topic(self) -> str | None:
        """Return the image topic, None unless the node is active."""
        ...


class Services:
    """``~/reload_map``, ``~/reset`` and ``~/localize_once``."""

    def __init__(self, node: LifecycleNode, commands: Commands) -> None:
        self.config = Config()
        self._node = node
        self._commands = commands
        # The executor's thread appends and the worker's pops; both are atomic on a deque.
        self._asked: deque[Future] = deque()
        node.create_service(Trigger, RELOAD_MAP.name, self._on_reload_map)
        node.create_service(Trigger, RESET.name, self._on_reset)
        # In a group of its own: images must come in while it waits.
        node.create_service(Trigger, LOCALIZE_ONCE.name, self._on_localize_once,
                            callback_group=ReentrantCallbackGroup())

    def answer(self, seen: Seen) -> None:
        """Send an image's result to every waiting client, in the worker thread."""
        if self._asked:
            self._finish(answer_of(seen.recognition))

    def give_up(self) -> None:
        """Tell every waiting client that there is no result, because the node stops."""
        self._finish('')

    def _finish(self, text: str) -> None:
        while self._asked:
            future = self._asked.popleft()
            if not future.done():
                future.set_result(text)

    def _expire(self, future: Future) -> None:
        """Tell a client that no image came in time."""
        with suppress(ValueError):  # the worker has just taken it
            self._asked.remove(future)
        if not future.done():
            future.set_result('')

    def _on_reload_map(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            count = self._commands.reload_map()
        except R2FormerError as error:
            response.success, response.message = False, f'{error}; the old map stays'
        else:
            response.success = True
            response.message = f'{count} places in {self.config.map.path}'
        self._node.get_logger().info(f'reload_map: {response.message}')
        return response

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._commands.reset()
        response.message = 'lost: the images seen so far are forgotten' if response.success \
            else INACTIVE
        return response

    async def _on_localize_once(
        self, _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        node = self._node
        topic, timeout_s = self._commands.image_topic(), self.config.node.no_image_warning_s
        if topic is None:
            response.success, response.message = False, INACTIVE
            return response
        future = Future(executor=node.executor)
        timer = node.create_timer(timeout_s, lambda: self._expire(future), clock=STEADY)
        self._asked.append(future)
        answer = await future
        node.destroy_timer(timer)
        response.success = bool(answer)
        nothing = f'no image was recognised on {topic} in {timeout_s:g} s'
        response.message = answer or (nothing if self._commands.image_topic() else INACTIVE)
        return response


def answer_of(recognition: Recognition) -> str:
    """Write a result as one line of JSON; position in metres, stamp in nanoseconds."""
    best, belief = recognition.best, recognition.belief
    answer: dict[str, object] = {
        'stamp_ns': recognition.stamp_ns, 'state': recognition.state.value}
    if best is not None:
        pose = best.place.map_T_camera
        answer.update(
            place_id=best.place.place_id,
            score=round(best.score, 4),
            position_m=None if pose is None else pose[:3, 3].round(3).tolist(),
        )
    if belief is not None:
        answer['probability'] = round(belief.probability, 4)
    return json.dumps(answer)
