# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Play images at 30 Hz to the live node for minutes, and see that nothing grows or gets lost.

    python benchmarks/soak.py --minutes 30
    python benchmarks/soak.py --minutes 0.4 --weights r2former-tiny --height 0 --width 0

The second line is an overload: the bundled weights at their own size take longer than a frame.
Images and map are made of random blocks, and the network is the untrained ``tiny`` where no other
is named: what is tried is the node, not the recognition.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image as ImageMessage

from r2former_ros.config import Config, with_values
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.build import build_map
from r2former_ros.model.loading import load_configured
from r2former_ros.records import Frame, Image, PosedFrame
from r2former_ros.ros.conversions import header_from
from r2former_ros.ros.replay.live import LiveNode, own_domain

TOPIC = '/camera/image_raw'
RATE_HZ = 30.0
HEIGHT, WIDTH = 480, 640
PLACES = 50
WARM_UP_SHARE = 0.2
SETTINGS: dict[str, Any] = {
    'model.weights': 'tiny', 'model.device': 'cpu', 'model.image_height': 64,
    'model.image_width': 96, 'node.diagnostics_period_s': 0.5,
}


@dataclass
class Soak:
    """
    What was measured.

    Once a second: the node's memory, the latency of a median image (all stages) and how long the
    last image had waited; in the whole: seconds played and those of a core that the node took.
    ``unsent`` are the played images that the publisher refused (see ``sent``).
    """

    played: int = 0
    unsent: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    memory_mb: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    wait_ms: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def adds_up(self) -> bool:
        """Whether every image received was used, dropped or bad."""
        done = sum(self.counts[name] for name in ('used', 'dropped', 'bad'))
        return self.counts['received'] == done

    def growth_mb(self) -> float:
        """Return the memory at the end beyond the largest at the end of the warm-up."""
        warm = max(1, round(len(self.memory_mb) * WARM_UP_SHARE))
        return self.memory_mb[-1] - max(self.memory_mb[:warm])

    def latency_thirds_ms(self) -> list[tuple[float, float]]:
        """Return median and 95 % of the latency in each third of the time."""
        thirds = np.array_split(self.latency_ms, 3)
        return [(float(np.median(one)), float(np.percentile(one, 95))) for one in thirds]

    def lines(self) -> list[str]:
        """Say it for a person."""
        counts = ', '.join(f'{name} {count}' for name, count in self.counts.items())
        warm = max(1, round(len(self.memory_mb) * WARM_UP_SHARE))
        verdict = 'add up' if self.adds_up else 'DO NOT add up'
        received = self.counts['received'] / self.played
        lines = [f'played {self.played}, unsent {self.unsent}, {counts}: {verdict}',
                 f'received {received:.1%} of the played; the last image had waited '
                 f'{np.median(self.wait_ms):.1f} ms (median), {max(self.wait_ms):.1f} ms (most)',
                 f'CPU of the node: {self.cpu_s / self.wall_s:.0%} of one core, '
                 f'of {os.cpu_count()} cores',
                 f'memory {max(self.memory_mb[:warm]):.1f} MB warmed up, '
                 f'{self.memory_mb[-1]:.1f} MB at the end']
        for number, (p50_ms, p95_ms) in enumerate(self.latency_thirds_ms(), 1):
            lines.append(f'latency of a median image, third {number}: '
                         f'p50 {p50_ms:.1f} ms, p95 {p95_ms:.1f} ms')
        return lines


def picture(seed: int) -> Image:
    """Make a picture of coloured blocks, uint8 (HEIGHT, WIDTH, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 40, WIDTH // 40, 3), np.uint8)
    return blocks.repeat(40, axis=0).repeat(40, axis=1)


def soak(minutes: float, folder: Path, settings: dict[str, Any] = SETTINGS) -> Soak:
    """Play for a while and return what was measured."""
    config = with_values(Config(), {**settings, 'map.path': str(folder / 'soak.r2map')})
    frames = [PosedFrame(Frame(i, picture(i)), pose_from_yaw(3.0 * i, 0, 0), f'{i}')
              for i in range(PLACES)]
    build_map(load_configured(config), config.map.path, frames, config)
    messages = [message_of(one.frame.image) for one in frames]
    with own_domain(), LiveNode(config, TOPIC) as live:
        result = play(live, messages, minutes)
        live.settle()
        result.counts = {name: live.run.count(name)
                         for name in ('received', 'used', 'dropped', 'bad')}
    return result


def play(live: LiveNode, messages: list[ImageMessage], minutes: float) -> Soak:
    """Publish at the rate of a camera, and note once a second how the node does."""
    result = Soak()
    publisher = live.node.create_publisher(ImageMessage, TOPIC, 10)
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    start, cpu_s = time.monotonic(), live.cpu_s()
    for number in range(round(minutes * 60 * RATE_HZ)):
        message = messages[number % len(messages)]
        message.header = header_from(10**9 + round(number / RATE_HZ * 1e9), 'camera')
        result.played += 1
        result.unsent += not sent(publisher, message)
        if number % round(RATE_HZ) == 0:
            result.memory_mb.append(live.memory_mb())
            result.latency_ms.append(sum(live.run.latency_ms.values()))
            result.wait_ms.append(float(live.run.diagnostics.get('queue_age_ms', 'nan')))
        time.sleep(max(0.0, start + (number + 1) / RATE_HZ - time.monotonic()))
    result.wall_s, result.cpu_s = time.monotonic() - start, live.cpu_s() - cpu_s
    result.memory_mb.append(live.memory_mb())
    # There is nothing to note before the first diagnostics.
    result.latency_ms = [one for one in result.latency_ms if np.isfinite(one)]
    result.wait_ms = [one for one in result.wait_ms if np.isfinite(one)]
    return result


def sent(publisher: Publisher, message: ImageMessage) -> bool:
    """Publish; Fast DDS refuses where it has waited 100 ms in vain, as on overloaded cores."""
    try:
        publisher.publish(message)
    except RuntimeError as error:  # RCLError, which rclpy does not export
        if 'cannot publish data' not in str(error):
            raise
        return False
    return True


def message_of(image: Image) -> ImageMessage:
    """Return a picture as a message."""
    return ImageMessage(height=HEIGHT, width=WIDTH, encoding='rgb8', step=3 * WIDTH,
                        data=image.tobytes())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--minutes', type=float, default=30.0)
    parser.add_argument('--weights', default=SETTINGS['model.weights'])
    for side in ('height', 'width'):
        parser.add_argument(f'--{side}', type=int, default=SETTINGS[f'model.image_{side}'],
                            help='of the network\'s input [px]; 0: as in the weights')
    arguments = parser.parse_args()
    settings = {**SETTINGS, 'model.weights': arguments.weights,
                'model.image_height': arguments.height, 'model.image_width': arguments.width}
    with tempfile.TemporaryDirectory() as folder:
        result = soak(arguments.minutes, Path(folder), settings)
    print('\n'.join(result.lines()))


if __name__ == '__main__':
    main()
