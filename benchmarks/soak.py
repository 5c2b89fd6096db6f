# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Play images at 30 Hz to the live node for minutes, and see that nothing grows or gets lost.

    python benchmarks/soak.py --minutes 30

Images and map are made of random blocks; the network is the untrained ``tiny``: what is tried is
the node, not the recognition.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sensor_msgs.msg import Image as ImageMessage

from r2former_ros.config import Config, with_values
from r2former_ros.geometry import pose_from_yaw
from r2former_ros.mapping import PosedFrame, build_map
from r2former_ros.recognizer import load_configured
from r2former_ros.records import Frame, Image
from r2former_ros.ros.conversions import header_from
from r2former_ros.ros.live import LiveNode, own_domain

TOPIC = '/camera/image_raw'
RATE_HZ = 30.0
HEIGHT, WIDTH = 480, 640
PLACES = 50
WARM_UP_SHARE = 0.2
SETTINGS = {
    'model.weights': 'tiny', 'model.device': 'cpu', 'model.image_height': 64,
    'model.image_width': 96, 'node.diagnostics_period_s': 0.5,
}


@dataclass
class Soak:
    """What was measured: memory and total latency of the node, over time."""

    played: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    memory_mb: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)

    @property
    def adds_up(self) -> bool:
        """Whether every image received was used, dropped or bad."""
        done = sum(self.counts[name] for name in ('used', 'dropped', 'bad'))
        return self.counts['received'] == done

    def growth_mb(self) -> float:
        """Return the memory at the end beyond the largest at the end of the warm-up."""
        warm = max(1, round(len(self.memory_mb) * WARM_UP_SHARE))
        return self.memory_mb[-1] - max(self.memory_mb[:warm])

    def lines(self) -> list[str]:
        """Say it for a person."""
        counts = ', '.join(f'{name} {count}' for name, count in self.counts.items())
        warm = max(1, round(len(self.memory_mb) * WARM_UP_SHARE))
        verdict = 'add up' if self.adds_up else 'DO NOT add up'
        lines = [f'played {self.played}, {counts}: {verdict}',
                 f'memory {max(self.memory_mb[:warm]):.1f} MB warmed up, '
                 f'{self.memory_mb[-1]:.1f} MB at the end']
        for number, third in enumerate(np.array_split(self.latency_ms, 3), 1):
            p50, p95 = np.percentile(third, [50, 95])
            lines.append(f'latency of a median image, third {number}: '
                         f'p50 {p50:.1f} ms, p95 {p95:.1f} ms')
        return lines


def picture(seed: int) -> Image:
    """Make a picture of coloured blocks, uint8 (HEIGHT, WIDTH, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 40, WIDTH // 40, 3), np.uint8)
    return blocks.repeat(40, axis=0).repeat(40, axis=1)


def soak(minutes: float, folder: Path) -> Soak:
    """Play for a while and return what was measured."""
    config = with_values(Config(), {**SETTINGS, 'map.path': str(folder / 'soak.r2map')})
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
    """Publish at the rate of a camera, and note memory and latency once a second."""
    result = Soak()
    publisher = live.node.create_publisher(ImageMessage, TOPIC, 10)
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    start = time.monotonic()
    for number in range(round(minutes * 60 * RATE_HZ)):
        message = messages[number % len(messages)]
        message.header = header_from(10**9 + round(number / RATE_HZ * 1e9), 'camera')
        publisher.publish(message)
        result.played += 1
        if number % round(RATE_HZ) == 0:
            result.memory_mb.append(live.memory_mb())
            result.latency_ms.append(sum(live.run.latency_ms.values()))
        time.sleep(max(0.0, start + (number + 1) / RATE_HZ - time.monotonic()))
    result.memory_mb.append(live.memory_mb())
    result.latency_ms = [one for one in result.latency_ms if np.isfinite(one)]
    return result


def message_of(image: Image) -> ImageMessage:
    """Return a picture as a message."""
    return ImageMessage(height=HEIGHT, width=WIDTH, encoding='rgb8', step=3 * WIDTH,
                        data=image.tobytes())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--minutes', type=float, default=30.0)
    with tempfile.TemporaryDirectory() as folder:
        result = soak(parser.parse_args().minutes, Path(folder))
    print('\n'.join(result.lines()))


if __name__ == '__main__':
    main()
