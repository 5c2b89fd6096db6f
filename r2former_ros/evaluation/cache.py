# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keep what the network said on disk, so that a long run goes on where it was stopped."""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ..common.files import make_folder, replacing
from ..errors import DatasetError
from ..model import ImageFeatures, R2Former
from ..records import Vector

ENCODE, RERANK = 'encode', 'rerank'


class CachedModel:
    """
    A model that looks its answers up by the content of the input, and keeps new ones.

    One folder holds any number of models, told apart by fingerprint and by what computes. A file
    is written under another name first: one that is there is whole. The content is that of
    tensors, whose last bits depend on the number of threads: another one finds nothing.
    """

    def __init__(self, model: R2Former, folder: Path) -> None:
        self._model = model
        arithmetic = str(model.precision).removeprefix('torch.')
        parts = model.fingerprint, model.backend, arithmetic, model.device.type
        self._folder = folder / '-'.join(parts)
        self.stored_ms: dict[str, float] = {}
        """What the answers that were looked up since the last clearing once took."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """Do as ``R2Former.encode``."""
        arrays = self._kept(ENCODE, [images], lambda: _arrays(self._model.encode(images)))
        parts = [torch.from_numpy(array).to(self._model.device) for array in arrays]
        return ImageFeatures(*parts)

    def score(
        self, query: ImageFeatures, candidates: ImageFeatures, batch: int = 10
    ) -> torch.Tensor:
        """Do as ``R2Former.score``."""
        inputs = [getattr(features, name) for features in (query, candidates)
                  for name in ('xy', 'attention', 'descriptors')]
        (logits,) = self._kept(
            RERANK, inputs,
            lambda: [self._model.score(query, candidates, batch).float().cpu().numpy()],
        )
        return torch.from_numpy(logits).to(self._model.device)

    def _kept(
        self, stage: str, inputs: list[torch.Tensor], compute: Callable[[], list[Vector]]
    ) -> list[Vector]:
        path = self._path(stage, inputs)
        if path.is_file():
            *arrays, spent_ms = _read(path)
            self.stored_ms[stage] = float(spent_ms)
            return arrays
        start = time.perf_counter()
        arrays = compute()
        _write(path, [*arrays, np.float32((time.perf_counter() - start) * 1e3)])
        return arrays

    def _path(self, stage: str, inputs: list[torch.Tensor]) -> Path:
        digest = hashlib.blake2b(digest_size=16)
        for tensor in inputs:
            array = np.ascontiguousarray(tensor.cpu().numpy())
            digest.update(f'{array.shape}{array.dtype}'.encode())
            digest.update(array.tobytes())
        name = digest.hexdigest()
        return self._folder / stage / name[:2] / f'{name}.npz'


def cached(model: R2Former, folder: Path) -> R2Former:
    """
    Return a model that keeps its answers in a folder.

    :raises FileError: if the folder cannot be made.
    """
    make_folder(folder)
    return cast(R2Former, CachedModel(model, folder))


def _arrays(features: ImageFeatures) -> list[Vector]:
    parts = features.descriptor, features.xy, features.attention, features.descriptors
    return [part.float().cpu().numpy() for part in parts]


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
