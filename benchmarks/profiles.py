# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure what each rerank profile recalls, and how long a query takes; draw the one by the other.

    python benchmarks/profiles.py corridor/ground_truth.json ... --out OUT

Each profile runs `r2former evaluate` on each dataset. OUT gets a JSON of each run, and
profiles.png: recall@1 after reranking by the median time of a query (encode, retrieve, rerank).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from r2former_ros.cli import main as r2former
from r2former_ros.config import RERANK_PROFILES

STAGES = ('encode', 'retrieve', 'rerank', 'verify', 'decide')
MARKERS = ('o', 's', '^')


def main() -> None:
    """Measure, print a table and draw."""
    parser = argparse.ArgumentParser(description='Compare rerank profiles.')
    parser.add_argument('datasets', nargs='+', type=Path, help='ground_truth.json files')
    parser.add_argument('--weights', default='r2former-tiny')
    parser.add_argument('--out', type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    points = {}
    for number, dataset in enumerate(arguments.datasets):
        for profile in RERANK_PROFILES:
            result = measure(dataset, profile, arguments.weights,
                             arguments.out / f'{number}_{profile}.json')
            points[name_of(dataset), profile] = point(result)
    print(table(points))
    draw(points).savefig(arguments.out / 'profiles.png', dpi=120)


def measure(dataset: Path, profile: str, weights: str, path: Path) -> dict[str, Any]:
    """Run the evaluation and return what it wrote."""
    code = r2former(['evaluate', '--dataset', str(dataset), '--weights', weights,
                     '--set', f'rerank.profile={profile}', '--json', str(path),
                     '--cache', str(path.parent / 'cache')])
    if code:
        raise SystemExit(code)
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def name_of(dataset: Path) -> str:
    """Return folder and file without what all files share."""
    pairing = dataset.stem.removeprefix('ground_truth').replace('__', ' to ')
    return f'{dataset.parent.name} {pairing}'.replace('_', ' ').strip()


def point(result: dict[str, Any]) -> tuple[float, float]:
    """Return the milliseconds of a median query and its recall@1 after reranking."""
    time = sum(result['latency_ms'][stage] for stage in STAGES)
    return time, result['methods']['rerank']['recall@1']


def table(points: dict[tuple[str, str], tuple[float, float]]) -> str:
    """Return a Markdown table: a row a dataset, recall@1 and milliseconds of each profile."""
    lines = ['| set | ' + ' | '.join(RERANK_PROFILES) + ' |', '|---' * 4 + '|']
    for name in dict.fromkeys(name for name, _ in points):
        cells = [points[name, profile] for profile in RERANK_PROFILES]
        lines.append(f'| {name} | '
                     + ' | '.join(f'{recall:.3f}, {time:.0f} ms' for time, recall in cells) + ' |')
    return '\n'.join(lines)


def draw(points: dict[tuple[str, str], tuple[float, float]]) -> Figure:
    """Draw a line a dataset through its profiles, each with a marker of its own."""
    figure = Figure(figsize=(7.2, 4.0), layout='constrained')
    axes = figure.add_subplot()
    for name in dict.fromkeys(name for name, _ in points):
        cells = [points[name, profile] for profile in RERANK_PROFILES]
        (line,) = axes.plot(*zip(*cells, strict=True), label=name)
        for cell, marker in zip(cells, MARKERS, strict=True):
            axes.plot(*cell, marker, color=line.get_color())
    for profile, marker in zip(RERANK_PROFILES, MARKERS, strict=True):
        axes.plot([], [], marker, color='black', label=profile)
    axes.set_xlim(left=0)
    axes.set_xlabel('median time of a query [ms]')
    axes.set_ylabel('recall@1 after reranking')
    figure.legend(fontsize=8, loc='outside right center')
    return figure


if __name__ == '__main__':
    main()
