# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which files a bag consists of, as recorders and tools leave them.

``metadata.yaml`` is only asked for the names and the order of the files: what it says about
topics and counts may be stale, so the files themselves are asked.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import yaml

from ..common.files import read_text
from ..common.text import natural
from ..errors import BagError

SUFFIXES = ('.mcap', '.db3')
ZSTD = '.zstd'
METADATA = 'metadata.yaml'

_logger = logging.getLogger(__name__)
_SPLIT = re.compile(r'^\d+_|_\d+$|_\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d$')
"""What rosbag2 adds to the name of a split file: NAME_0, and 0_NAME_2026_05_22-10_30_00."""


class Metadata(NamedTuple):
    """What ``metadata.yaml`` says: names of files in the order of recording, and a count."""

    files: list[str]
    message_count: int | None


def bag_files(path: Path) -> list[Path]:
    """
    Return the files of a bag in the order of recording; one, if the path is a file.

    :raises BagError: if the path is not a bag, or a file is missing.
    """
    if not path.exists():
        raise BagError(f'{path}: does not exist', 'give a bag directory, a .mcap or a .db3 file')
    if path.is_file():
        return [_single(path)]
    metadata = metadata_of(path)
    return _all_in(path) if metadata is None else _listed(path, metadata.files)


def metadata_of(folder: Path) -> Metadata | None:
    """
    Read ``metadata.yaml`` of a bag directory, None where there is none.

    :raises BagError: if it is not that of a bag.
    """
    path = folder / METADATA
    if not path.is_file():
        return None
    try:
        content: Any = yaml.safe_load(read_text(path))['rosbag2_bagfile_information']
        names = [PurePath(str(name)).name for name in content['relative_file_paths']]
        count = content.get('message_count')
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        reason = ' '.join(str(error).split())
        raise BagError(f'{path}: cannot be read as the metadata of a bag ({reason})',
                       'ros2 bag reindex writes it again; without it, all files are read') \
            from error
    return Metadata(names, count if isinstance(count, int) else None)


def storage_suffix(path: Path) -> str:
    """Return .mcap or .db3, also of a compressed file; '' for any other."""
    suffix = path.with_suffix('').suffix if path.suffix == ZSTD else path.suffix
    return suffix if suffix in SUFFIXES else ''


def _single(path: Path) -> Path:
    if not storage_suffix(path):
        remedy = 'rosbags-convert makes one of a ROS 1 bag' if path.suffix == '.bag' else ''
        raise BagError(f'{path}: is not a ROS 2 bag (directory, .mcap or .db3)', remedy)
    others = _siblings(path)
    if others:
        _logger.warning('%s: is one of %d files of a split bag; give %s to read all of them',
                        path, len(others), path.parent)
    return path


def _siblings(path: Path) -> list[str]:
    """Return the names of the files of the split bag that a file belongs to, if it does."""
    try:
        metadata = metadata_of(path.parent)
    except BagError:
        return []
    names = metadata.files if metadata else []
    return names if len(names) > 1 and path.name in names else []


def _listed(folder: Path, names: list[str]) -> list[Path]:
    """Return the files that the metadata names."""
    found = [_present(folder / name) for name in names]
    missing = [name for name, path in zip(names, found) if path is None]
    if missing:
        raise BagError(f'{folder}: {", ".join(missing)} is missing, which {METADATA} lists',
                       f'restore it, or remove {METADATA} to read the other files')
    files = [path for path in found if path is not None]
    known = {_stem(path) for path in files}
    others = [path.name for path in _candidates(folder) if _stem(path) not in known]
    if others:
        _logger.warning('%s: leaves out %s, which %s does not list; ros2 bag reindex adds them',
                        folder, ', '.join(others), METADATA)
    return files


def _present(path: Path) -> Path | None:
    """Return a file, or what (un)packing has made of it."""
    twin = path.with_suffix('') if path.suffix == ZSTD else path.with_name(f'{path.name}{ZSTD}')
    return next((one for one in (path, twin) if one.is_file()), None)


def _all_in(folder: Path) -> list[Path]:
    """Return all files of a directory without metadata: a recorder that was killed left it."""
    by_stem = {_stem(path): path for path in reversed(_candidates(folder))}
    files = sorted(by_stem.values(), key=lambda path: natural(path.name))
    if not files:
        raise BagError(f'{folder}: is not a bag directory, it holds no .mcap or .db3 file')
    bags = {(_bag_name(path), storage_suffix(path)) for path in files}
    if len(bags) > 1:
        raise BagError(f'{folder}: has no {METADATA} and holds files of {len(bags)} bags',
                       f'give one of {", ".join(path.name for path in files)}')
    _logger.warning('%s: has no %s, as if the recorder was killed; reads %s', folder, METADATA,
                    ', '.join(path.name for path in files))
    return files


def _candidates(folder: Path) -> list[Path]:
    """Return the storage files in a directory, plain ones before compressed ones."""
    files = [path for path in folder.iterdir() if path.is_file() and storage_suffix(path)]
    return sorted(files, key=lambda path: (path.suffix == ZSTD, path.name))


def _stem(path: Path) -> str:
    """Return the name without .zstd."""
    return path.stem if path.suffix == ZSTD else path.name


def _bag_name(path: Path) -> str:
    """Return the name of the recording that a file belongs to."""
    name = Path(_stem(path)).stem
    while (shorter := _SPLIT.sub('', name)) not in ('', name):
        name = shorter
    return name
