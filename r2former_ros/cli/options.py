# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Options and output that several subcommands share."""

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
from ..errors import UsageError
from .checks import require_output_folder

if TYPE_CHECKING:
    from ..common.left_out import LeftOut
    from ..model import Model

Item = TypeVar('Item')
SHOWN_LINES = 10
LONGEST_LINE = 400
"""Characters of an error message that are printed."""


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command with a configuration takes."""
    group = parser.add_argument_group('settings (default < file < option)')
    group.add_argument('--config', metavar='FILE', help='a ROS parameter file')
    group.add_argument('--set', metavar='NAME=VALUE', action='append', default=[], dest='values',
                       help='change one setting, for example rerank.candidates=50')
    group.add_argument('--weights', help='preset or .safetensors file (model.weights)')
    group.add_argument('--device', help='auto, cpu, cuda or cuda:N (model.device)')
    group.add_argument('--print-config', action='store_true',
                       help='print the effective settings and exit')


def add_bag_source(group: argparse._ActionsContainer, *, per_bag: bool = False) -> None:
    """
    Add the options that select images and poses of a bag.

    :param per_bag: the command takes several bags, and a trajectory for each.
    """
    group.add_argument('--image-topic', metavar='T', help='required if a bag has several')
    group.add_argument('--pose-topic', metavar='T',
                       help='Odometry, PoseStamped, PoseWithCovarianceStamped or NavSatFix')
    text = 'TUM, KITTI or CSV file with poses'
    if per_bag:
        group.add_argument('--trajectory', metavar='F', action='append',
                           help=f'{text}; once per bag, in the same order')
    else:
        group.add_argument('--trajectory', metavar='F', help=text)


def add_rerun(parser: argparse.ArgumentParser) -> None:
    """Add the option that writes a recording for the Rerun viewer."""
    parser.add_argument('--rerun', metavar='FILE.rrd',
                        help='record pictures, matches, plan and scores for the Rerun viewer '
                             '(needs rerun-sdk)')


def config_from(arguments: argparse.Namespace) -> Config:
    """
    Collect the configuration of a command; with ``--print-config``, print it and exit.

    :raises ConfigError: for a bad file, name or value.
    :raises UsageError: for a ``--set`` that is not NAME=VALUE.
    """
    from ..sources.sixteen_bit import use_scaling

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
    use_scaling(config.model.sixteen_bit)
    return config


@contextmanager
def tracked(
    items: Iterable[Item], what: str, total: int | None = None
) -> Iterator[Iterator[Item]]:
    """Show a progress bar while items pass; its line ends before an error is printed."""
    with progress_bar(what, total) as bar:
        yield counted(items, bar)


def progress_bar(what: str, total: int | None = None) -> tqdm[None]:
    """Return a bar to update by hand; without a terminal it prints a line every ten seconds."""
    interval_s = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(desc=what, total=total, mininterval=interval_s, unit=' images')


def notify(text: str) -> None:
    """Print the state of long work on stderr."""
    print(text, file=sys.stderr)


def say_what_runs(model: Model) -> None:
    """Name weights and device on stderr, and warn about untrained weights."""
    name = f'{model.spec.preset} {model.fingerprint}, {model.origin.text}'
    print(f'weights: {name}; device: {model.device} ({model.backend})', file=sys.stderr)
    from ..model.loading import compiling

    if text := compiling(model):
        print(text, file=sys.stderr)
    if not model.origin.trained:
        print('untrained weights: results mean nothing', file=sys.stderr)
    elif not model.origin.reranker_trained:
        print('untrained reranker: hypotheses are ranked by similarity', file=sys.stderr)


def say_left_out(left_out: LeftOut) -> None:
    """Name the first images that were left out on stderr, and how many more there are."""
    for line in list(left_out)[:SHOWN_LINES]:
        print(f'left out: {line}', file=sys.stderr)
    if len(left_out) > SHOWN_LINES:
        print(f'left out: {len(left_out) - SHOWN_LINES} more', file=sys.stderr)


def parse_setting(text: str, option: str = '--set') -> tuple[str, Any]:
    """
    Split NAME=VALUE and read the value as YAML.

    :raises UsageError: naming the option.
    """
    name, separator, value = text.partition('=')
    if not separator or not name.strip():
        raise UsageError(f'{option} {text}: expected NAME=VALUE')
    try:
        return name.strip(), yaml.safe_load(value)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-01
        raise UsageError(f'{option} {text}: {value!r} is not YAML', 'quote it') from error


def make_folder(folder: str | Path) -> Path:
    """
    Make a folder for results before the work begins, or use the one that is there.

    :raises FileError: if it cannot be made or written.
    """
    require_output_folder(folder)
    return Path(folder)


def compact_ids(ids: Sequence[int]) -> str:
    """Write ascending ids with runs joined, as in 3, 10-20."""
    runs: list[list[int]] = []
    for one in ids:
        if runs and one == runs[-1][1] + 1:
            runs[-1][1] = one
        else:
            runs.append([one, one])
    return ', '.join(str(first) if first == last else f'{first}-{last}' for first, last in runs)


def brief(text: str) -> str:
    """Shorten what is echoed, such as a value of thousands of characters, to a line."""
    if len(text) <= LONGEST_LINE:
        return text
    half = LONGEST_LINE // 2
    return f'{text[:half]} … {text[-half:]} ({len(text)} characters)'
