# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map merge``: several maps become one."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = 'Write the places of several maps into a new one; sessions keep apart.'
    parser = actions.add_parser('merge', help='join maps', description=text)
    parser.add_argument('out', metavar='OUT.r2map')
    parser.add_argument('maps', metavar='M.r2map', nargs='+')
    parser.add_argument('--transform', metavar='CSV',
                        help='file, x_m, y_m, yaw_rad (and z_m): where the zero of a map lies in '
                        'the new one; maps that are not listed keep their poses')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Merge maps."""
    from ...geometry.trajectories import read_image_poses
    from ...mapping.merge import merge_maps

    listed = read_image_poses(arguments.transform) if arguments.transform else {}
    transforms = {name: one.pose for name, one in listed.items()}
    counts = merge_maps(arguments.out, arguments.maps, transforms)
    for path, count in counts.items():
        print(f'{path}: {count} places')
    print(f'{arguments.out}: {sum(counts.values())} places, not calibrated')
