# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former evaluate``: figures of retrieval and reranking on a dataset."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from .common import add_common, config_from, progress, say_what_runs


def add_parser(commands: Any) -> None:
    """Register the subcommand."""
    parser = commands.add_parser(
        'evaluate', help='figures of retrieval and reranking on a dataset',
        description='Build a map of the database images, recognise the query images on it, and '
                    'print recall, AUC-PR and recall at 100 %% precision.',
    )
    parser.add_argument('--dataset', metavar='GT.json|DIR', required=True,
                        help='ground_truth.json, or a folder in the layout of VG or MSLS')
    parser.add_argument('--split', default='test', help='of a VG dataset (default: test)')
    parser.add_argument('--json', metavar='FILE', help='write all figures to a file')
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Evaluate and print a table."""
    from ..config import with_values
    from ..datasets import read_places
    from ..recognizer import load_configured

    config = with_values(config_from(arguments), {'map.thumbnail_width': 0})
    places = read_places(arguments.dataset, arguments.split)
    if not places.queries or not places.database:
        raise DatasetError(f'{arguments.dataset}: has no queries, or no database')
    model = load_configured(config)
    say_what_runs(model)
    result = _evaluate(model, places, config)
    _print(result)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(result, indent=2) + '\n')


def _evaluate(model: Any, places: Any, config: Any) -> dict[str, Any]:
    from ..evaluation.dataset import database_frames, measure, recognise_all
    from ..mapping import build_map

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'database.r2map'
        with progress(database_frames(places), 'database', len(places.database)) as frames:
            build_map(model, path, frames, config)
        with progress(places.queries, 'queries', len(places.queries)) as queries:
            recognitions = list(recognise_all(model, path, queries, config))
    return measure(recognitions, places, model, config)


def _print(result: dict[str, Any]) -> None:
    print(f'{result["queries"]} queries, {result["database"]} database images; '
          f'{result["protocol"]}')
    print(f'{"":14s}{"retrieval":>12s}{"reranked":>12s}')
    for name in result['retrieval']:
        figures = [result[stage][name] for stage in ('retrieval', 'rerank')]
        print(f'{name:14s}' + ''.join(f'{figure:12.3f}' for figure in figures))
    stages = ', '.join(f'{stage} {ms:.1f}' for stage, ms in result['latency_ms'].items())
    print(f'median latency [ms]: {stages}')
    if not result['weights']['trained']:
        print('untrained weights: these figures mean nothing')
