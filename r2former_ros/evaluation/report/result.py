# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the JSON of ``r2former evaluate`` holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ... import __version__
from ...common.files import reason, replacing
from ...config import Config, to_dict
from ...errors import DatasetError
from ...model import Model
from ...records import Place
from ..measures import (
    decision_measures,
    latency_percentiles,
    method_measures,
    peak_memory_mb,
    recall_intervals,
    state_counts,
)
from ..outcomes import RERANK, RETRIEVAL, STORED_PLACES, Outcome, outside, to_json
from ..pose_errors import pose_errors
from ..speed import machine
from ..trial import Trial


def result_of(
    trial: Trial, outcomes: Sequence[Outcome], model: Model, config: Config, command: str
) -> dict[str, Any]:
    """
    Measure a trial.

    ``retrieval`` and ``rerank`` are at the top level and, like every other method, in ``methods``.
    """
    places = trial.places()
    methods = {name: method_measures(outcomes, name) for name in outcomes[0].rankings}
    return dict(finite({
        'source': trial.title,
        RETRIEVAL: methods[RETRIEVAL],
        RERANK: methods[RERANK],
        'methods': methods,
        'recall_intervals': {name: recall_intervals(outcomes, name) for name in methods},
        'decision': decision_measures(outcomes, places, config.decision.min_score),
        'states': state_counts(outcomes) if trial.in_order else {},
        'pose_errors': pose_errors(outcomes, places),
        'queries': sum(not one.query.negative for one in outcomes),
        'outside': len(outside(outcomes)),
        'negatives': sum(one.query.negative for one in outcomes),
        'left_out': trial.count - len(outcomes),
        'database': len(places),
        'protocol': f'{trial.protocol}; AUC-PR of the best answer as in VPR-Bench',
        'latency_ms': latency_percentiles(outcomes, 50),
        'latency_p95_ms': latency_percentiles(outcomes, 95),
        'memory_mb': peak_memory_mb(),
        'map_bytes_per_place': trial.map_bytes() / len(places),
        'weights': {'fingerprint': model.fingerprint, 'origin': model.origin.text,
                    'trained': model.origin.trained,
                    'reranker_trained': model.origin.reranker_trained},
        'config': to_dict(config),
        'command': command,
        'date': datetime.now().astimezone().isoformat(timespec='minutes'),
        'machine': machine(str(model.device)),
        'device': f'{model.device} ({model.backend})',
        'version': __version__,
        'per_query': [to_json(one) for one in outcomes],
        'sources': _sources(outcomes, places),
    }))


def _sources(outcomes: Sequence[Outcome], places: Mapping[int, Place]) -> dict[str, str]:
    """
    Return what each place in ``per_query`` was built from, by its id as text.

    Ids count from 1 and join ``ground_truth.json``, whose rows count from 0, by these names.
    """
    named = {place_id for one in outcomes for place_id in (
        *one.query.positives,
        *(place for ranking in one.rankings.values() for place in ranking.places[:STORED_PLACES]))}
    return {str(place_id): places[place_id].source for place_id in sorted(named)}


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """
    Write a result as JSON.

    :raises FileError: if the file cannot be written.
    """
    with replacing(path) as part:
        part.write_text(json.dumps(result, indent=2, allow_nan=False) + '\n', encoding='utf-8')


def read_result(path: Path) -> dict[str, Any]:
    """
    Read what ``write_result`` wrote.

    :raises DatasetError: if the file is missing or is not a result.
    """
    try:
        result = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DatasetError(f'{path}: cannot be read as a result of r2former evaluate '
                           f'({reason(error)})', 'give the JSON file that it wrote') from error
    if not isinstance(result, dict) or 'per_query' not in result:
        raise DatasetError(f'{path}: is not a result of r2former evaluate with its queries '
                           '(per_query)')
    return result


def finite(tree: Any) -> Any:
    """Replace what JSON cannot hold, NaN and infinity, by None."""
    if isinstance(tree, Mapping):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
