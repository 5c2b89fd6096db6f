# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map reencode``: convert a map to other weights."""

from __future__ import annotations

import argparse
from typing import Any

from ..cameras import add_camera, camera_of, check_camera
from ..checks import require_map, require_new_map, require_there
from ..options import add_common, config_from, progress_bar, say_what_runs


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = ('Write a map with the same places for other --weights or another map.local_dtype, '
            'from the images it was built from if they still exist, else from its thumbnails.')
    parser = actions.add_parser('reencode', help='encode a map again', description=text)
    parser.add_argument('map', metavar='M.r2map')
    parser.add_argument('out', metavar='OUT.r2map')
    parser.add_argument('--look-in', metavar='DIR',
                        help='folder that holds the bags and picture folders, if they moved')
    add_camera(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Encode a map again."""
    config = config_from(arguments)
    check_camera(arguments)
    require_map(arguments.map)
    require_new_map(arguments.out)
    require_there(arguments.look_in, 'folder')
    from ...mapping.reencode import reencode_map
    from ...model.loading import load_configured

    model = load_configured(config)
    say_what_runs(model)
    with progress_bar('reencode') as bar:
        summary = reencode_map(model, arguments.map, arguments.out, config,
                               look_in=arguments.look_in, camera=camera_of(arguments)[0],
                               on_place=bar.update)
    print(f'{arguments.out}: {summary.from_source} places from source images, '
          f'{summary.from_thumbnail} from thumbnails, {summary.left_out} left out without either; '
          f'landmarks for {summary.landmarks}; not calibrated')
