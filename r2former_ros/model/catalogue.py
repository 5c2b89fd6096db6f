# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weights by name: those in the package, those of the authors, and those that a file lists."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from ..common.files import read_text
from ..errors import WeightsError
from .checkpoint import BUNDLED, SUFFIXES, downloaded_weights, load_network, save_weights
from .download import CHUNK, download

Progress = Callable[[int, int], None]
"""Gets the bytes that are there and the bytes in all, 0 where the server does not say."""


@dataclass(frozen=True)
class Entry:
    """
    Weights that can be got by name.

    Without an ``address`` of a file, ``page`` says where a person finds it. An empty ``sha256``
    is not checked; ``size`` is in bytes, 0 if unknown.
    """

    name: str
    text: str
    licence: str = 'unknown'
    address: str = ''
    page: str = ''
    sha256: str = ''
    size: int = 0


KNOWN = (
    Entry('r2former-tiny', 'bundled: DeiT-Ti, made from unlabelled images', 'Apache-2.0'),
    Entry(
        'r2former-small-msls', 'of the authors: DeiT-S with reranker, trained on MSLS '
        '(CVPR23_DeitS_Rerank.pth)', 'none stated',
        page='https://drive.google.com/drive/folders/14dkj0o0NpAD_1MB0Kqt7NiGxR5ekOdN_'),
    Entry(
        'r2former-small-msls-retrieval', 'of the authors: DeiT-S, retrieval only, trained on MSLS '
        '(msls_v2_deits.pth)', 'none stated',
        address='https://drive.usercontent.google.com/download'
                '?id=1XBNjbbNUrp6NIv6REHrMLdHFw5joustx&export=download&confirm=t',
        page='https://drive.google.com/file/d/1XBNjbbNUrp6NIv6REHrMLdHFw5joustx/view'),
)


def entries(catalogue: Path | None = None) -> dict[str, Entry]:
    """
    Return everything that has a name; entries of a file go before those of the package.

    :param catalogue: a YAML list of mappings with the fields of ``Entry``.
    :raises FileError: if the file cannot be read.
    :raises WeightsError: if it is not such a list.
    """
    own = _read(catalogue) if catalogue else []
    return {entry.name: entry for entry in (*KNOWN, *own)}


def is_here(entry: Entry) -> bool:
    """Say whether weights can be used by their name."""
    return entry.name in BUNDLED or downloaded_weights(entry.name).is_file()


def get(entry: Entry, progress: Progress, half: bool = False) -> Path:
    """
    Download weights, check and convert them, unless they are here; return the file.

    A download that was interrupted resumes.

    :param half: store float16.
    :raises WeightsError: if the server cannot be reached, or sends something else.
    """
    if is_here(entry):
        return BUNDLED.get(entry.name) or downloaded_weights(entry.name)
    if not entry.address:
        raise WeightsError(f'{entry.name}: has no address to download from; {_by_hand(entry)}')
    target = downloaded_weights(entry.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix('.download')
    try:
        download(entry.address, part, progress)
    except WeightsError as error:
        raise WeightsError(f'{error}; {_by_hand(entry)}') from error
    found = _sha256(part)
    if entry.sha256 and found != entry.sha256:
        part.unlink()
        raise WeightsError(f'{entry.address}: has the SHA-256 {found}, not {entry.sha256}; it was '
                           'removed, try again')
    _convert(part, target, half)
    part.unlink()
    return target


def _convert(part: Path, target: Path, half: bool) -> None:
    """
    Read what was downloaded, whatever kind it is, and write it as weights of this package.

    :raises WeightsError: if it is not weights.
    """
    with TemporaryDirectory(dir=target.parent) as folder:
        with part.open('rb') as file:
            is_zip = file.read(2) == b'PK'  # as torch.save writes
        named = Path(folder) / f'{target.stem}{".pth" if is_zip else SUFFIXES[0]}'
        named.hardlink_to(part)
        save_weights(load_network(named), target, half=half)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _by_hand(entry: Entry) -> str:
    return (f'download it from {entry.page or entry.address} with a browser, then run '
            f'r2former weights convert FILE {downloaded_weights(entry.name)}')


def _read(path: Path) -> list[Entry]:
    known = {item.name for item in fields(Entry)}
    try:
        rows: Any = yaml.safe_load(read_text(path))
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise WeightsError(f'{path}: expected a list of entries')
        for row in rows:
            if unknown := sorted(set(map(str, row)) - known):
                raise WeightsError(f'{path}: {", ".join(unknown)}: no such field; known are '
                                   f'{", ".join(sorted(known))}')
        return [Entry(**row) for row in rows]
    except yaml.YAMLError as error:
        raise WeightsError(f'{path}: is not YAML ({" ".join(str(error).split())})') from error
    except TypeError as error:
        raise WeightsError(f'{path}: an entry needs a name and a text ({error})') from error
