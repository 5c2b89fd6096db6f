# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images that were left out, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator


class LeftOut:
    """
    Lines that say which image was left out and why; each is counted once.

    Reasons are the same if they differ in numbers only.
    """

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}

    def add(self, line: str) -> None:
        """Keep a line."""
        self._lines[line] = None

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def summary(self) -> str:
        """Return how many were left out, with an example of the commonest reason."""
        if not self._lines:
            return 'none was left out'
        kinds = Counter(_kind(line) for line in self._lines)
        kind, count = kinds.most_common(1)[0]
        example = next(line for line in self._lines if _kind(line) == kind)
        share = 'all' if count == len(self._lines) else f'{count} of them'
        return f'{len(self._lines)} left out, {share} like this: {example}'


def _kind(line: str) -> str:
    return re.sub(r'\d+', '0', line)
