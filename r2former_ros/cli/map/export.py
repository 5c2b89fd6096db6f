# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map export``: places for other programs."""

from __future__ import annotations

import argparse
from typing import Any

from ..checks import require_map, require_output, require_output_folder


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = ('Write the places that have poses as TUM, which needs stamps (t_s or stamp_ns in the '
            'CSV of map build --poses), as COLMAP and hloc files, or as GeoJSON.')
    parser = actions.add_parser('export', help='write places as text', description=text)
    parser.add_argument('map', metavar='M.r2map')
    parser.add_argument('out', metavar='OUT', help='a file; for colmap a folder')
    parser.add_argument('--format', choices=('tum', 'colmap', 'geojson'), required=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Export a map."""
    require_map(arguments.map)
    if arguments.format == 'colmap':
        require_output_folder(arguments.out)
    else:
        require_output(arguments.out)
    from ...mapping.export import export_colmap, export_geojson, export_tum
    from ...maps.place_map import PlaceMap

    writers = {'tum': export_tum, 'colmap': export_colmap, 'geojson': export_geojson}
    with PlaceMap.open(arguments.map) as place_map:
        count = writers[arguments.format](place_map, arguments.out)
        left_out = len(place_map) - count
    print(f'{arguments.out}: {count} places, {left_out} without a pose left out')
