# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former evaluate``: how well places are recognised, on a dataset or in a bag."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ..checks import (
    require_output,
    require_output_folder,
    require_owner,
    require_range,
    require_rerun,
)
from ..options import add_common, add_rerun, config_from, say_left_out, say_what_runs, tracked
from . import ablate as evaluate_ablate
from . import compare as evaluate_compare
from .source import (
    Given,
    add_source,
    check_source,
    given_source,
    opened_trial,
    source_config,
    with_cache,
)

if TYPE_CHECKING:
    from ...config import Config
    from ...evaluation.outcomes import Outcome
    from ...evaluation.runner import Method
    from ...evaluation.trial import Trial
    from ...maps.place_map import PlaceMap
    from ...model import Model


def add_parser(commands: Any) -> None:
    """Register the subcommand."""
    parser = commands.add_parser(
        'evaluate', help='measure how well places are recognised',
        description='Localize the queries of a dataset, or the images of a bag, on a map, and '
                    'print recall, AUC-PR, recall at full precision, false accepts and latency.',
    )
    add_source(parser)
    parser.add_argument('--methods', default='retrieval,rerank', metavar='NAME,...',
                        help='methods to compare: retrieval and rerank (always run); ransac, on '
                             'the same features and candidates; hog, sad and vlad, on the images')
    parser.add_argument('--out', metavar='DIR',
                        help='write report.html, report.json, CSV and trajectories there')
    parser.add_argument('--json', metavar='FILE', help='write all results to a file')
    add_rerun(parser)
    parser.add_argument('--live', action='store_true',
                        help='play the bag to the live node instead, in a separate process')
    parser.add_argument('--rate', type=float, help='replay speed with --live (default: 1)')
    add_common(parser)
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(metavar='ACTION')
    evaluate_compare.add_parser(actions)
    evaluate_ablate.add_parser(actions)


def run(arguments: argparse.Namespace) -> None:
    """Evaluate, print a table and write what was asked for."""
    config = source_config(arguments, config_from(arguments))
    check_live(arguments)
    check_source(arguments)
    require_output(arguments.json)
    require_rerun(arguments.rerun)
    require_output_folder(arguments.out)
    from ...evaluation.methods.registry import parse_methods
    from ...evaluation.report.recording import record_trial
    from ...evaluation.report.result import result_of, write_result
    from ...model.loading import load_configured, wait_for_kernels

    parse_methods(arguments.methods)
    given = given_source(arguments)
    model = with_cache(arguments, load_configured(config))
    say_what_runs(model)
    wait_for_kernels(model)
    with stoppable(arguments.cache), opened_trial(arguments, given, model, config) as trial:
        outcomes, live = answers(arguments, given, trial, model, config)
        say_left_out(trial.left_out)
        result = {**result_of(trial, outcomes, model, config, _command()), **live}
        print_result(result)
        if arguments.json:
            write_result(Path(arguments.json), result)
        if arguments.rerun:
            record_trial(arguments.rerun, trial, outcomes, model, config.decision.min_score)
            print(f'recording: {arguments.rerun}')
        if arguments.out:
            write_report(Path(arguments.out), trial, outcomes, result, model, config)


def answers(
    arguments: argparse.Namespace, given: Given, trial: Trial, model: Model, config: Config
) -> tuple[list[Outcome], dict[str, Any]]:
    """Ask every query, offline or through the node; it adds counts and latency of its own."""
    if not arguments.live:
        return ask(arguments, trial, model, config), {}
    from .live import live_outcomes

    return live_outcomes(arguments, given, trial, model, config)


def ask(
    arguments: argparse.Namespace, trial: Trial, model: Model, config: Config
) -> list[Outcome]:
    """Ask every query, by every method."""
    from ...evaluation.methods.registry import make_methods, parse_methods
    from ...evaluation.trial import run_trial

    names = parse_methods(arguments.methods)

    def prepare(place_map: PlaceMap) -> list[Method]:
        return make_methods(names, place_map, model)

    return run_trial(trial, model, config, make_methods=prepare, shown=tracked)


