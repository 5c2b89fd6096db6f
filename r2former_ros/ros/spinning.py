# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run nodes until they are told to end."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node


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
