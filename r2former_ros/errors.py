# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Errors that a user can cause and mend.

Each message names the value, what was expected and the remedy, in one line. The command line
prints that line and exits with 2; the node logs it and fails the transition or counts the frame.
"""


class R2FormerError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigError(R2FormerError, ValueError):
    """A configuration key is unknown, or its value has the wrong type or range."""


class ImageError(R2FormerError, ValueError):
    """An image cannot be decoded, or cannot be given to the model."""


class WeightsError(R2FormerError):
    """A weights file is missing, damaged, of another kind, or does not fit its architecture."""


class MapError(R2FormerError):
    """A map file is missing, damaged, locked, or was built by other weights."""


class BagError(R2FormerError):
    """A bag or trajectory cannot be read, or lacks the topic asked for."""


class DatasetError(R2FormerError):
    """A dataset's files are missing or contradict each other."""
