# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map check``: find damage, and save what is intact."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..checks import require_map, require_new_map
from ..options import add_common, config_from, notify

if TYPE_CHECKING:
    from ...config import Config
    from ...maps.place_map import MapHeader


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = 'check a map for damage; exit with 1 if there is any'
    parser = actions.add_parser('check', help=text, description=text.capitalize() + '.')
    parser.add_argument('map', metavar='M.r2map')
    parser.add_argument('--repair', metavar='OUT.r2map',
                        help='copy what is intact into a new map and leave the damaged one as '
                             'it is. If its header is lost, name its weights with --weights')
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print every problem of a map, or copy what is intact."""
    from ...maps.place_map import PlaceMap

    config = config_from(arguments)
    require_map(arguments.map)
    if arguments.repair:
        require_new_map(arguments.repair)
        return _repair(arguments, config)
    with PlaceMap.open(arguments.map) as place_map:
        problems = list(place_map.problems())
        count = len(place_map)
    for line in problems:
        print(f'{arguments.map}: {line}')
    print(f'{arguments.map}: {count} places, {len(problems)} problems')
    return 1 if problems else 0


def _repair(arguments: argparse.Namespace, config: Config) -> int:
    from ...mapping.repair import repair_map

    def header() -> MapHeader:
        from ...mapping.build import map_header
        from ...model.loading import load_configured

        return map_header(load_configured(config), config)

    damaged, out = arguments.map, arguments.repair
    # The bundled weights would be a guess, so only named weights supply a header.
    repair = repair_map(damaged, out, notify, header if arguments.weights else None)
    print(f'{out}: {repair.kept} places kept')
    if repair.header_given:
        print(f'{damaged}: header lost and taken from weights and settings: '
              f'{", ".join(repair.header_given)}')
    for name, ids in (('places', repair.lost),
                      ('poses with stamp and source', repair.poses_lost),
                      ('thumbnails', repair.thumbnails_lost),
                      ('notes', repair.notes_lost)):
        if ids:
            print(f'{damaged}: {len(ids)} {name} lost: {", ".join(map(str, ids))}')
    if not repair.end_known:
        print(f'{damaged}: an unknown number of places after the last one kept may be lost')
    return 0 if repair.complete else 1
