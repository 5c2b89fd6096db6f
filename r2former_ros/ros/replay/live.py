# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Replay a bag through the real node in a separate process, and collect its output."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String

from ...config import Config, to_dict
from ...errors import R2FormerError
from ...geometry.poses import pose_from_quaternion
from ...records import Pose
from ...sources.bags import Bag
from ..conversions import Hypotheses, hypotheses_from, stamp_ns_from
from .player import Player

START_TIMEOUT_S = 180.0
CONFIGURE_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
"""Time to finish the current image and to shut Python down, which takes 2 s of one core."""
SETTLE_TIMEOUT_S = 20.0
LOCALIZER, DIAGNOSTICS = '/localizer/', '/diagnostics'
DOMAINS = 100
"""Domain ids that are safe to use on Linux: their ports lie below the ephemeral ones."""


@dataclass
class LiveRun:
    """Results of a replay; ``hypotheses`` has one entry per answered image, by stamp."""

    played: int = 0
    hypotheses: dict[int, Hypotheses] = field(default_factory=dict)
    poses: dict[int, Pose] = field(default_factory=dict)
    """``map_T_camera`` as published on ``~/pose``, by the stamp of the image."""
    states: list[str] = field(default_factory=list)
    diagnostics: dict[str, str] = field(default_factory=dict)
    memory_mb: float = math.nan
    """Peak resident memory of the node's process, in MiB."""

    def count(self, name: str) -> int:
        """Return a counter of the node: received, used, dropped or bad."""
        return int(self.diagnostics.get(name, 0))

    @property
    def counts(self) -> dict[str, int]:
        """What happened to the images, from the player to the recognizer."""
        names = ('received', 'used', 'dropped', 'bad')
        return {'played': self.played, **{name: self.count(name) for name in names}}

    @property
    def latency_ms(self) -> dict[str, float]:
        """Median latency by stage, as the node reports it."""
        stages = ('encode', 'retrieve', 'rerank', 'verify', 'decide')
        return {stage: float(self.diagnostics.get(f'{stage}_ms', 'nan')) for stage in stages}


