# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Download one file, with progress; an interrupted download resumes."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ..common.files import writing
from ..errors import WeightsError

CHUNK = 1 << 18
TIMEOUT_S = 30.0
PARTIAL, BEYOND_THE_END = 206, 416


def download(address: str, path: Path, progress: Callable[[int, int], None]) -> None:
    """
    Write what an address sends to a file, or append what is missing.

    :param path: bytes that it holds already are not asked for again.
    :param progress: gets the bytes that are there and those in all, 0 where that is unknown.
    :raises WeightsError: if the server cannot be reached, refuses, stops early, or sends a page
        to be read instead of a file.
    """
    held = path.stat().st_size if path.exists() else 0
    request = Request(address, headers={'Range': f'bytes={held}-'} if held else {})
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:
            _receive(response, path, held, progress)
    except HTTPError as error:
        if error.code == BEYOND_THE_END and held:
            return  # it was complete
        raise WeightsError(f'{address}: the server answers {error.code} {error.reason}') from error
    except (URLError, HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        reason = getattr(error, 'reason', error)
        raise WeightsError(f'{address}: cannot be downloaded ({reason})') from error


def _receive(
    response: HTTPResponse, path: Path, held: int, progress: Callable[[int, int], None]
) -> None:
    if response.headers.get_content_type() == 'text/html':
        raise WeightsError(f'{response.url}: sends a page instead of a file')
    held = held if response.status == PARTIAL else 0
    length = int(response.headers.get('Content-Length') or 0)
    total = held + length if length else 0
    with writing(path):
        file = path.open('ab' if held else 'wb')
    with file:
        while chunk := response.read(CHUNK):
            with writing(path):
                file.write(chunk)
            held += len(chunk)
            progress(held, total)
    if held < total:
        raise WeightsError(f'{response.url}: ended after {held:,} of {total:,} bytes; try again, '
                           'it resumes')