@contextmanager
def stoppable(cache: str | None) -> Iterator[None]:
    """Say after Ctrl-C how to resume."""
    try:
        yield
    except KeyboardInterrupt:
        remedy = 'repeat the command to resume' if cache else 'with --cache it could resume'
        print(f'stopped: {remedy}', file=sys.stderr)
        raise


def check_live(arguments: argparse.Namespace) -> None:
    """
    Refuse what the live node cannot do.

    :raises UsageError: naming the option.
    """
    require_owner(arguments, 'live', ('rate',))
    if not arguments.live:
        return
    if not arguments.bag or not arguments.map:
        raise UsageError('--live needs --bag and --map')
    if set(arguments.methods.split(',')) - {'retrieval', 'rerank'}:
        raise UsageError('--live knows retrieval and rerank only', 'leave --methods out')
    if arguments.negatives:
        raise UsageError('--negatives does not go with --live', 'evaluate them without it')
    if arguments.cache:
        raise UsageError('--cache does not go with --live: the node does not use it')
    arguments.rate = 1.0 if arguments.rate is None else arguments.rate
    require_range('--rate', arguments.rate, above=0)


def write_report(
    out: Path, trial: Trial, outcomes: list[Outcome], result: dict[str, Any],
    model: Model, config: Config,
) -> None:
    """Write the page, the results, and the formats that other tools read."""
    from ...evaluation.report import exports
    from ...evaluation.report.page import trial_report
    from ...evaluation.report.result import write_result

    places = trial.places()
    write_result(out / 'report.json', result)
    exports.write_tables(out, result)
    exports.write_predictions(out / 'preds', outcomes, places)
    if trial.in_order:
        exports.write_trajectories(out, outcomes, places, config.decision.min_score)
    elif not exports.write_msls(out / 'msls_predictions.csv', outcomes, places):
        print('msls_predictions.csv: not written, because names of pictures are not unique keys',
              file=sys.stderr)
    page = trial_report(trial, outcomes, result, model, config)
    (out / 'report.html').write_text(page, encoding='utf-8', errors='backslashreplace')
    print(f'report: {out / "report.html"}')


def print_result(result: dict[str, Any]) -> None:
    """Print the question, the table of measures, and the cost."""
    from ...evaluation.pose_errors import lines
    from ...evaluation.report.tables import memory_owner, number, table_rows

    print(f'{result["source"]}: {result["queries"]} queries, {result["database"]} database '
          f'images; {result["protocol"]}')
    print(f'without a right place: {result["outside"]} queries, {result["negatives"]} of them '
          f'given as negatives; left out: {result["left_out"]} images')
    head, *rows = table_rows(result)
    for row in [['', *head[1:]], *rows]:
        print(f'{row[0]:20s}' + ''.join(f'{cell:>12s}' for cell in row[1:]))
    decision = ', '.join(f'{name} {number(value, 2)}'
                         for name, value in result['decision'].items() if value is not None)
    print(f'reranked score as decision: {decision}')
    for line in lines(result.get('pose_errors', {})):
        print(line)
    for name in ('states', 'live'):
        if result.get(name):
            print(f'{name}: ' + ', '.join(f'{key} {n:g}' for key, n in result[name].items()))
    stages = ', '.join(
        f'{stage} {number(ms, 1)} ({number(result["latency_p95_ms"].get(stage), 1)})'
        for stage, ms in result['latency_ms'].items()
    )
    print(f'latency, median (p95) [ms]: {stages}')
    print(f'{memory_owner(result)}, peak: {result["memory_mb"]:.0f} MiB; map: '
          f'{result["map_bytes_per_place"] / 1024:.1f} KiB per place')
    if not result['weights']['trained']:
        print('untrained weights: these figures mean nothing')


def _command() -> str:
    """Return the command line as it was entered."""
    return 'r2former ' + shlex.join(sys.argv[1:])
