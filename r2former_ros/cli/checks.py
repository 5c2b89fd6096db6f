# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Mistakes that can be seen before any work begins.

Every command calls these first, so that a wrong option, a missing file or an output that cannot
be written is reported before a model is loaded.
"""

from __future__ import annotations

import argparse
import operator
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..common.files import make_folder, require_writable
from ..common.text import printable
from ..errors import FileError, ImageError, MapError, UsageError


def require_owner(arguments: argparse.Namespace, owners: str, names: Iterable[str]) -> None:
    """
    Refuse options that have no effect without one of their owners.

    :param owners: destinations of options, separated by blanks.
    :raises UsageError: naming the option and its owners.
    """
    if any(is_given(arguments, one) for one in owners.split()):
        return
    for name in names:
        if is_given(arguments, name):
            belongs = ' or '.join(map(option_of, owners.split()))
            raise UsageError(f'{option_of(name)} belongs to {belongs}')


def require_at_most_one(arguments: argparse.Namespace, *names: str) -> None:
    """
    Refuse options that exclude each other.

    :raises UsageError: naming them.
    """
    given = [option_of(name) for name in names if is_given(arguments, name)]
    if len(given) > 1:
        raise UsageError(f'give {" or ".join(given)}, not both')


def is_given(arguments: argparse.Namespace, name: str) -> bool:
    """Say whether an option was given; its default must be None, False or an empty list."""
    value = getattr(arguments, name, None)
    return value is not None and value is not False and value != []


def option_of(name: str) -> str:
    """Return the option with a destination, such as ``--image-topic`` for ``image_topic``."""
    return '--self' if name == 'revisits' else f'--{name.replace("_", "-")}'


def require_range(option: str, value: float, *, above: float | None = None,
                  at_least: float | None = None, at_most: float | None = None,
                  below: float | None = None) -> None:
    """
    Refuse a number outside its range; NaN is outside every range.

    :raises UsageError: naming option, value and range.
    """
    rules = (('above', above, operator.gt), ('at least', at_least, operator.ge),
             ('at most', at_most, operator.le), ('below', below, operator.lt))
    wanted = [(words, limit, holds) for words, limit, holds in rules if limit is not None]
    if not all(holds(value, limit) for _, limit, holds in wanted):
        text = ' and '.join(f'{words} {limit:g}' for words, limit, _ in wanted)
        raise UsageError(f'{option} {value:g}: must be {text}')


def require_pictures(paths: Iterable[str]) -> None:
    """
    Check that every path is a file.

    :raises ImageError: naming the first that is not.
    """
    for path in paths:
        if _kind(path) == 'folder':
            raise ImageError(f'{path}: is a folder', 'name the pictures in it')
        if not _kind(path):
            raise ImageError(f'{printable(path)}: cannot be read (No such file or directory)')


def require_there(path: str | None, what: str = 'file or folder') -> None:
    """
    Check that a file or folder exists; None passes.

    :raises FileError: if it does not.
    """
    if path is not None and not _kind(path):
        raise FileError(f'{printable(path)}: no such {what}')


def require_map(location: str, *, writable: bool = False) -> None:
    """
    Check that a map is there; a database is asked when it is opened.

    :raises MapError: if the file is missing.
    :raises FileError: if it has to be written and cannot.
    """
    from ..maps.place_map import in_database

    if in_database(location):
        return
    if not _kind(location):
        raise MapError(f'{printable(location)}: no such map file')
    if writable:
        require_writable(location)


def require_new_map(location: str) -> None:
    """
    Check that a map can be made.

    :raises MapError: if it exists already.
    :raises FileError: if it cannot be written.
    """
    from ..maps.place_map import in_database, map_exists

    if map_exists(location):
        raise MapError(f'{location}: exists already', 'choose another name or remove it')
    if not in_database(location):
        require_output(location)


def require_output(path: str | Path | None) -> None:
    """
    Check that a file can be written; None passes.

    :raises FileError: if it cannot.
    """
    if path is None:
        return
    parent = Path(path).parent
    if _kind(parent) != 'folder':
        raise FileError(f'{printable(path)}: there is no folder {printable(parent)}')
    require_writable(path)


def require_output_folder(path: str | Path | None) -> None:
    """
    Make a folder for results where it is missing, and check that it takes files; None passes.

    :raises FileError: if it cannot be made or written.
    """
    if path is not None:
        require_writable(make_folder(path) / '.r2former')


def require_rerun(path: str | None) -> None:
    """
    Check that a recording can be written; None passes.

    :raises UsageError: if rerun-sdk is not installed.
    :raises FileError: if the file cannot be written.
    """
    if path is None:
        return
    if find_spec('rerun') is None:
        raise UsageError('--rerun needs rerun-sdk', 'pip install rerun-sdk')
    require_output(path)


def _kind(path: Any) -> str:
    """Return file, folder, or an empty string for what is not there or cannot be."""
    try:
        return 'folder' if Path(path).is_dir() else 'file' if Path(path).exists() else ''
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return ''
