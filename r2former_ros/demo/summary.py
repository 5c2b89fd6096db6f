# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The table that ends a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..evaluation.measures import Answer, recalls

RECALLS = (1, 5)


def summary_rows(
    answers: Sequence[Answer], latency_ms: Mapping[str, float], counts: Mapping[str, int]
) -> list[list[str]]:
    """
    Return rows of three cells: measure, retrieval, after reranking; the first is the head.

    :param latency_ms: median latency by stage.
    :param counts: what happened to the images, by name.
    """
    measured = recalls(answers, RECALLS)
    rows = [['measure', 'retrieval', 'after reranking']]
    for count in RECALLS:
        name = f'recall@{count}'
        rows.append([name, *(f'{measured[stage][name]:.3f}' for stage in measured)])
    stages = ', '.join(f'{stage} {ms:.1f}' for stage, ms in latency_ms.items())
    rows.append(['median latency [ms]', stages, ''])
    rows.append(['images', ', '.join(f'{name} {count}' for name, count in counts.items()), ''])
    return rows
