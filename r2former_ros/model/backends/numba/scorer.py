# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The scorer in kernels compiled for this CPU; PyTorch scores until they are ready.

Compiling takes 17 s on idle cores, once per machine and version. A process of its own compiles,
so that nothing here waits, and the result stays even if this process ends first. Later processes
load the kernels from numba's cache, also in the background, once they have started up.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from threading import Event, Lock, Thread, main_thread

import torch

from ...features import ImageFeatures
from ...reranker import Reranker
from ..pytorch import TorchScorer
from .cache_note import are_cached

COMPILING = ('compiling the reranker for this CPU in the background, once (about 20 s); '
             'PyTorch scores until then')
POLL_S = 0.2
LOAD_AFTER_S = 3.0
"""Loading before would delay the first answer, and the end of a program that gives only one."""


class NumbaScorer:
    """A reranker as it is, on the CPU: later changes of its weights count."""

    name, precision = 'numba', 'float32'

    def __init__(self, reranker: Reranker) -> None:
        """Take a reranker, and prepare the kernels in the background."""
        self._reranker = reranker
        self._plain = TorchScorer(reranker)
        KERNELS.begin(reranker)

    def score(
        self, query: ImageFeatures, candidates: ImageFeatures, batch: int
    ) -> torch.Tensor:
        """Score as ``Scorer.score`` says; threads bound the memory, not ``batch``."""
        if not KERNELS.ready:
            return self._plain.score(query, candidates, batch)
        from .scoring import score_in_threads

        return score_in_threads(self._reranker, query.to('cpu'), candidates.to('cpu'))


class Kernels:
    """The kernels of this process, loaded or compiled by a thread."""

    def __init__(self) -> None:
        self.ready = False
        self.compiling = False
        """Whether another process compiles them."""
        self.failure = ''
        """Why they can be neither loaded nor compiled; PyTorch goes on scoring."""
        self._thread: Thread | None = None
        self._lock, self._now = Lock(), Event()

    def begin(self, reranker: Reranker) -> None:
        """Start preparing, unless that has started; any reranker needs the same kernels."""
        with self._lock:
            if self._thread is None:
                self.compiling = not are_cached()
                self._thread = Thread(target=self._prepare, args=(reranker,), name='kernels')
                self._thread.start()

    def wait(self) -> None:
        """Wait until they are ready, or cannot be."""
        self._now.set()
        if self._thread is not None:
            self._thread.join()

    def _prepare(self, reranker: Reranker) -> None:
        try:
            if not (self._compiled_elsewhere() if self.compiling else self._started_up()):
                return
            from .scoring import run_kernels

            run_kernels(reranker)
            self.ready = True
        except Exception as error:  # numba's own types share no base
            self.failure = ' '.join(str(error).split())
        finally:
            self.compiling = False

    def _started_up(self) -> bool:
        """Let the program start and answer first; return whether it still runs."""
        until = time.monotonic() + LOAD_AFTER_S
        while time.monotonic() < until and not self._now.wait(POLL_S):
            if not main_thread().is_alive():
                return False
        return True

    def _compiled_elsewhere(self) -> bool:
        """Compile in another process; return whether this one still needs the kernels."""
        command = [sys.executable, '-c',
                   f'from {__package__}.scoring import fill_cache; fill_cache()']
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
        with open(os.devnull, 'r+b') as nothing:
            child = subprocess.Popen(command, env=environment, start_new_session=True,
                                     stdin=nothing, stdout=nothing, stderr=nothing)
        while child.poll() is None:
            if not main_thread().is_alive():  # this process ends; the other one goes on
                return False
            time.sleep(POLL_S)
        return True


KERNELS = Kernels()
