# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former play``: publish a bag through rclpy, with /clock."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import UsageError
from .checks import require_range, require_there


def add_parser(commands: Any) -> None:
    """Register the subcommand."""
    parser = commands.add_parser(
        'play', help='publish a bag through rclpy, with /clock',
        description='Publish the messages of a ROS 2 bag at the pace they were recorded, with '
                    '/clock, where ros2 bag play is not installed.',
    )
    parser.add_argument('bag', metavar='BAG')
    parser.add_argument('--rate', type=float, default=1.0, help='speed (default: 1)')
    parser.add_argument('--loop', action='store_true', help='begin again at the end')
    parser.add_argument('--topics', metavar='T', nargs='+',
                        help='play these topics only (default: all whose type is installed)')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Play once, or until interrupted."""
    require_range('--rate', arguments.rate, above=0)
    require_there(arguments.bag, 'bag')
    rclpy = _import_rclpy()
    from rclpy.node import Node
    from rclpy.signals import SignalHandlerOptions

    from ..ros.replay.player import Player

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # ctrl-C reaches Python
    node = Node('r2former_player')
    try:
        player = Player(node, arguments.bag, arguments.topics)
        while True:
            count = player.play(arguments.rate)
            print(f'{count} messages played from {arguments.bag}', flush=True)
            if not arguments.loop:
                break
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _import_rclpy() -> Any:
    try:
        import rclpy
    except ImportError as error:
        raise UsageError('play needs rclpy', 'source your ROS 2 installation first') from error
    return rclpy
