# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former demo``: a synthetic town, two laps as bags, a map, the live node, a report."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import UsageError
from .checks import require_range
from .options import add_common, config_from, make_folder, progress_bar, say_what_runs


def add_parser(commands: Any) -> None:
    """Register the subcommand."""
    parser = commands.add_parser(
        'demo', help='watch a camera localize itself in a synthetic town',
        description='Drive two laps through a synthetic town, map the first, replay the second '
                    'through the live ROS 2 node, and write a report with pictures.',
    )
    parser.add_argument('--out', metavar='DIR', default='demo_out', help='(default: demo_out)')
    parser.add_argument('--frames', type=int, default=80, help='images per lap (default: 80)')
    parser.add_argument('--rate', type=float, default=1.0, help='replay speed (default: 1)')
    parser.add_argument('--seed', type=int, default=0, help='selects the town (default: 0)')
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the demo and print its table."""
    config = config_from(arguments)
    require_range('--frames', arguments.frames, at_least=2)
    require_range('--rate', arguments.rate, above=0)
    _require_rclpy()
    from ..demo.run import Paths, clear, run_demo
    from ..demo.town import Town
    from ..model.loading import load_configured

    paths = Paths(make_folder(arguments.out))
    clear(paths)
    model = load_configured(config)
    say_what_runs(model)
    rows = run_demo(model, config, paths, Town(arguments.seed), frames=arguments.frames,
                    rate=arguments.rate, open_bar=progress_bar)
    for name, retrieval, rerank in rows:
        print(f'{name:20s} {retrieval:12s} {rerank}'.rstrip())
    if not model.origin.trained:
        print('untrained weights: these figures mean nothing')
    print(f'report: {paths.report}')


def _require_rclpy() -> None:
    try:
        import rclpy  # noqa: F401
    except ImportError:
        raise UsageError('demo needs rclpy for the live node',
                         'source your ROS 2 installation, or use make demo') from None