class LiveNode:
    """The localizer in a process of its own, driven through its lifecycle services."""

    def __init__(self, config: Config, image_topic: str) -> None:
        self.run = LiveRun()
        self.node = Node('r2former_replay')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._parameters = _parameter_file(config)
        self._process = _start_process(self._parameters, image_topic)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        subscribe = self.node.create_subscription
        subscribe(PointCloud2, '/localizer/hypotheses', self._on_hypotheses, 100)
        subscribe(PoseWithCovarianceStamped, '/localizer/pose', self._on_pose, 100)
        subscribe(String, '/localizer/state', self._on_state, latched)
        subscribe(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self._change_state = self.node.create_client(ChangeState, '/localizer/change_state')
        self._get_state = self.node.create_client(GetState, '/localizer/get_state')

    def __enter__(self) -> LiveNode:
        self._thread.start()
        try:
            self._wait_for_answers()
            self._change(Transition.TRANSITION_CONFIGURE)
            self._change(Transition.TRANSITION_ACTIVATE)
        except BaseException:  # then nobody calls __exit__
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Interrupt the process as a terminal would, and destroy the node that controls it."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(timeout=2.0)
        self.node.destroy_node()
        self._parameters.unlink(missing_ok=True)

    def play(
        self,
        bag_path: Path,
        image_topic: str,
        *,
        rate: float = 1.0,
        on_image: Callable[[], object] = lambda: None,
    ) -> LiveRun:
        """
        Play a bag to the node and wait until every image it received is accounted for.

        :raises R2FormerError: if the node never subscribes.
        """
        player = Player(self.node, bag_path, _recorded_inputs(bag_path))
        if not player.wait_for_subscriber(image_topic):
            raise R2FormerError(f'the node does not subscribe to {image_topic}')

        def count(topic: str) -> None:
            if topic == image_topic:
                self.run.played += 1
                on_image()

        player.play(rate, count)
        self.settle()
        self.run.memory_mb = self.memory_mb(peak=True)
        return self.run

    def memory_mb(self, *, peak: bool = False) -> float:
        """Return the resident memory of the node's process in MiB, or its peak so far."""
        status = Path(f'/proc/{self._process.pid}/status').read_text(encoding='utf-8')
        name = 'VmHWM' if peak else 'VmRSS'
        line = next(one for one in status.splitlines() if one.startswith(name))
        return int(line.split()[1]) / 1024

    def cpu_s(self) -> float:
        """Return the CPU time of the node's process so far, in seconds of one core."""
        stat = Path(f'/proc/{self._process.pid}/stat').read_text(encoding='utf-8')
        user, system = stat.rpartition(')')[2].split()[11:13]  # the name may hold blanks
        return (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')

    def settle(self) -> None:
        """Wait for diagnostics in which every received image is accounted for."""
        until = time.monotonic() + SETTLE_TIMEOUT_S
        previous: dict[str, str] = {}
        while time.monotonic() < until:
            time.sleep(self.settle_pause_s)
            now = dict(self.run.diagnostics)
            done = sum(self.run.count(name) for name in ('used', 'dropped', 'bad'))
            if now and now == previous and self.run.count('received') == done:
                return
            previous = now

    settle_pause_s = 1.5
    """Longer than the time between two diagnostics messages, so that two in a row are compared."""

    def _wait_for_answers(self) -> None:
        """
        Ask for the state until an answer comes.

        A service can be seen before it sees its client, and then a quick answer is lost. The
        client of this question was made after that of transitions, so it is known last.
        """
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until and self._process.poll() is None:
            if self._done(self._get_state.call_async(GetState.Request()), timeout_s=0.5):
                return
        raise R2FormerError('the localizer process did not start')

    def _change(self, transition: int) -> None:
        """Request a transition; if it fails, the node has logged why."""
        request = ChangeState.Request(transition=Transition(id=transition))
        future = self._change_state.call_async(request)
        if not self._done(future, CONFIGURE_TIMEOUT_S) or not future.result().success:
            raise R2FormerError('the localizer could not be started; its message is above')

    def _done(self, future: Future, timeout_s: float) -> bool:
        """Wait for an answer while the process runs."""
        until = time.monotonic() + timeout_s
        while not future.done() and time.monotonic() < until and self._process.poll() is None:
            time.sleep(0.02)
        return future.done()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        p, q = message.pose.pose.position, message.pose.pose.orientation
        self.run.poses[stamp_ns_from(message.header.stamp)] = pose_from_quaternion(
            [p.x, p.y, p.z], [q.x, q.y, q.z, q.w])

    def _on_hypotheses(self, message: PointCloud2) -> None:
        decoded = hypotheses_from(message)
        self.run.hypotheses[decoded.stamp_ns] = decoded

    def _on_state(self, message: String) -> None:
        self.run.states.append(message.data)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if 'localizer' in status.name:
                self.run.diagnostics = {pair.key: pair.value for pair in status.values}


@contextmanager
def own_domain(arguments: list[str] | None = None) -> Iterator[None]:
    """Initialise rclpy in a domain of its own, on this machine only; shut it down at the end."""
    os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % DOMAINS)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield
    finally:
        rclpy.try_shutdown()


def _recorded_inputs(bag_path: Path) -> list[str]:
    """Return the topics of a bag, except for what a recorded localizer published."""
    with Bag(bag_path) as bag:
        return [topic for topic in bag.topics
                if topic != DIAGNOSTICS and not topic.startswith(LOCALIZER)]


def _parameter_file(config: Config) -> Path:
    parameters = {**to_dict(config), 'use_sim_time': True}
    with tempfile.NamedTemporaryFile('w', suffix='.yaml', delete=False) as file:
        yaml.safe_dump({'/**': {'ros__parameters': parameters}}, file, sort_keys=False)
    return Path(file.name)


def _start_process(parameters: Path, image_topic: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, '-m', 'r2former_ros.ros.localizer', '--ros-args',
               '--params-file', str(parameters), '-r', f'image:={image_topic}',
               '-r', f'image/compressed:={image_topic}']
    return subprocess.Popen(command)
