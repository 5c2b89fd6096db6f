# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens of views of a pool's pictures, computed once while the trunk is frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...common.files import replacing
from ...model.hybrid_encoder import HybridEncoder
from .camera_views import ViewKind, draw_view
from .pools import ImagePool

BATCH = 32
Normalise = Callable[[torch.Tensor], torch.Tensor]
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class TokenViews:
    """
    Token maps float16 (N, width, h, w) of each kind of view.

    ``rows`` are the pictures in the order in which all kinds hold them; the first kind, the
    pictures as they are, holds all of them, the others the first ``len(kind)``.
    """

    kinds: tuple[NDArray[np.float16], ...]
    rows: NDArray[np.int64]

    def maps(self, kind: int, places: slice | NDArray[np.int64]) -> torch.Tensor:
        """Return token maps of some pictures as float32."""
        return torch.from_numpy(np.array(self.kinds[kind][places])).float()

    def batches(self, kind: int, size: int = 128) -> Iterator[torch.Tensor]:
        """Return all token maps of a kind, in order."""
        for start in range(0, len(self.kinds[kind]), size):
            yield self.maps(kind, slice(start, start + size))


def token_views(
    encoder: HybridEncoder, pool: ImagePool, kinds: Sequence[ViewKind], folder: Path, *,
    viewed: int, seed: int, normalise: Normalise, report: Report,
) -> TokenViews:
    """
    Compute what is not there yet: the first kind for all pictures, the others for ``viewed``.

    A kind of view is a file that is there only when it is whole, so that a killed run resumes.
    """
    rows = np.random.default_rng(seed).permutation(len(pool.clip))
    counts = [len(rows), *[min(viewed, len(rows))] * (len(kinds) - 1)]
    done, stored = 0, []
    for number, (kind, count) in enumerate(zip(kinds, counts, strict=True)):
        path = folder / f'tokens-{number}.npy'
        if not path.exists():
            rng = np.random.default_rng([seed, number])
            parts = _encoded(encoder, pool, rows[:count], kind, rng, normalise)
            _store(parts, path, count, partial(_told, report, done, sum(counts)))
        done += count
        stored.append(np.load(path, mmap_mode='r'))
    return TokenViews(tuple(stored), rows)


@torch.no_grad()
def _encoded(
    encoder: HybridEncoder, pool: ImagePool, rows: NDArray[np.int64], kind: ViewKind,
    rng: np.random.Generator, normalise: Normalise,
) -> Iterator[NDArray[np.float16]]:
    size = encoder.spec.image_height, encoder.spec.image_width
    for start in range(0, len(rows), BATCH):
        views = [draw_view(pool.images[row], size, kind, rng)
                 for row in rows[start : start + BATCH]]
        maps = encoder.embed_patches(normalise(torch.from_numpy(np.stack(views))))
        yield maps.half().numpy()


def _store(
    parts: Iterator[NDArray[np.float16]], path: Path, count: int, report: Callable[[int], None]
) -> None:
    first = next(parts)
    with replacing(path) as part:
        file = np.lib.format.open_memmap(part, 'w+', np.float16, (count, *first.shape[1:]))
        made = 0
        for maps in chain([first], parts):
            file[made : made + len(maps)] = maps
            made += len(maps)
            report(made)
        file.flush()


def _told(report: Report, before: int, total: int, made: int) -> None:
    report(before + made, total)
