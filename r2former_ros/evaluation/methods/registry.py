# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ways to rank places, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...errors import ConfigError
from ...maps.place_map import PlaceMap
from ...model import Model
from ..outcomes import RERANK, RETRIEVAL
from ..runner import Method
from . import classical
from .ransac import RansacRanking

ALWAYS = (RETRIEVAL, RERANK)
IMAGE_METHODS: dict[str, Callable[[PlaceMap], Method]] = {
    'hog': classical.hog,
    'sad': classical.sad,
    'vlad': classical.vlad,
}
METHODS = (*ALWAYS, RansacRanking.name, *IMAGE_METHODS)


def parse_methods(text: str) -> list[str]:
    """
    Split a comma-separated list; retrieval and rerank always run and come first.

    :raises ConfigError: for an unknown name.
    """
    names = [name.strip() for name in text.split(',') if name.strip()]
    for name in names:
        if name not in METHODS:
            raise ConfigError(f'{name}: no such method', f'choose from {", ".join(METHODS)}')
    return [name for name in METHODS if name in ALWAYS or name in names]


def make_methods(
    names: Sequence[str], place_map: PlaceMap, model: Model
) -> list[Method]:
    """Prepare the methods other than retrieval and reranking on a map."""
    made: list[Method] = []
    for name in names:
        if name == RansacRanking.name:
            made.append(RansacRanking(place_map, model.spec.input))
        elif name in IMAGE_METHODS:
            made.append(IMAGE_METHODS[name](place_map))
    return made
