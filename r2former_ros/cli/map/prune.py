# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map prune``: a map with fewer places."""

from __future__ import annotations

import argparse
from typing import Any

from ...errors import MapError
from ..options import compact_ids


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = 'Write a new map without some places; the map itself is not changed.'
    parser = actions.add_parser('prune', help='drop places', description=text)
    parser.add_argument('map', metavar='M.r2map')
    parser.add_argument('out', metavar='OUT.r2map')
    parser.add_argument('--distance', type=float, default=0.0, metavar='M',
                        help='drop places nearer than this to an earlier one that stays')
    parser.add_argument('--angle', type=float, default=180.0, metavar='DEG',
                        help='with --distance: only if their headings differ by at most this')
    parser.add_argument('--ids', default='', metavar='LIST', help='drop these, as in 3,10-20')
    parser.add_argument('--session', action='append', default=[], metavar='NAME',
                        help='drop this session; map info lists them')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Prune a map."""
    from ...mapping.prune import prune_map

    if arguments.distance < 0 or not 0 <= arguments.angle <= 180:
        raise MapError(f'--distance {arguments.distance:g} --angle {arguments.angle:g}: must be '
                       'at least 0, and within 0 to 180')
    if not (arguments.distance or arguments.ids or arguments.session):
        raise MapError('map prune: say what to drop: --distance, --ids or --session')
    dropped = prune_map(
        arguments.map, arguments.out, distance_m=arguments.distance, within_deg=arguments.angle,
        place_ids=listed_ids(arguments.ids), sessions=arguments.session,
    )
    for reason, ids in dropped.items():
        if ids:
            print(f'dropped, {reason}: {len(ids)} ({compact_ids(ids)})')
    print(f'{arguments.out}: without {sum(map(len, dropped.values()))} places, numbered anew, '
          'not calibrated')


def listed_ids(text: str) -> set[int]:
    """Read ids and ranges of ids, as in 3,10-20."""
    ids: set[int] = set()
    for part in filter(None, text.split(',')):
        first, _, last = part.partition('-')
        try:
            ids.update(range(int(first), int(last or first) + 1))
        except ValueError:
            raise MapError(f'--ids {text}: {part!r} is no id or range, as in 3,10-20') from None
    return ids
