# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Reranking on all cores of a CPU: pairs side by side, one thread each, in compiled kernels.

PyTorch would split each small operation over the cores and wait for the slowest, hundreds of
times a pair. A pair of its own for each core stays in that core's cache and never waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

from .features import ImageFeatures
from .kernels import SHORT, attend
from .lanes import summaries
from .reranker import Reranker, with_class_token
from .transformer import is_silent

TOKENS_AT_A_TIME = 2000
"""Tokens of the pairs that a thread works on together: more would leave the second cache."""


def score_in_threads(
    reranker: Reranker, query: ImageFeatures, candidates: ImageFeatures
) -> torch.Tensor:
    """
    Score one query image against K candidates; all on the CPU, in float32.

    :returns: logits (K, 2), equal to the reranker's own but for rounding.
    :raises ImageError: if an image has fewer than five local features.
    """
    tokens = query.xy.shape[1] + candidates.xy.shape[1]
    size = max(1, TOKENS_AT_A_TIME // tokens)
    parts = [candidates[start : start + size] for start in range(0, len(candidates), size)]

    @torch.inference_mode()
    def score(part: ImageFeatures) -> torch.Tensor:
        logits: torch.Tensor = reranker(query, part, _go_through)
        return logits

    threads = torch.get_num_threads()
    with _one_thread_each(threads):
        return torch.cat(list(_pool(threads).map(score, parts)))


def _go_through(
    blocks: nn.ModuleList, class_token: torch.Tensor, tokens: torch.Tensor, norm: nn.Module
) -> torch.Tensor:
    """Do as ``go_through``: many short sequences side by side, long ones with ``attend``."""
    if tokens.shape[1] <= SHORT:
        return summaries(tokens, class_token, blocks, norm)
    tokens = with_class_token(class_token, tokens)
    for block in blocks[:-1]:
        tokens = _run_block(block, tokens, tokens.shape[1])
    normed: torch.Tensor = norm(_run_block(blocks[-1], tokens, 1)[:, 0])
    return normed


def _run_block(block: Any, tokens: torch.Tensor, rows: int) -> torch.Tensor:
    """
    Run a block for the first rows of its input, but for branches that add nothing.

    :param block: a timm ``Block`` without layer scale and query norm.
    :param tokens: (B, T, W), the block's input.
    :returns: the first ``rows`` tokens (B, rows, W) after the block.
    """
    out = tokens[:, :rows]
    if not is_silent(block.attn.proj):
        qkv = block.attn.qkv(block.norm1(tokens))
        out = out + block.attn.proj(torch.from_numpy(attend(qkv.numpy(), rows)))
    if not is_silent(block.mlp.fc2):
        out = out + block.mlp(block.norm2(out))
    return out


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, 'rerank', initializer=lambda: torch.set_num_threads(1))


@contextmanager
def _one_thread_each(threads: int) -> Iterator[None]:
    """Keep PyTorch from splitting operations; the setting is one for the whole process."""
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
