# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map``: describe and check map files here; each of the other tools has a file."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

TOOLS = ('build', 'merge', 'prune', 'export', 'reencode', 'plot', 'calibrate')


def add_parser(commands: Any) -> None:
    """Register the subcommand and its own subcommands."""
    parser = commands.add_parser('map', help='build map files, look into them, change them')
    actions = parser.add_subparsers(required=True, metavar='ACTION')
    for name in TOOLS:
        import_module(f'.map_{name}', __package__).add_parser(actions)
    for name, run, text in (
        ('info', info, 'print what a map holds'),
        ('check', check, 'look through a map for damage; exit with 1 if there is any'),
    ):
        action = actions.add_parser(name, help=text, description=text.capitalize() + '.')
        action.add_argument('map', metavar='M.r2map')
        action.set_defaults(run=run)


def info(arguments: argparse.Namespace) -> None:
    """Print header and size of a map."""
    from ..calibration import describe_calibration
    from ..place_map import PlaceMap
    from ..sessions import origin_of, session_counts

    with PlaceMap.open(arguments.map) as place_map:
        header, places = place_map.header, place_map.places()
        counts, origin = session_counts(place_map), origin_of(place_map)
        calibrated = describe_calibration(place_map)
    size = Path(arguments.map).stat().st_size
    posed = sum(place.map_T_camera is not None for place in places.values())
    rows = {
        'places': f'{len(places)}, {posed} with a pose',
        'file': f'{size / 2**20:.1f} MiB, {size / max(len(places), 1) / 1024:.1f} KiB a place',
        'weights': f'{header.fingerprint} ({header.weights})'
                   + ('' if header.trained else ' [untrained weights]'),
        'descriptor': f'{header.descriptor_dim} float32',
        'local features': f'{header.local_dim} {header.local_dtype}',
        'frame': header.frame_id + (', zero at {:.7f} {:.7f}'.format(*origin) if origin else ''),
        'sessions': ', '.join(f'{name} ({count})' for name, count in counts.items()),
        'calibrated': calibrated,
    }
    for name, value in rows.items():
        print(f'{name:15s} {value}')


def check(arguments: argparse.Namespace) -> int:
    """Print every problem of a map."""
    from ..place_map import PlaceMap

    with PlaceMap.open(arguments.map) as place_map:
        problems = list(place_map.problems())
        count = len(place_map)
    for line in problems:
        print(f'{arguments.map}: {line}')
    print(f'{arguments.map}: {count} places, {len(problems)} problems')
    return 1 if problems else 0
