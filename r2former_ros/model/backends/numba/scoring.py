# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Reranking on all cores of a CPU: one pair per thread, in compiled kernels.

PyTorch would split each small operation over the cores and wait for the slowest, hundreds of
times per pair. With a pair of its own, a core works in its own cache and never waits.
"""

from __future__ import annotations

import fcntl
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial

import numpy as np
import torch
from torch import nn

from ....common.files import replacing
from ...features import ImageFeatures
from ...reranker import Reranker, RerankOps
from .cache_note import are_cached, note_of_cache
from .lanes import LANES, Layers, arrays_of, layers_of
from .long_sequences import summarise_long
from .partners import pair_up_compiled
from .short_sequences import summarise_short

SHORT = LANES // 8
"""Longest sequence, in tokens, for which sequences rather than tokens fill the lanes."""
NICENESS = 5
"""Niceness of the compiling process."""
TOKENS_AT_A_TIME = 2000
"""Tokens per batch of pairs in a thread; more would exceed the L2 cache."""


def score_in_threads(
    reranker: Reranker, query: ImageFeatures, candidates: ImageFeatures
) -> torch.Tensor:
    """
    Score one query image against K candidates, all on the CPU, in float32.

    :returns: logits (K, 2), equal to PyTorch's up to rounding.
    :raises ImageError: if an image has fewer than five local features.
    """
    tokens = query.xy.shape[1] + candidates.xy.shape[1]
    threads = torch.get_num_threads()
    size = max(1, min(TOKENS_AT_A_TIME // tokens, math.ceil(len(candidates) / threads)))
    parts = [candidates[start : start + size] for start in range(0, len(candidates), size)]

    ops = compiled_ops(reranker)

    @torch.inference_mode()
    def score(part: ImageFeatures) -> torch.Tensor:
        logits: torch.Tensor = reranker(query, part, ops)
        return logits

    with _one_thread_each(threads):
        return torch.cat(list(_pool(threads).map(score, parts)))


def compiled_ops(reranker: Reranker) -> RerankOps:
    """Return the operations of ``Reranker.forward`` in kernels, with the weights as they are."""
    layers = {blocks: tuple(map(layers_of, blocks))
              for blocks in (reranker.block_1, reranker.block_2)}
    return RerankOps(pair_up_compiled, partial(_go_through, layers))


@torch.inference_mode()
def run_kernels(reranker: Reranker) -> None:
    """Run every kernel once in this thread; the first run loads or compiles it."""
    few = SHORT + 1  # so that Block-2 gets a long sequence
    features = ImageFeatures(torch.ones(1, 1), torch.ones(1, few, 2), torch.ones(1, few),
                             torch.ones(1, few, 8))
    reranker(features, features, compiled_ops(reranker))


def fill_cache() -> None:
    """Compile every kernel into numba's cache, unless another process does, and note where."""
    os.nice(NICENESS)
    torch.set_num_threads(1)
    note = note_of_cache()
    note.parent.mkdir(parents=True, exist_ok=True)
    with note.with_suffix('.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if are_cached():
            return
        run_kernels(Reranker())
        with replacing(note, cache=True) as part:
            part.write_text(summarise_long.stats.cache_path, encoding='utf-8')


def _go_through(
    layers: dict[nn.ModuleList, tuple[Layers, ...]],
    blocks: nn.ModuleList, class_token: torch.Tensor, tokens: torch.Tensor, norm: nn.Module,
) -> torch.Tensor:
    """Compute ``go_through`` in kernels, with the layers of each sequence of blocks."""
    out = np.empty((tokens.shape[0], tokens.shape[2]), np.float32)
    summarise = summarise_short if tokens.shape[1] <= SHORT else summarise_long
    start = class_token.detach().numpy().ravel()
    summarise(tokens.contiguous().numpy(), start, layers[blocks], arrays_of(norm), out)
    return torch.from_numpy(out)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, 'rerank', initializer=lambda: torch.set_num_threads(1))


@contextmanager
def _one_thread_each(threads: int) -> Iterator[None]:
    """Keep PyTorch from splitting operations; the setting applies to the whole process."""
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
