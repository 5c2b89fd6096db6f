# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Visual place recognition with R2Former, as a library and as a ROS 2 node.

``from r2former_ros import Recognizer`` works without importing torch or faiss here: every name
loads on first use.
"""

from importlib import import_module
from typing import Any

__version__ = '0.1.0'
__all__ = ['Frame', 'PlaceMap', 'Recognizer', '__version__', 'load_model', 'read_image']

_HOMES = {
    'Frame': '.records',
    'PlaceMap': '.maps.place_map',
    'Recognizer': '.recognizer',
    'load_model': '.model',
    'read_image': '.sources.pictures',
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_HOMES[name], __name__), name)
