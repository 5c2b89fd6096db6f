# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A cache of model outputs on disk, so that an interrupted run resumes where it stopped."""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..common.files import make_folder, replacing
from ..errors import DatasetError
from ..model import Encoder, ImageFeatures, Model, Scorer
from ..records import Vector

ENCODE, RERANK = 'encode', 'rerank'


class Answers:
    """
    Outputs of one stage of one engine, found by the content of the input.

    Files are written under a temporary name first, so a file that exists is complete. The content
    is that of tensors, whose last bits depend on the number of threads: a run with another number
    finds nothing.
    """

    def __init__(self, folder: Path, stage: str, spent_ms: dict[str, float]) -> None:
        self._folder = folder / stage
        self._stage = stage
        self._spent_ms = spent_ms

    def of(
        self, inputs: tuple[torch.Tensor, ...], compute: Callable[[], list[Vector]]
    ) -> list[Vector]:
        """Load the outputs, or compute and keep them; note how long a loaded one once took."""
        path = self._path(inputs)
        if path.is_file():
            *arrays, spent_ms = _read(path)
            self._spent_ms[self._stage] = float(spent_ms)
            return arrays
        start = time.perf_counter()
        arrays = compute()
        _write(path, [*arrays, np.float32((time.perf_counter() - start) * 1e3)])
        return arrays

    def _path(self, inputs: tuple[torch.Tensor, ...]) -> Path:
        digest = hashlib.blake2b(digest_size=16)
        for tensor in inputs:
            array = np.ascontiguousarray(tensor.cpu().numpy())
            digest.update(f'{array.shape}{array.dtype}'.encode())
            digest.update(array.tobytes())
        name = digest.hexdigest()
        return self._folder / name[:2] / f'{name}.npz'


class CachedEncoder:
    """An encoder that loads what it has encoded before."""

    def __init__(self, encoder: Encoder, folder: Path, spent_ms: dict[str, float]) -> None:
        self.name, self.precision, self.spent_ms = encoder.name, encoder.precision, spent_ms
        self._encoder = encoder
        self._answers = Answers(folder, ENCODE, spent_ms)

    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """Encode as ``Encoder.encode`` says."""
        arrays = self._answers.of((images,), lambda: [
            _array(part) for part in self._encoder.encode(images).tensors()])
        return ImageFeatures(*map(torch.from_numpy, arrays))


class CachedScorer:
    """A scorer that loads what it has scored before."""

    def __init__(self, scorer: Scorer, folder: Path, spent_ms: dict[str, float]) -> None:
        self.name, self.precision = scorer.name, scorer.precision
        self._scorer = scorer
        self._answers = Answers(folder, RERANK, spent_ms)

    def score(
        self, query: ImageFeatures, candidates: ImageFeatures, batch: int
    ) -> torch.Tensor:
        """Score as ``Scorer.score`` says."""
        (logits,) = self._answers.of((*query.local(), *candidates.local()), lambda: [
            _array(self._scorer.score(query, candidates, batch))])
        return torch.from_numpy(logits)


def cached(model: Model, folder: Path) -> Model:
    """
    Return a model that keeps its outputs in a folder, which any number of models may share.

    :raises FileError: if the folder cannot be made.
    """
    make_folder(folder)
    spent_ms: dict[str, float] = {}

    def of(engine: Encoder | Scorer) -> Path:
        parts = model.fingerprint, engine.name, engine.precision, model.device.type
        return folder / '-'.join(parts)

    return replace(
        model, encoder=CachedEncoder(model.encoder, of(model.encoder), spent_ms),
        scorer=CachedScorer(model.scorer, of(model.scorer), spent_ms))


def spent_ms_of(model: Model) -> dict[str, float]:
    """Return where a cached model notes how long each loaded stage once took; else a new table."""
    return model.encoder.spent_ms if isinstance(model.encoder, CachedEncoder) else {}


def _array(tensor: torch.Tensor) -> Vector:
    return np.asarray(tensor.float().cpu().numpy(), np.float32)


def _read(path: Path) -> list[Vector]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return [file[f'arr_{number}'] for number in range(len(file.files))]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(f'{path}: is damaged ({error}); remove it') from error


def _write(path: Path, arrays: list[Any]) -> None:
    make_folder(path.parent)
    with replacing(path, cache=True) as part, part.open('wb') as file:
        np.savez(file, *arrays)
