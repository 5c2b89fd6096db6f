# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From 16 bits per sample to 8.

Cameras of 10 to 14 bits (industrial, thermal) put their samples into 16 bits as they are. Divided
by 257 such a picture is nearly black, so its range is stretched instead.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALINGS = ('auto', 'full', 'stretch')
UNUSED_FROM = 2**14
"""Samples that all stay below this leave the two highest bits unused."""
TAILS = 0.005
"""Share of the darkest, and of the brightest, samples that stretching lets go to 0 and 255."""

_logger = logging.getLogger(__name__)
_scaling = 'auto'


def use_scaling(scaling: str) -> None:
    """Choose one of ``SCALINGS`` for this process (setting ``model.sixteen_bit``)."""
    global _scaling
    _scaling = scaling


def to_8_bit(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """
    Scale uint16 samples of any shape to uint8.

    ``full`` maps [0, 65535] to [0, 255], rounding to nearest; ``stretch`` maps the range that
    occurs in this picture; ``auto`` stretches where the two highest bits are unused.
    """
    if _scaling == 'stretch' or (_scaling == 'auto' and samples.max() < UNUSED_FROM):
        if _scaling == 'auto':
            _say_once()
        return _stretched(samples)
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _stretched(samples: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = _range(samples)
    table = (np.arange(2**16, dtype=np.float64) - low) * (255.0 / max(1, high - low))
    return np.asarray(np.clip(np.rint(table), 0, 255).astype(np.uint8)[samples], np.uint8)


def _range(samples: NDArray[Any]) -> tuple[int, int]:
    """Return the samples between which all but the tails lie."""
    counts = np.cumsum(np.bincount(samples.ravel(), minlength=2**16))
    tail = TAILS * counts[-1]
    low, high = np.searchsorted(counts, (tail, counts[-1] - tail), 'left')
    return int(low), int(high)


@cache
def _say_once() -> None:
    _logger.warning('16-bit images stay below %d, as those of 10- to 14-bit cameras do: their '
                    'range is stretched to 8 bits (model.sixteen_bit)', UNUSED_FROM)
