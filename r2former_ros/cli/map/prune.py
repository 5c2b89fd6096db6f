# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map prune``: make a map with fewer places."""

from __future__ import annotations

import argparse
from typing import Any

from ...errors import UsageError
from ..checks import require_map, require_new_map, require_range
from ..options import compact_ids

MOST_IDS = 10_000_000


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = 'Write a new map without some places; the original is not changed.'
    parser = actions.add_parser('prune', help='drop places', description=text)
    parser.add_argument('map', metavar='M.r2map')
    parser.add_argument('out', metavar='OUT.r2map')
    parser.add_argument('--distance', type=float, metavar='M',
                        help='drop places closer than this to an earlier one that is kept')
    parser.add_argument('--angle', type=float, metavar='DEG',
                        help='with --distance: only if their headings differ by at most this '
                             '(default: 180, any)')
    parser.add_argument('--ids', metavar='LIST', help='drop these, as in 3,10-20')
    parser.add_argument('--session', action='append', default=[], metavar='NAME',
                        help='drop this session; map info lists them')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Prune a map."""
    from ...mapping.prune import prune_map

    ids = listed_ids(arguments.ids) if arguments.ids else set()
    _check(arguments)
    dropped = prune_map(
        arguments.map, arguments.out, distance_m=arguments.distance or 0.0,
        within_deg=180.0 if arguments.angle is None else arguments.angle,
        place_ids=ids, sessions=arguments.session,
    )
    for reason, gone in dropped.items():
        if gone:
            print(f'dropped, {reason}: {len(gone)} ({compact_ids(gone)})')
    print(f'{arguments.out}: without {sum(map(len, dropped.values()))} places, renumbered, '
          'not calibrated')


def _check(arguments: argparse.Namespace) -> None:
    if not (arguments.distance or arguments.ids or arguments.session):
        raise UsageError('map prune: give --distance, --ids or --session to say what to drop')
    if arguments.distance is not None:
        require_range('--distance', arguments.distance, above=0)
    if arguments.angle is not None:
        if arguments.distance is None:
            raise UsageError('--angle belongs to --distance')
        require_range('--angle', arguments.angle, at_least=0, at_most=180)
    require_map(arguments.map)
    require_new_map(arguments.out)


def listed_ids(text: str) -> set[int]:
    """
    Read ids and ranges of ids, as in 3,10-20.

    :raises UsageError: for anything else, a range that runs backwards included.
    """
    ids: set[int] = set()
    for part in text.split(','):
        first, dash, last = part.strip().partition('-')
        try:
            bounds = int(first), int(last if dash else first)
        except ValueError:
            raise UsageError(f'--ids {text}: {part!r} is not an id or a range such as 10-20') \
                from None
        if bounds[0] > bounds[1]:
            raise UsageError(f'--ids {text}: {part!r} runs backwards',
                             f'write {bounds[1]}-{bounds[0]}')
        if bounds[1] - bounds[0] >= MOST_IDS:
            raise UsageError(f'--ids {text}: {part!r} names more than {MOST_IDS:,} places')
        ids.update(range(bounds[0], bounds[1] + 1))
    return ids
