# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map info``: the content of a map, and the size of a larger one."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import MapError, UsageError
from ..checks import require_map, require_range
from ..options import add_common, config_from, notify, say_what_runs

if TYPE_CHECKING:
    from ...config import Config
    from ...maps.place_map import PlaceMap
    from ...model import Model


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = 'print the content of a map, or estimate the size of a larger one'
    parser = actions.add_parser('info', help=text, description=text.capitalize() + '.')
    parser.add_argument('map', metavar='M.r2map', nargs='?')
    parser.add_argument('--estimate', metavar='N', type=int,
                        help='estimate file size and memory for N places, from this map or, '
                             'without one, from weights and settings')
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print header and size of a map, or an estimate."""
    from ...maps.place_map import PlaceMap

    config = config_from(arguments)
    if arguments.map is None and arguments.estimate is None:
        raise UsageError('map info: give a map, or --estimate with a number of places')
    if arguments.estimate is not None:
        require_range('--estimate', arguments.estimate, at_least=1)
    if arguments.map:
        require_map(arguments.map)
    if not arguments.map:
        _estimate_without_map(config, arguments.estimate)
        return
    with PlaceMap.open(arguments.map) as place_map:
        _describe(place_map)
        if arguments.estimate:
            from ...model.loading import load_configured

            model = load_configured(config)
            say_what_runs(model)
            _estimate(model, place_map, config, arguments.estimate, of_weights=False)


def _describe(place_map: PlaceMap) -> None:
    from ...maps.calibration import describe_calibration
    from ...maps.sessions import origin_of, session_counts

    header, places, origin = place_map.header, place_map.places(), origin_of(place_map)
    sessions = session_counts(place_map).items()
    size = place_map.byte_size()
    rows = {
        'places': f'{len(places)}, {places.with_pose().sum()} with a pose' if len(places)
                  else '0: the map is empty (r2former map build --append adds places)',
        'file': f'{size / 2**20:.1f} MiB, {size / max(len(places), 1) / 1024:.1f} KiB per place',
        'weights': f'{header.fingerprint} ({header.weights})'
                   + ('' if header.trained else ' [untrained weights]'),
        'descriptor': f'{header.descriptor_dim} float32',
        'local features': f'{header.local_dim} {header.local_dtype}',
        'frame': header.frame_id + (', zero at {:.7f} {:.7f}'.format(*origin) if origin else ''),
        'sessions': ', '.join(f'{name} ({count})' for name, count in sessions),
        'calibrated': describe_calibration(place_map),
    }
    _print(rows)


def _estimate_without_map(config: Config, count: int) -> None:
    from ...mapping.size import map_of_noise
    from ...maps.place_map import PlaceMap
    from ...model.loading import load_configured

    model = load_configured(config)
    say_what_runs(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'noise.r2map'
        map_of_noise(model, path, config)
        with PlaceMap.open(path) as place_map:
            _estimate(model, place_map, config, count, of_weights=True)


def _estimate(
    model: Model, place_map: PlaceMap, config: Config, count: int, *, of_weights: bool
) -> None:
    """Print sizes, from the map's places or from the weights."""
    from ...mapping.size import PlaceSize, measured_peak

    size = PlaceSize.of_weights(model.spec, config) if of_weights else PlaceSize.of_map(place_map)
    if size is None:
        raise MapError(f'{place_map.location}: is empty', 'leave it out to estimate from weights')
    notify('recognizing a picture of noise to measure memory')
    peak, device, here = measured_peak(model, place_map, config), str(model.device), len(place_map)
    share = size.memory(here, config, device)
    total = peak - share + size.memory(count, config, device)
    basis = 'without thumbnails' if of_weights else 'as in this map'
    _print({
        f'{count} places': f'{_mib(size.file * count)} in the file, {size.file:.0f} B per place, '
                           f'{basis}',
        'memory': f'{_mib(total)}: {_mib(peak - share)} for program and network, '
                  f'{_mib(size.memory(count, config, device))} for places (at most '
                  f'{config.map.preload_mb} MiB of them preloaded features)',
        'measured': f'{_mib(peak)} at most in this process, after one picture on {here} '
                    'places, without ROS',
    })


def _mib(size: float) -> str:
    return f'{size / 2**20:,.0f} MiB'


def _print(rows: dict[str, str]) -> None:
    for name, value in rows.items():
        print(f'{name:15s} {value}')
