# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Options that say what is evaluated, and the map and queries that follow from them."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DatasetError, UsageError
from ..checks import (
    is_given,
    require_at_most_one,
    require_map,
    require_output_folder,
    require_owner,
    require_range,
    require_there,
)
from ..options import add_bag_source, tracked

if TYPE_CHECKING:
    from ...config import Config
    from ...evaluation.ground_truth import Protocol
    from ...evaluation.queries import Queries
    from ...evaluation.trial import BagImages, Trial
    from ...model import Model
    from ...sources.datasets import PlaceSet

EXCLUDE_S = 30.0


@dataclass(frozen=True)
class Given:
    """What was given to evaluate: a dataset, or the images of a bag; and queries elsewhere."""

    protocol: Protocol
    places: PlaceSet | None
    images: BagImages | None
    negatives: Queries | None


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the options that select what is evaluated, and when an answer is right."""
    group = parser.add_argument_group('what is evaluated')
    group.add_argument('--dataset', metavar='GT.json|DIR',
                       help='ground_truth.json, or a folder in the layout of VG or MSLS')
    group.add_argument('--split',
                       help='split to evaluate: any of a VG dataset, or val for MSLS '
                            '(default: test)')
    group.add_argument('--bag', help='a ROS 2 bag, sqlite3 or mcap, with --map or --self')
    group.add_argument('--map', metavar='M.r2map', help='the map to localize the bag on')
    group.add_argument('--self', action='store_true', dest='revisits',
                       help='loop closure: match each keyframe of the bag to its older ones')
    add_bag_source(group)
    group.add_argument('--negatives', metavar='DIR|BAG|GT.json',
                       help='queries outside the map, to measure false accepts')
    rule = parser.add_argument_group('when an answer is right')
    rule.add_argument('--positive-radius-m', type=float, metavar='M',
                      help='largest distance between query and place (default: 25)')
    rule.add_argument('--positive-angle-deg', type=float, metavar='DEG',
                      help='largest angle between their headings (default: 180, any)')
    rule.add_argument('--exclude-s', type=float, metavar='S',
                      help='for --self: ignore keyframes of the last seconds '
                           f'(default: {EXCLUDE_S:g})')
    parser.add_argument('--cache', metavar='DIR',
                        help='cache features and scores there, and resume from them')


def check_source(arguments: argparse.Namespace) -> None:
    """
    Refuse options that do not fit together, and files that are not there.

    :raises UsageError: naming the options.
    :raises R2FormerError: naming the file.
    """
    if bool(arguments.dataset) == bool(arguments.bag):
        raise UsageError('evaluate needs one of --dataset and --bag')
    if arguments.bag and bool(arguments.map) == arguments.revisits:
        raise UsageError('--bag needs one of --map and --self')
    if arguments.dataset and is_given(arguments, 'positive_angle_deg'):
        raise UsageError('--positive-angle-deg belongs to --bag: datasets give no headings')
    require_owner(arguments, 'bag', ('map', 'revisits', 'pose_topic', 'trajectory'))
    require_owner(arguments, 'bag negatives', ('image_topic',))
    require_owner(arguments, 'dataset', ('split',))
    require_owner(arguments, 'revisits', ('exclude_s',))
    require_at_most_one(arguments, 'pose_topic', 'trajectory')
    if arguments.bag and not (arguments.pose_topic or arguments.trajectory):
        raise UsageError('--bag needs --pose-topic or --trajectory to judge the answers')
    for name in ('positive_radius_m', 'positive_angle_deg'):
        if is_given(arguments, name):
            require_range(f'--{name.replace("_", "-")}', getattr(arguments, name), above=0)
    if is_given(arguments, 'exclude_s'):
        require_range('--exclude-s', arguments.exclude_s, at_least=0)
    _check_files(arguments)


def _check_files(arguments: argparse.Namespace) -> None:
    for path in (arguments.bag, arguments.trajectory, arguments.negatives):
        require_there(path)
    if arguments.map:
        require_map(arguments.map)
    if arguments.dataset and Path(arguments.dataset).is_file():
        for name, reason in (('split', 'has no splits'), ('positive_radius_m', 'lists the right '
                                                          'places, so no radius applies')):
            if is_given(arguments, name):
                raise UsageError(f'--{name.replace("_", "-")}: {arguments.dataset} {reason}',
                                 'leave it out')
    require_output_folder(arguments.cache)


def source_config(arguments: argparse.Namespace, config: Config) -> Config:
    """Let every database image of a dataset become a place; it is on disk, so store no picture."""
    from ...config import with_values

    if not arguments.dataset:
        return config
    rules = 'keyframe_distance_m', 'keyframe_angle_deg', 'keyframe_interval_s'
    return with_values(config, {'map.thumbnail_width': 0,
                                **{f'map.{rule}': 0.0 for rule in rules}})


def given_source(arguments: argparse.Namespace) -> Given:
    """
    Read what is evaluated, before a model is loaded.

    :raises R2FormerError: for a dataset, bag or trajectory that cannot be used.
    """
    from ...evaluation.queries import negative_queries

    protocol = protocol_of(arguments)
    negatives = None
    if arguments.negatives:
        negatives = negative_queries(Path(arguments.negatives), arguments.image_topic)
    if arguments.bag:
        return Given(protocol, None, bag_images(arguments), negatives)
    from ...sources.datasets import read_places

    places = read_places(arguments.dataset, arguments.split or 'test', protocol.positive_radius_m)
    if not places.queries or not places.database:
        raise DatasetError(f'{arguments.dataset}: has no queries, or no database')
    return Given(protocol, places, None, negatives)


@contextmanager
def opened_trial(
    arguments: argparse.Namespace, given: Given, model: Model, config: Config
) -> Iterator[Trial]:
    """Build the map that is evaluated, where none was given; it is removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        trial = _trial(arguments, given, model, config, Path(folder))
        if given.negatives:
            trial = replace(trial, queries=[*trial.queries, given.negatives])
        yield trial


