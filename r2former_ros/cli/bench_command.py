# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former bench``: time each stage of a query on this machine."""

from __future__ import annotations

import argparse
import resource
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..config import ModelConfig
from .checks import require_output, require_range
from .options import add_common, config_from, make_folder

if TYPE_CHECKING:
    from ..evaluation.speed import Row, Stage

HEAD = f'{"stage":32s}{"variant":32s}{"median ms":>11s}{"p95 ms":>10s}{"times faster":>14s}'


def add_parser(commands: Any) -> None:
    """Register the subcommand."""
    parser = commands.add_parser(
        'bench', help='time every stage of a query on this machine',
        description='Time every stage of a query, alternating between the plain float32 path '
                    'and the fast ones, then exact search and the decision for growing maps. '
                    'Compare the ratios. Only weights, device and input size are used of the '
                    'settings.',
    )
    parser.add_argument('several', metavar='WEIGHTS', nargs='*',
                        help='weights to time in turn (default: model.weights)')
    parser.add_argument('--places', type=int, default=10_000,
                        help='places in the map of the whole query (default %(default)s)')
    parser.add_argument('--largest', type=int, default=1_000_000,
                        help='most places to search and decide in (default %(default)s)')
    parser.add_argument('--repeats', type=int, default=7, help='(default %(default)s)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the results to a file')
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run all stages; print each as soon as it is timed."""
    settings = config_from(arguments).model
    for name in ('places', 'largest', 'repeats'):
        require_range(f'--{name}', getattr(arguments, name), at_least=1)
    if arguments.json:
        make_folder(arguments.json.parent)
        require_output(arguments.json)
    from ..evaluation.report.result import write_result
    from ..evaluation.speed import decide_stages, machine, search_stages

    result: dict[str, Any] = {'machine': machine(settings.device), 'weights': {}}
    print(', '.join(f'{name} {value}' for name, value in result['machine'].items()))
    for weights in arguments.several or [settings.weights]:
        print(f'\n{weights}\n{HEAD}')
        result['weights'][weights] = bench(replace(settings, weights=weights), arguments)
    print(f'\nexact search and decision\n{HEAD}')
    result['search'] = printed(search_stages(arguments.largest), arguments.repeats)
    result['decide'] = printed(decide_stages(arguments.largest), arguments.repeats)
    result['peak_mib'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f'\npeak memory of this run: {result["peak_mib"]:.0f} MiB')
    if arguments.json:
        write_result(arguments.json, result)


def bench(settings: ModelConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time the stages with some weights, and measure the memory of reranking on the CPU."""
    from ..evaluation.speed import rerank_memory_mib, stages

    with TemporaryDirectory() as folder:
        rows = printed(stages(settings, arguments.places, Path(folder)), arguments.repeats)
    memory_mib = rerank_memory_mib(settings)
    print('memory that reranking 100 adds on the CPU [MiB]: ',
          ', '.join(f'{backend} {mib:.0f}' for backend, mib in memory_mib.items()))
    return {'stages': rows, 'rerank_100_memory_mib': memory_mib}


def printed(stages: Iterable[Stage], repeats: int) -> list[Row]:
    """Time stages, and print the rows of each."""
    from ..evaluation.speed import measured

    rows = []
    for title, variants in stages:
        for row in measured(title, variants, repeats):
            print(f'{row["stage"]:32s}{row["variant"]:32s}{row["median_ms"]:11.2f}'
                  f'{row["p95_ms"]:10.2f}{row["times_faster"]:14.2f}', flush=True)
            rows.append(row)
    return rows
