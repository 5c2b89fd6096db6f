# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map merge``: join several maps into one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ..checks import require_map, require_new_map, require_there


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = 'Write the places of several maps into a new one; sessions stay separate.'
    parser = actions.add_parser('merge', help='join maps', description=text)
    parser.add_argument('out', metavar='OUT.r2map')
    parser.add_argument('maps', metavar='M.r2map', nargs='+')
    parser.add_argument('--transform', metavar='CSV',
                        help='file, x_m, y_m, yaw_rad (and z_m): the origin of a map in the new '
                             'one; maps that are not listed keep their poses')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Merge maps."""
    from ...mapping.merge import merge_maps
    from ...sources.trajectory_files import read_image_poses

    _check(arguments)
    listed = read_image_poses(arguments.transform) if arguments.transform else {}
    transforms = {name: one.pose for name, one in listed.items()}
    counts = merge_maps(arguments.out, arguments.maps, transforms)
    for path, count in counts.items():
        print(f'{path}: {count} places')
    print(f'{arguments.out}: {sum(counts.values())} places, not calibrated')


def _check(arguments: argparse.Namespace) -> None:
    if len(arguments.maps) < 2:
        raise UsageError('map merge: give at least two maps')
    real = [Path(one).resolve() for one in arguments.maps]
    twice = [name for name, path in zip(arguments.maps, real, strict=True)
             if real.count(path) > 1]
    if twice:
        raise UsageError(f'{twice[0]}: is named twice, which would double its places')
    for path in arguments.maps:
        require_map(path)
    require_there(arguments.transform, 'file')
    require_new_map(arguments.out)
