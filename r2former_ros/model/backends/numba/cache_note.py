# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A note in the user's cache that numba's own cache is complete, read without numba."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path

from ....common.files import digest_of
from ....common.process import cache_folder


def are_cached() -> bool:
    """Say whether numba's cache holds the kernels of these sources, on this machine."""
    note = note_of_cache()
    if not note.is_file():
        return False
    cache = Path(note.read_text(encoding='utf-8'))
    return any(cache.glob('long_sequences*.nbi'))


def note_of_cache() -> Path:
    """Return the file that names numba's cache; like numba, go by the time of the sources."""
    sources = [(path.name, path.stat().st_mtime_ns)
               for path in sorted(Path(__file__).parent.glob('*.py'))]
    key = digest_of(version('numba'), sys.version, platform.node(), __file__, sources)
    return cache_folder() / 'kernels' / key
