# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The command line: one subcommand per file, one place where errors become a line.

The exit code is 0 on success and 2, with one line, on a user's mistake. Heavy imports wait until
a subcommand runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from .. import __version__
from ..common.process import prepare_process
from ..errors import R2FormerError
from .options import brief

COMMANDS = ('demo', 'localize', 'map', 'evaluate', 'play', 'encode', 'weights', 'train', 'bench',
            'completion')
MODULES = {'map': '.map', 'evaluate': '.evaluate'}
MISTAKE = 2
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Report a wrong command line in one line, and refuse empty values."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.register('type', None, _not_empty)

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(MISTAKE, f'{self.prog}: {brief(message)} (see {self.prog} --help)\n')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    prepare_process()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be UTF-8
        sys.stdout.reconfigure(errors='backslashreplace')
    parser = make_parser()
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except R2FormerError as error:
        return _mistake(str(error))
    except KeyboardInterrupt:
        print('r2former: interrupted', file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in | head
        sys.stderr.close()
        return 0
    except OSError as error:  # such as a full disk
        name = f'{error.filename}: ' if error.filename else ''
        return _mistake(f'{name}{error.strerror or error}')


def make_parser() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(
        prog='r2former',
        description='Visual place recognition with R2Former: build a map, localize, replay.',
    )
    parser.add_argument('--version', action='version', version=f'r2former_ros {__version__}')
    commands = parser.add_subparsers(required=True, metavar='COMMAND', parser_class=Parser)
    for name in COMMANDS:
        import_module(MODULES.get(name, f'.{name}_command'), __name__).add_parser(commands)
    return parser


def _mistake(text: str) -> int:
    print(f'r2former: {brief(text)}', file=sys.stderr)
    return MISTAKE


def _not_empty(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError('is empty')
    return text
