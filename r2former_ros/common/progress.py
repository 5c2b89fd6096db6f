# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How long work in the library says how far it has come: to whom, its caller decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar('Item')
Notify = Callable[[str], None]
PERIOD_S = 5.0


def silent(text: str) -> None:
    """Say nothing."""


def noted(items: Iterable[Item], what: str, total: int, notify: Notify) -> Iterator[Item]:
    """Pass items on; every five seconds, tell how many of the total have gone through."""
    said = time.monotonic()
    for count, item in enumerate(items):
        if time.monotonic() - said > PERIOD_S:
            said = time.monotonic()
            notify(f'{what}: {count:,} of {total:,}')
        yield item
