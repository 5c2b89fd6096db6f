# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Options and lines that several subcommands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from tqdm import tqdm

from ..common.progress import counted
from ..config import Config, load_yaml, to_yaml, with_values
from ..errors import ConfigError

if TYPE_CHECKING:
    from ..model import Model

Item = TypeVar('Item')


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command takes."""
    group = parser.add_argument_group('settings (default < file < option)')
    group.add_argument('--config', metavar='FILE', help='a ROS parameter file')
    group.add_argument('--set', metavar='NAME=VALUE', action='append', default=[], dest='values',
                       help='change one setting, such as rerank.candidates=50')
    group.add_argument('--weights', help='preset or .safetensors file (model.weights)')
    group.add_argument('--device', help='auto, cpu, cuda or cuda:N (model.device)')
    group.add_argument('--print-config', action='store_true',
                       help='print the effective settings and exit')


def config_from(arguments: argparse.Namespace) -> Config:
    """
    Collect the configuration of a command; exits after printing it where that was asked.

    :raises ConfigError: for a bad file, name or value.
    """
    config = load_yaml(arguments.config) if arguments.config else Config()
    values = dict(parse_setting(text) for text in arguments.values)
    if arguments.weights:
        values['model.weights'] = arguments.weights
    if arguments.device:
        values['model.device'] = arguments.device
    config = with_values(config, values)
    if arguments.print_config:
        print(to_yaml(config), end='')
        sys.exit(0)
    return config


@contextmanager
def progress(
    items: Iterable[Item], what: str, total: int | None = None
) -> Iterator[Iterator[Item]]:
    """Show a progress bar while items pass; it ends its line before an error is printed."""
    with progress_bar(what, total) as bar:
        yield counted(items, bar)


def progress_bar(what: str, total: int | None = None) -> tqdm[None]:
    """Return a bar to update by hand; where no terminal shows it, a line every ten seconds."""
    interval_s = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(desc=what, total=total, mininterval=interval_s, unit=' images')


def notify(text: str) -> None:
    """Print on stderr how far long work has come."""
    print(text, file=sys.stderr)


def say_what_runs(model: Model) -> None:
    """Name weights and device on stderr; untrained ones cannot be mistaken for results."""
    name = f'{model.spec.preset} {model.fingerprint}, {model.origin.text}'
    print(f'weights: {name}; device: {model.device} ({model.backend})', file=sys.stderr)
    if not model.origin.trained:
        print('untrained weights: results mean nothing', file=sys.stderr)
    elif not model.origin.reranker_trained:
        print('untrained reranker: hypotheses are ranked by similarity', file=sys.stderr)


def parse_setting(text: str, option: str = '--set') -> tuple[str, Any]:
    """
    Split NAME=VALUE; the value is read as YAML.

    :raises ConfigError: naming the option, if it is neither.
    """
    name, separator, value = text.partition('=')
    if not separator:
        raise ConfigError(f'{option} {text}: expected NAME=VALUE')
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f'{option} {text}: {value!r} is not YAML; quote it') from error


def make_folder(folder: str | Path, option: str = '--out') -> Path:
    """
    Make a folder for results before the work begins, or take the one that is there.

    :raises ConfigError: naming the option, if that cannot be.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'{option} {folder}: cannot be made ({error.strerror})') from error
    return Path(folder)


def compact_ids(ids: Sequence[int]) -> str:
    """Write ascending ids with their runs joined, as in 3, 10-20."""
    runs: list[list[int]] = []
    for one in ids:
        if runs and one == runs[-1][1] + 1:
            runs[-1][1] = one
        else:
            runs.append([one, one])
    return ', '.join(str(first) if first == last else f'{first}-{last}' for first, last in runs)
