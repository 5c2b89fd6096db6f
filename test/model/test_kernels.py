# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Kernels are prepared in the background; PyTorch scores until they are ready."""

import subprocess

import pytest
import torch

from r2former_ros.model import ImageFeatures
from r2former_ros.model.backends.numba import cache_note
from r2former_ros.model.backends.numba import scorer as scorer_module
from r2former_ros.model.backends.numba.scorer import Kernels, NumbaScorer
from r2former_ros.model.backends.pytorch import TorchScorer
from r2former_ros.model.reranker import Reranker

scoring = pytest.importorskip('r2former_ros.model.backends.numba.scoring',
                              reason='numba is not installed')


class Child:
    """A process that ends when it has been asked twice."""

    def __init__(self, command, **_):
        self.command, self.asked = command, 0

    def poll(self):
        self.asked += 1
        return None if self.asked < 2 else 0


@pytest.fixture
def kernels(monkeypatch):
    """Kernels that are prepared at once, without numba; what was done for it is in ``did``."""
    did = []
    monkeypatch.setattr(scorer_module, 'are_cached', lambda: False)
    monkeypatch.setattr(scoring, 'run_kernels', lambda reranker: did.append('loaded'))
    monkeypatch.setattr(scorer_module, 'POLL_S', 0.0)
    monkeypatch.setattr(subprocess, 'Popen', lambda command, **more: (
        did.append(command[-1]), Child(command, **more))[1])
    kernels = Kernels()
    kernels.did = did
    monkeypatch.setattr(scorer_module, 'KERNELS', kernels)
    return kernels


def test_another_process_compiles_and_this_one_loads(kernels):
    for _ in range(3):
        kernels.begin(Reranker())
    kernels.wait()
    assert kernels.ready and not kernels.compiling and not kernels.failure
    compiled, loaded = kernels.did
    assert compiled.endswith('import fill_cache; fill_cache()') and loaded == 'loaded'


def test_cached_kernels_are_only_loaded(kernels, monkeypatch):
    monkeypatch.setattr(scorer_module, 'are_cached', lambda: True)
    kernels.begin(Reranker())
    kernels.wait()
    assert kernels.ready and kernels.did == ['loaded']


def test_cached_kernels_are_loaded_after_the_program_has_started(kernels, monkeypatch):
    """Unless it waits for them; and not at all if it ends before."""
    monkeypatch.setattr(scorer_module, 'are_cached', lambda: True)
    monkeypatch.setattr(scorer_module, 'LOAD_AFTER_S', 1e9)
    kernels.begin(Reranker())
    assert kernels.did == [] and not kernels.ready
    kernels.wait()
    assert kernels.did == ['loaded']
    monkeypatch.setattr(scorer_module, 'main_thread', lambda: Ended())
    ended = Kernels()
    ended.begin(Reranker())
    ended._thread.join()
    assert kernels.did == ['loaded'] and not ended.ready


def test_a_complete_cache_is_noted(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    compiled = []
    monkeypatch.setattr(scoring, 'run_kernels', compiled.append)
    monkeypatch.setattr(scoring, 'are_cached', lambda: bool(compiled))
    monkeypatch.setattr(scoring.os, 'nice', lambda _: None)
    threads = torch.get_num_threads()
    try:
        assert not cache_note.are_cached()
        for _ in range(2):  # the second waits for the first, and finds it done
            scoring.fill_cache()
    finally:
        torch.set_num_threads(threads)
    assert len(compiled) == 1
    assert cache_note.note_of_cache().read_text() == scoring.summarise_long.stats.cache_path
    cache_note.note_of_cache().write_text(str(tmp_path))  # emptied since
    assert not cache_note.are_cached()


def test_a_program_that_ends_does_not_wait(kernels, monkeypatch):
    monkeypatch.setattr(Child, 'poll', lambda self: None)
    monkeypatch.setattr(scorer_module, 'main_thread', lambda: Ended())
    kernels.begin(Reranker())
    kernels.wait()
    assert not kernels.ready and 'loaded' not in kernels.did


class Ended:
    def is_alive(self):
        return False


def test_pytorch_scores_until_they_are_ready(kernels, monkeypatch):
    monkeypatch.setattr(Kernels, 'begin', lambda *_: None)
    monkeypatch.setattr(scoring, 'score_in_threads', lambda *_: 'kernels')
    reranker = Reranker()
    features = ImageFeatures(torch.ones(2, 1), torch.rand(2, 9, 2), torch.rand(2, 9),
                             torch.rand(2, 9, 8))
    scorer = NumbaScorer(reranker)
    expected = TorchScorer(reranker).score(features[:1], features, 10)
    assert torch.equal(scorer.score(features[:1], features, 10), expected)
    kernels.ready = True
    assert scorer.score(features[:1], features, 10) == 'kernels'


def test_kernels_that_cannot_be_compiled_leave_pytorch_scoring(kernels, monkeypatch):
    def fail(reranker):
        raise RuntimeError('cannot cache\nfunction')
    monkeypatch.setattr(scoring, 'run_kernels', fail)
    kernels.begin(Reranker())
    kernels.wait()
    assert not kernels.ready and kernels.failure == 'cannot cache function'
