# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map plot``: the places on a plan."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..checks import require_map, require_output


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = 'Draw the places on a plan, coloured by session, with their headings.'
    parser = actions.add_parser('plot', help='draw a plan of the places', description=text)
    parser.add_argument('map', metavar='M.r2map')
    parser.add_argument('out', metavar='OUT.png', help='.png, .svg or .pdf')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Plot a map."""
    require_map(arguments.map)
    require_output(arguments.out)
    from ...mapping.plot import plot_map
    from ...maps.place_map import PlaceMap

    with PlaceMap.open(arguments.map) as place_map:
        count = plot_map(place_map, arguments.out, Path(arguments.map).name)
    print(f'{arguments.out}: {count} places')
