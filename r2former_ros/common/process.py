# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The process: its settings, for programs (the node and the command line), and its user's cache.

A library leaves the process as it is, so ``import r2former_ros`` sets none of this.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Names in glibc's malloc.h."""
NEVER = 2**31 - 1


def prepare_process() -> None:
    """
    Make PyTorch share the cores and reuse memory; call it before torch is imported.

    Waiting OpenMP threads spin by default. On a robot, where other programs run, they burn the
    very cores that the others need, and each operation waits for the slowest. The environment
    variable ``OMP_WAIT_POLICY`` overrides this.
    """
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:  # glibc: keep large temporaries instead of mapping them each time
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)


def cache_folder() -> Path:
    """Return where programs of this user keep what can be made again."""
    home = os.environ.get('XDG_CACHE_HOME')
    return (Path(home) if home else Path.home() / '.cache') / 'r2former_ros'
