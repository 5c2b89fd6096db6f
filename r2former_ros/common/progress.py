# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How long-running library code reports progress; the caller decides where it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

Item = TypeVar('Item')
Notify = Callable[[str], None]
PERIOD_S = 5.0


class Bar(Protocol):
    """A progress bar."""

    def update(self) -> object:
        """Count one item."""


OpenBar = Callable[[str, int | None], AbstractContextManager[Bar]]
"""Shows a bar for some work, given its name and number of items, until the block ends."""


def silent(text: str) -> None:
    """Say nothing."""


def counted(items: Iterable[Item], bar: Bar) -> Iterator[Item]:
    """Pass items on and count each in a bar once it has been dealt with."""
    for item in items:
        yield item
        bar.update()


def noted(items: Iterable[Item], what: str, total: int, notify: Notify) -> Iterator[Item]:
    """Pass items on; every five seconds, report how many of the total have passed."""
    said = time.monotonic()
    for count, item in enumerate(items):
        if time.monotonic() - said > PERIOD_S:
            said = time.monotonic()
            notify(f'{what}: {count:,} of {total:,}')
        yield item
