# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recall on labelled places, to keep the best weights of a run by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ..datasets import PlaceSet
from ..evaluation.measures import recall_at
from ..images import preprocess, read_image
from ..model import R2Former


def recall_on(places: PlaceSet) -> Callable[[R2Former], float]:
    """Return a function that measures recall@1 of retrieval."""
    def recall(model: R2Former) -> float:
        model.eval()
        queries, database = (_descriptors(model, paths)
                             for paths in (places.queries, places.database))
        best = (queries @ database.T).argmax(dim=1, keepdim=True).tolist()
        return recall_at(best, [rows.tolist() for rows in places.positives], 1)

    return recall


def _descriptors(model: R2Former, paths: Sequence[Path]) -> torch.Tensor:
    """Return the descriptors (N, D) of picture files, one file at a time."""
    spec, device = model.spec.input, model.device
    return torch.cat([
        model.encode(preprocess(read_image(path), spec, device)).descriptor.cpu()
        for path in paths
    ])
