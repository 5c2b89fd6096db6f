# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Options that say what is evaluated, and the map and queries that follow from them."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigError, DatasetError
from ..options import progress

if TYPE_CHECKING:
    from ...config import Config
    from ...evaluation.ground_truth import Protocol
    from ...evaluation.trial import BagImages, Trial
    from ...model import Model


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the options of what is evaluated, and when an answer is right."""
    group = parser.add_argument_group('what is evaluated')
    group.add_argument('--dataset', metavar='GT.json|DIR',
                       help='ground_truth.json, or a folder in the layout of VG or MSLS')
    group.add_argument('--split', default='test',
                       help='of a VG dataset, or val for MSLS (default: test)')
    group.add_argument('--bag', help='a ROS 2 bag, sqlite3 or mcap, with --map or --self')
    group.add_argument('--map', metavar='M.r2map', help='the map that the bag is put to')
    group.add_argument('--self', action='store_true', dest='revisits',
                       help='loop closure: each keyframe of the bag among its older ones')
    group.add_argument('--image-topic', metavar='T', help='needed if the bag has several')
    group.add_argument('--pose-topic', metavar='T',
                       help='Odometry, PoseStamped, PoseWithCovarianceStamped or NavSatFix')
    group.add_argument('--trajectory', metavar='F', help='TUM, KITTI or CSV file with poses')
    group.add_argument('--negatives', metavar='DIR|BAG|GT.json',
                       help='queries outside the map, for false accepts')
    rule = parser.add_argument_group('when an answer is right')
    rule.add_argument('--positive-radius-m', type=float, metavar='M',
                      help='largest distance of query and place (default: 25)')
    rule.add_argument('--positive-angle-deg', type=float, metavar='DEG',
                      help='largest difference of their headings (default: 180, any)')
    rule.add_argument('--exclude-s', type=float, default=30.0, metavar='S',
                      help='for --self: keyframes of the last seconds are left out (default: 30)')
    parser.add_argument('--cache', metavar='DIR',
                        help='keep features and scores there, and go on from them')


def check_source(arguments: argparse.Namespace) -> None:
    """
    Refuse options that do not fit together.

    :raises ConfigError: naming them.
    """
    if bool(arguments.dataset) == bool(arguments.bag):
        raise ConfigError('evaluate needs one of --dataset and --bag')
    if arguments.bag and bool(arguments.map) == arguments.revisits:
        raise ConfigError('--bag needs one of --map and --self')
    if arguments.dataset and (arguments.map or arguments.revisits):
        raise ConfigError('--map and --self belong to --bag')
    if arguments.dataset and arguments.positive_angle_deg is not None:
        raise ConfigError('--positive-angle-deg belongs to --bag: datasets give no headings')
    if arguments.bag and not (arguments.pose_topic or arguments.trajectory):
        raise ConfigError('--bag needs --pose-topic or --trajectory to judge the answers')
    if not arguments.exclude_s >= 0:
        raise ConfigError(f'--exclude-s {arguments.exclude_s:g}: must not be negative')


def source_config(arguments: argparse.Namespace, config: Config) -> Config:
    """A dataset's database images all become places, and lie on disk already."""
    from ...config import with_values

    if not arguments.dataset:
        return config
    rules = 'keyframe_distance_m', 'keyframe_angle_deg', 'keyframe_interval_s'
    return with_values(config, {'map.thumbnail_width': 0,
                                **{f'map.{rule}': 0.0 for rule in rules}})


@contextmanager
def opened_trial(
    arguments: argparse.Namespace, model: Model, config: Config
) -> Iterator[Trial]:
    """Make what is evaluated; maps of its own are removed at the end."""
    from ...evaluation.queries import negative_queries

    with tempfile.TemporaryDirectory() as folder:
        trial = _trial(arguments, model, config, Path(folder))
        if arguments.negatives:
            extra = negative_queries(Path(arguments.negatives), arguments.image_topic)
            trial = replace(trial, queries=[*trial.queries, extra])
        yield trial


def with_cache(arguments: argparse.Namespace, model: Model) -> Model:
    """Let the model keep its answers where that was asked for."""
    if not arguments.cache:
        return model
    from ...evaluation.cache import cached

    return cached(model, Path(arguments.cache))


def protocol_of(arguments: argparse.Namespace) -> Protocol:
    """
    Return when an answer is right.

    :raises ConfigError: for values that make no sense.
    """
    from ...evaluation.ground_truth import Protocol

    named = {name: getattr(arguments, name)
             for name in ('positive_radius_m', 'positive_angle_deg')
             if getattr(arguments, name) is not None}
    for name, value in named.items():
        if not value > 0:
            option = name.replace('_', '-')
            raise ConfigError(f'--{option} {value:g}: must be above 0')
    return Protocol(**named)


def bag_images(arguments: argparse.Namespace) -> BagImages:
    """Find the images of the bag and read where they were taken."""
    from ...evaluation.trial import BagImages
    from ...sources.bags import Bag
    from ...sources.frames import trajectory_of

    with Bag(arguments.bag) as bag:
        topic = arguments.image_topic or bag.default_image_topic()
        trajectory = trajectory_of(bag, arguments.pose_topic, arguments.trajectory)
    if trajectory is None:
        raise ConfigError('--bag needs --pose-topic or --trajectory to judge the answers')
    return BagImages(Path(arguments.bag), topic, trajectory)


def _trial(
    arguments: argparse.Namespace, model: Model, config: Config, folder: Path
) -> Trial:
    from ...evaluation import trial

    protocol = protocol_of(arguments)
    if arguments.dataset:
        from ...sources.datasets import read_places

        places = read_places(arguments.dataset, arguments.split, protocol.positive_radius_m)
        if not places.queries or not places.database:
            raise DatasetError(f'{arguments.dataset}: has no queries, or no database')
        return trial.dataset_trial(
            model, places, arguments.dataset, folder=folder, config=config, shown=progress
        )
    images = bag_images(arguments)
    if arguments.map:
        return trial.map_trial(images, arguments.map, protocol)
    return trial.revisit_trial(
        model, images, protocol=protocol, exclude_s=arguments.exclude_s, folder=folder,
        config=config, shown=progress,
    )
