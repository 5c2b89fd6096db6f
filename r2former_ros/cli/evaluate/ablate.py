# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former evaluate ablate``: what each part of the network contributes."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError, WeightsError
from ..checks import require_output
from ..options import add_common, config_from, say_what_runs, tracked
from .source import Given, add_source, check_source, given_source, opened_trial, source_config

if TYPE_CHECKING:
    from ...config import Config
    from ...evaluation.ablation import Variant
    from ...model import Model


def add_parser(actions: Any) -> None:
    """Register the action."""
    parser = actions.add_parser(
        'ablate', help='measure what each part of the network contributes',
        description='Remove parts of the network, one at a time, with the same weights, and '
                    'print recall@1 next to the paper, which retrained each variant.',
    )
    add_source(parser)
    parser.add_argument('--json', metavar='FILE', help='write all results to a file')
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Evaluate every variant and print the table."""
    config = source_config(arguments, config_from(arguments))
    if arguments.map:
        raise UsageError('ablate builds its maps itself: give --dataset, or --bag and --self')
    check_source(arguments)
    require_output(arguments.json)
    from ...evaluation.ablation import variants, with_all_patches
    from ...model.loading import load_configured, wait_for_kernels

    given = given_source(arguments)
    model = load_configured(config)
    say_what_runs(model)
    wait_for_kernels(model)
    if not model.origin.reranker_trained and model.origin.trained:
        raise WeightsError('ablate needs weights whose reranker is trained')
    results: dict[str, Any] = {}
    _print_row('', 'retrieval', 'reranked', 'paper, MSLS val')
    with tempfile.TemporaryDirectory() as folder:
        encoder = with_all_patches(model, Path(arguments.cache or folder))
        for variant in variants(model.spec.num_local, config.rerank.effective.candidates):
            results[variant.name] = _measured(arguments, given, encoder, variant, config)
            published = '' if variant.published is None else f'{variant.published / 100:.3f}'
            recalls = (results[variant.name][stage]['recall@1']
                       for stage in ('retrieval', 'rerank'))
            _print_row(variant.name, *(f'{recall:.3f}' for recall in recalls), published)
    print('recall@1 with the same weights and a part removed; the paper retrained each variant')
    if arguments.json:
        from ...evaluation.report.result import write_result

        write_result(Path(arguments.json), results)


def _measured(
    arguments: argparse.Namespace, given: Given, encoder: Model, variant: Variant,
    config: Config,
) -> dict[str, Any]:
    from ...config import with_values
    from ...evaluation.ablation import ablated
    from ...evaluation.report.result import result_of
    from ...evaluation.trial import run_trial

    if variant.candidates:
        config = with_values(config, {'rerank.candidates': variant.candidates,
                                      'rerank.profile': 'custom'})
    model = ablated(encoder, variant, config.model)
    with opened_trial(arguments, given, model, config) as trial:
        outcomes = run_trial(trial, model, config, make_methods=lambda _: (), shown=tracked)
        return result_of(trial, outcomes, model, config, f'ablate: {variant.name}')


def _print_row(*cells: str) -> None:
    name, *figures = cells
    print(f'{name:22s}' + ''.join(f'{cell:>16s}' for cell in figures), flush=True)
