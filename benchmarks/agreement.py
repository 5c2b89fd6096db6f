# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Count how many pairs of candidates the fast paths order as PyTorch does in float32.

    python benchmarks/agreement.py gardens_point/ground_truth.json

Every 20th query of a dataset is compared with every 5th image of its database.
"""

from __future__ import annotations

from r2former_ros.common.process import prepare_process

prepare_process()  # before OpenMP starts: as the node and the command line do

import argparse
from collections.abc import Iterable
from pathlib import Path

import torch

from r2former_ros.model import ImageFeatures, Model, load_model
from r2former_ros.model.preprocess import preprocess
from r2former_ros.sources.datasets import read_ground_truth
from r2former_ros.sources.pictures import read_image

VARIANTS = {
    'auto float32': ('auto', 'float32'),
    'auto bfloat16': ('auto', 'bfloat16'),
    'torch bfloat16': ('torch', 'bfloat16'),
}


def main() -> None:
    """Print a line for each variant."""
    parser = argparse.ArgumentParser(description='Compare rankings with PyTorch in float32.')
    parser.add_argument('dataset', type=Path, help='a ground_truth.json')
    parser.add_argument('--weights', default='r2former-tiny')
    arguments = parser.parse_args()
    places = read_ground_truth(arguments.dataset)
    paths = places.queries[::20], places.database[::5]
    expected = rankings(load_model(arguments.weights, 'cpu'), *paths)
    for name, (backend, precision) in VARIANTS.items():
        model = load_model(arguments.weights, 'cpu', precision=precision, backend=backend)
        similarities, margins = rankings(model, *paths)
        by_similarity, by_reranking = map(agreement, expected, (similarities, margins))
        print(f'{name:15} ordered equally: by similarity {by_similarity:.2%}, '
              f'by reranking {by_reranking:.2%}; '
              f'same best {best_kept(expected[1], margins)} of {len(margins)}; '
              f'largest difference of logits {(expected[1] - margins).abs().max():.1e}')


def rankings(
    model: Model, queries: Iterable[Path], database: Iterable[Path]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return similarities, and logits of a match less those of none, (queries, database) each."""
    places = encoded(model, database)
    similarities, margins = [], []
    for query in queries:
        features = encoded(model, [query])
        similarities.append(places.descriptor @ features.descriptor[0])
        logits = model.score(features, places)
        margins.append(logits[:, 1] - logits[:, 0])
    return torch.stack(similarities), torch.stack(margins)


def encoded(model: Model, paths: Iterable[Path]) -> ImageFeatures:
    """Encode image files one by one, as the node does."""
    return ImageFeatures.cat(
        [model.encode(preprocess(read_image(path), model.spec.input)) for path in paths])


def agreement(expected: torch.Tensor, found: torch.Tensor) -> float:
    """Return the share of pairs of columns, over all rows, that are ordered equally."""
    left, right = torch.triu_indices(expected.shape[1], expected.shape[1], 1)
    same = (expected[:, left] > expected[:, right]) == (found[:, left] > found[:, right])
    return same.float().mean().item()


def best_kept(expected: torch.Tensor, found: torch.Tensor) -> int:
    """Return for how many rows the best column is the same."""
    return int((expected.argmax(dim=1) == found.argmax(dim=1)).sum())


if __name__ == '__main__':
    main()
