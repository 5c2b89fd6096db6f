# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Settings of the process, for the node and the command line, and the user's cache folder.

A library leaves the process alone, so ``import r2former_ros`` changes none of this.
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

    Idle OpenMP threads spin by default. On a robot they take cores from other programs, and each
    operation waits for the slowest thread. The environment variable ``OMP_WAIT_POLICY`` overrides
    this.
    """
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:  # glibc: keep large temporaries instead of mapping them each time
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)


def cache_folder() -> Path:
    """Return the user's folder for files that can be regenerated."""
    home = os.environ.get('XDG_CACHE_HOME')
    return (Path(home) if home else Path.home() / '.cache') / 'r2former_ros'