def with_cache(arguments: argparse.Namespace, model: Model) -> Model:
    """Let the model cache its answers if that was asked for."""
    if not arguments.cache:
        return model
    from ...evaluation.cache import cached

    return cached(model, Path(arguments.cache))


def protocol_of(arguments: argparse.Namespace) -> Protocol:
    """Return when an answer is right."""
    from ...evaluation.ground_truth import Protocol

    return Protocol(**{name: getattr(arguments, name)
                       for name in ('positive_radius_m', 'positive_angle_deg')
                       if is_given(arguments, name)})


def bag_images(arguments: argparse.Namespace) -> BagImages:
    """Find the images of the bag and read where they were taken."""
    from ...evaluation.trial import BagImages
    from ...sources.bags import Bag
    from ...sources.frames import trajectory_of

    with Bag(arguments.bag) as bag:
        topic = arguments.image_topic or bag.default_image_topic()
        trajectory = trajectory_of(bag, arguments.pose_topic, arguments.trajectory)
    if trajectory is None:
        raise UsageError('--bag needs --pose-topic or --trajectory to judge the answers')
    return BagImages(Path(arguments.bag), topic, trajectory)


def _trial(
    arguments: argparse.Namespace, given: Given, model: Model, config: Config, folder: Path
) -> Trial:
    from ...evaluation import trial

    if given.places:
        return trial.dataset_trial(model, given.places, arguments.dataset, folder=folder,
                                   config=config, shown=tracked)
    assert given.images is not None  # check_source: a dataset or a bag
    if arguments.map:
        return trial.map_trial(given.images, arguments.map, given.protocol)
    exclude_s = EXCLUDE_S if arguments.exclude_s is None else arguments.exclude_s
    return trial.revisit_trial(
        model, given.images, protocol=given.protocol, exclude_s=exclude_s, folder=folder,
        config=config, shown=tracked,
    )
