# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Compare the kinds of index with exact search, on synthetic descriptors.

    python benchmarks/search.py --places 1000000 --kinds ivf hnsw --json search.json

Two sets: "clustered" imitates descriptors of a drive (streets of 200 places around a centre, with
variances that fall off as 1/i over the dimensions; queries are places seen again, with noise);
"random" is uniform on the sphere, the worst case, which no descriptor of pictures resembles.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from r2former_ros.common.process import prepare_process

prepare_process()  # before OpenMP starts: as the node and the command line do

import numpy as np

from r2former_ros.config import RetrievalConfig
from r2former_ros.maps.index import PlaceIndex, index_bytes
from r2former_ros.records import Vector

STREET = 200
COUNT = 100
NOISE = 0.4
COLUMNS = ('data', 'kind', 'build_s', 'MiB', 'recall@100', 'median_ms', 'p95_ms', 'times exact')


def unit(rows: Vector) -> Vector:
    """Scale rows to unit norm, in place."""
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def random(places: int, dim: int, queries: int) -> tuple[Vector, Vector]:
    """Draw places and queries uniformly on the sphere."""
    rng = np.random.default_rng(0)
    rows = unit(rng.standard_normal((places + queries, dim), np.float32))
    return rows[:places], rows[places:]


def clustered(places: int, dim: int, queries: int) -> tuple[Vector, Vector]:
    """Draw streets of places, and queries near some of them."""
    rng = np.random.default_rng(0)
    spread = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    streets = rng.standard_normal((places // STREET + 1, dim), np.float32) * spread
    rows = np.repeat(streets, STREET, axis=0)[:places]
    for start in range(0, places, 100 * STREET):  # in parts, for the memory's sake
        part = rows[start : start + 100 * STREET]
        part += 0.6 * rng.standard_normal(part.shape, np.float32) * spread
    unit(rows)
    noise = rng.standard_normal((queries, dim), np.float32) * spread / np.linalg.norm(spread)
    return rows, unit(rows[rng.choice(places, queries, replace=False)] + NOISE * noise)


def searched(index: PlaceIndex, queries: Vector) -> tuple[list[set[int]], list[float]]:
    """Return the ids found for each query, and the milliseconds it took."""
    found, took_ms = [], []
    for query in queries:
        start = time.perf_counter()
        candidates = index.search(query, COUNT)
        took_ms.append((time.perf_counter() - start) * 1e3)
        found.append({one.place_id for one in candidates})
    return found, took_ms


def measured(name: str, rows: Vector, queries: Vector, kinds: list[str]) -> list[dict[str, Any]]:
    """Return a line a kind, exact search first."""
    lines: list[dict[str, Any]] = []
    exact: list[set[int]] = []
    for kind in ('flat', *kinds):
        config = RetrievalConfig(index=kind)
        start = time.perf_counter()
        index = PlaceIndex(np.arange(1, len(rows) + 1), rows, config,
                           notify=lambda text: print(text, file=sys.stderr))
        build_s = time.perf_counter() - start
        found, took_ms = searched(index, queries)
        exact = exact or found
        median_ms = statistics.median(took_ms)
        values = (
            name, kind, build_s, index_bytes(len(rows), rows.shape[1], config) / 2**20,
            statistics.mean(len(one & two) / COUNT for one, two in zip(found, exact)),
            median_ms, float(np.percentile(took_ms, 95)),
            lines[0]['median_ms'] / median_ms if lines else 1.0,
        )
        lines.append(dict(zip(COLUMNS, values)))
        print(row_text(lines[-1].values()), flush=True)
        del index  # before the next one takes as much
    return lines


def row_text(cells: Any) -> str:
    """Write a line of the table."""
    texts = [one if isinstance(one, str) else f'{one:.4g}' for one in cells]
    return ''.join(f'{text:>12s}' for text in texts)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--places', type=int, default=1_000_000)
    parser.add_argument('--dim', type=int, default=256)
    parser.add_argument('--queries', type=int, default=100)
    parser.add_argument('--kinds', nargs='+', default=['hnsw', 'ivf'])
    parser.add_argument('--data', nargs='+', default=['clustered', 'random'],
                        choices=['clustered', 'random'])
    parser.add_argument('--json', type=Path)
    arguments = parser.parse_args()
    make = {'clustered': clustered, 'random': random}
    lines = []
    print(row_text(COLUMNS))
    for name in arguments.data:
        sets = make[name](arguments.places, arguments.dim, arguments.queries)
        lines += measured(name, *sets, arguments.kinds)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f'peak memory of the process: {peak_mib:.0f} MiB')
    if arguments.json:
        report = {'places': arguments.places, 'dim': arguments.dim, 'queries': arguments.queries,
                  'peak_mib': peak_mib, 'lines': lines}
        arguments.json.write_text(json.dumps(report, indent=2) + '\n')


if __name__ == '__main__':
    main()
