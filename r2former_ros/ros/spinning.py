# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run nodes until they are told to end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from rclpy.context import Context
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

POLL_S = 0.1


@contextmanager
def ended_by_signals(context: Context, abandon: Callable[[], None]) -> Iterator[None]:
    """
    End the process at once on SIGINT or SIGTERM, even while a library compiles in the block.

    rclpy shuts the context down in a thread of its own, so a second thread notices the signal
    whatever Python's main thread does; an exception raised there could be swallowed on its way.

    :param abandon: called before the end, in another thread than the block's.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_S):
            if not context.ok():
                abandon()
                end_process(0)

    threading.Thread(target=watch, name='signals', daemon=True).start()
    try:
        yield
    finally:
        done.set()


def run(node: Node) -> None:
    """Spin a node on its own until an interrupt or a shutdown."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spin_until_interrupted(executor)


def spin_until_interrupted(executor: Executor) -> None:
    """
    Run callbacks until an interrupt or a shutdown; from then on interrupts are ignored.

    ros2 launch and a terminal both send one: the second must not cut short what is left to do.
    """
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:
        # rclpy shuts down in the signal's handler, under whatever runs: a callback that
        # publishes, or the executor between two waits, meets a context that is gone.
        if executor.context.ok():
            raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_process(code: int) -> NoReturn:
    """
    End at once, when all is closed and saved.

    Python would first clear away PyTorch, object by object: two seconds in which an operator
    waits, and ros2 launch may lose patience.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
