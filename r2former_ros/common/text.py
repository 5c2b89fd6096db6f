# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Names and values of others, as they appear in messages."""

from __future__ import annotations

import re

LONGEST = 80
"""Characters of a value that a message repeats."""


def quoted(value: object) -> str:
    """Return a value in quotation marks, shortened to what one needs to find it again."""
    text = repr(value)
    return text if len(text) <= LONGEST else f'{text[:LONGEST - 24]}... ({len(text):,} characters)'


def printable(name: object) -> str:
    r"""Return a name as text that every terminal, file and database takes, ``\xe9`` for a byte."""
    try:
        content = str(name).encode('utf-8', 'surrogateescape')
    except UnicodeEncodeError:  # half of a pair, as in "\ud800" of a JSON file
        content = str(name).encode('utf-8', 'backslashreplace')
    return content.decode('utf-8', 'backslashreplace').replace('\0', '\\0')


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts the numbers in names by value: 2 before 10."""
    return [(int(part), '') if part.isdecimal() else (0, part)
            for part in re.split(r'(\d+)', name)]


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 folder, 2 folders."""
    return f'{count:,} {noun}' + ('s' if count != 1 else '')
