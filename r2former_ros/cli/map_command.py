# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map``: build, describe and check map files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BagError
from .common import add_common, config_from, notify, progress, say_what_runs
from .map_info import add_info

if TYPE_CHECKING:
    from ..mapping import PosedFrame


def add_parser(commands: Any) -> None:
    """Register the subcommand and its own subcommands."""
    parser = commands.add_parser('map', help='build, describe and check map files')
    actions = parser.add_subparsers(required=True, metavar='ACTION')
    _add_build(actions)
    add_info(actions)
    text = 'look through a map for damage; exit with 1 if there is any'
    action = actions.add_parser('check', help=text, description=text.capitalize() + '.')
    action.add_argument('map', metavar='M.r2map')
    action.add_argument('--repair', metavar='OUT.r2map',
                        help='copy what is intact into a fresh map; the damaged one stays')
    action.set_defaults(run=check)


def build(arguments: argparse.Namespace) -> None:
    """Build a map, or append to one."""
    from ..mapping import append_to_map, build_map
    from ..recognizer import load_configured

    config = config_from(arguments)
    bad: list[str] = []
    with ExitStack() as stack:
        frames, total = _frames(arguments, stack, bad.append)
        model = load_configured(config)
        say_what_runs(model)
        make = append_to_map if arguments.append else build_map
        with progress(frames, 'map', total) as shown:
            summary = make(model, arguments.out, shown, config)
    for line in bad[:10]:
        print(f'left out: {line}', file=sys.stderr)
    size_mb = Path(arguments.out).stat().st_size / 2**20
    note = '' if model.origin.trained else ' [untrained weights]'
    print(f'{arguments.out}: {summary.added} places added, {summary.between} frames between '
          f'keyframes, {summary.bad + len(bad)} left out, {size_mb:.1f} MiB{note}')


def check(arguments: argparse.Namespace) -> int:
    """Print every problem of a map, or copy what is intact."""
    from ..place_map import PlaceMap

    if arguments.repair:
        return _repair(arguments.map, arguments.repair)
    with PlaceMap.open(arguments.map) as place_map:
        problems = list(place_map.problems())
        count = len(place_map)
    for line in problems:
        print(f'{arguments.map}: {line}')
    print(f'{arguments.map}: {count} places, {len(problems)} problems')
    return 1 if problems else 0


def _repair(damaged: str, out: str) -> int:
    from ..map_repair import repair_map

    repair = repair_map(damaged, out, notify)
    print(f'{out}: {repair.kept} places kept')
    for name, ids in (('places', repair.lost), ('thumbnails', repair.thumbnails_lost)):
        if ids:
            print(f'{damaged}: {len(ids)} {name} lost: {", ".join(map(str, ids))}')
    if not repair.end_known:
        print(f'{damaged}: places may be lost after the last one kept; nobody can tell how many')
    return 0 if repair.complete else 1


def _add_build(actions: Any) -> None:
    text = 'Build a map from a bag, or from a folder of pictures with or without poses.'
    parser = actions.add_parser('build', help='build a map', description=text)
    parser.add_argument('out', metavar='OUT.r2map')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--bag', help='a ROS 2 bag, sqlite3 or mcap')
    source.add_argument('--images', metavar='DIR', help='a folder of pictures')
    parser.add_argument('--image-topic', metavar='T', help='needed if the bag has several')
    parser.add_argument('--pose-topic', metavar='T',
                        help='Odometry, PoseStamped, PoseWithCovarianceStamped or NavSatFix')
    parser.add_argument('--trajectory', metavar='F', help='TUM, KITTI or CSV file with poses')
    parser.add_argument('--poses', metavar='CSV',
                        help='for --images: file, x_m, y_m, yaw_rad (and z_m, t_s or stamp_ns)')
    parser.add_argument('--append', action='store_true', help='add to an existing map')
    add_common(parser)
    parser.set_defaults(run=build)


def _frames(
    arguments: argparse.Namespace, stack: ExitStack, on_bad: Callable[[str], None]
) -> tuple[Iterator[PosedFrame], int]:
    """Open the source of frames and count them."""
    from ..frame_sources import (
        count_pictures,
        frames_of_bag,
        frames_of_folder,
        trajectory_of,
    )

    if arguments.images:
        total = count_pictures(arguments.images, arguments.poses)
        return frames_of_folder(arguments.images, arguments.poses, on_bad), total
    if arguments.poses:
        raise BagError('--poses belongs to --images; for a bag give --pose-topic or --trajectory')
    from ..bags import Bag

    bag = stack.enter_context(Bag(arguments.bag))
    topic = arguments.image_topic or bag.default_image_topic()
    trajectory = trajectory_of(bag, arguments.pose_topic, arguments.trajectory)
    return frames_of_bag(bag, topic, trajectory, on_bad), bag.image_count(topic)
