# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Errors that a user can cause and mend.

A message names the value and what was expected, in one line; its remedy says what to do about it,
in words that suit the command line, the node and a script alike. Only the command line knows its
options, so it alone names them. It prints the line and exits with 2; the node logs it and fails
the transition or counts the frame.
"""


class R2FormerError(Exception):
    """
    Base of everything this package raises on purpose.

    ``str()`` gives message and remedy in one line, joined by a semicolon.
    """

    def __init__(self, message: str, remedy: str = '') -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f'{self.message}; {self.remedy}' if self.remedy else self.message


class UsageError(R2FormerError):
    """Options that are wrong or contradict each other; raised by the command line only."""


class ConfigError(R2FormerError, ValueError):
    """A configuration key is unknown, or its value has the wrong type or range."""


class FileError(R2FormerError):
    """A file cannot be read or written, whatever it holds."""


class ImageError(R2FormerError, ValueError):
    """A picture cannot be read or decoded, or the model cannot take it."""


class WeightsError(R2FormerError):
    """A weights file is missing, damaged, of another kind, or does not fit its architecture."""


class MapError(R2FormerError):
    """A map is missing, damaged, locked, or was built with other weights."""


class BagError(R2FormerError):
    """A bag is missing or damaged, or lacks the topic asked for."""


class PoseError(R2FormerError, ValueError):
    """Numbers that are no pose, or a file of poses that is not what it should be."""


class DatasetError(R2FormerError):
    """The files of a dataset are missing or contradict each other."""
