# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former map build``: a map from a bag, a folder of pictures or a dataset."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cameras import add_camera, as_posed, camera_of, check_camera
from ..checks import (
    require_at_most_one,
    require_map,
    require_new_map,
    require_owner,
    require_there,
)
from ..options import add_bag_source, add_common, config_from, say_left_out, say_what_runs, tracked

if TYPE_CHECKING:
    from ...maps.sessions import Source
    from ...records import PosedFrame


@dataclass(frozen=True)
class Input:
    """Frames to map, their number and where they come from."""

    frames: Iterator[PosedFrame]
    total: int
    source: Source
    origin: tuple[float, float] | None = None
    camera: str = ''
    """What is known about the camera, in words."""


def add_parser(actions: Any) -> None:
    """Register the action."""
    text = 'Build a map from a bag, a folder of pictures with or without poses, or a dataset.'
    parser = actions.add_parser('build', help='build a map, or add a session', description=text)
    parser.add_argument('out', metavar='OUT.r2map')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--bag', help='a ROS 2 bag, sqlite3 or mcap')
    source.add_argument('--images', metavar='DIR', help='a folder of pictures')
    source.add_argument('--dataset', metavar='GT.json|DIR',
                        help='its database images become places without poses')
    add_bag_source(parser.add_argument_group('with --bag'))
    parser.add_argument('--poses', metavar='CSV',
                        help='for --images: file, x_m, y_m, yaw_rad (and z_m, t_s or stamp_ns)')
    add_camera(parser, axes=True)
    how = parser.add_mutually_exclusive_group()
    how.add_argument('--append', action='store_true', help='add a session to an existing map')
    how.add_argument('--resume', action='store_true',
                     help='continue an interrupted build')
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Build a map, append to one, or resume one."""
    config = config_from(arguments)
    check(arguments)
    from ...common.left_out import LeftOut
    from ...mapping.build import MapBuilder
    from ...maps.place_map import PlaceMap
    from ...model.loading import load_configured

    left_out = LeftOut()
    with ExitStack() as stack:
        given = _with_camera(arguments, _input(arguments, stack, left_out.add))
        model = load_configured(config)
        say_what_runs(model)
        with tracked(given.frames, 'map', given.total) as shown:
            builder = MapBuilder(model, config, source=given.source, origin=given.origin,
                                 left_out=left_out)
            make = builder.append if arguments.append else \
                builder.resume if arguments.resume else builder.new
            summary = make(arguments.out, shown)
    with PlaceMap.open(arguments.out) as place_map:
        size_mb = place_map.byte_size() / 2**20
    say_left_out(left_out)
    note = '' if model.origin.trained else ' [untrained weights]'
    present = f'{summary.present} already there, ' if arguments.resume else ''
    print(f'{arguments.out}: {summary.added} places added, {present}{summary.between} frames '
          f'between keyframes, {len(left_out)} left out, {size_mb:.1f} MiB{note}')
    why = summary.no_landmarks or given.camera
    print(f'landmarks for {summary.landmarks} places ({why})', file=sys.stderr)


def check(arguments: argparse.Namespace) -> None:
    """
    Refuse options that do not fit together, and files that cannot be read or written.

    :raises UsageError: naming the options.
    :raises R2FormerError: naming the file.
    """
    require_owner(arguments, 'bag', ('image_topic', 'pose_topic', 'trajectory'))
    require_owner(arguments, 'images', ('poses',))
    require_at_most_one(arguments, 'pose_topic', 'trajectory')
    check_camera(arguments)
    for path in (arguments.bag, arguments.images, arguments.dataset):
        require_there(path)
    for path in (arguments.poses, arguments.trajectory):
        require_there(path, 'file')
    if arguments.append:
        require_map(arguments.out, writable=True)
    elif not arguments.resume:
        require_new_map(arguments.out)


def _input(
    arguments: argparse.Namespace, stack: ExitStack, on_bad: Callable[[str], None]
) -> Input:
    """Open the source of frames and count them."""
    from ...maps.sessions import Source
    from ...sources.datasets import read_places
    from ...sources.frames import count_pictures, frames_of_dataset, frames_of_folder

    kind = 'images' if arguments.images else 'dataset' if arguments.dataset else 'bag'
    source = Source(kind, str(Path(getattr(arguments, kind)).resolve()))
    if kind == 'images':
        total = count_pictures(arguments.images, arguments.poses)
        return Input(frames_of_folder(arguments.images, arguments.poses, on_bad), total, source)
    if kind == 'dataset':
        total = len(read_places(arguments.dataset).database)
        return Input(frames_of_dataset(arguments.dataset, on_bad), total, source)
    return _bag_input(arguments, stack, on_bad, source)


def _with_camera(arguments: argparse.Namespace, given: Input) -> Input:
    """Tell the frames which camera took them."""
    from ...sources.bags import Bag

    if given.source.kind != 'bag':
        camera, text = camera_of(arguments)
    else:
        with Bag(arguments.bag) as bag:
            topic = arguments.image_topic or bag.default_image_topic()
            camera, text = camera_of(arguments, bag, topic)
    frames = as_posed(given.frames, camera, arguments.pose_axes)
    return replace(given, frames=frames, camera=text)


def _bag_input(
    arguments: argparse.Namespace, stack: ExitStack, on_bad: Callable[[str], None], source: Source
) -> Input:
    from ...sources.bags import Bag
    from ...sources.frames import frames_of_bag, trajectory_of

    bag = stack.enter_context(Bag(arguments.bag))
    topic = arguments.image_topic or bag.default_image_topic()
    origin = _origin(arguments)
    trajectory = trajectory_of(bag, arguments.pose_topic, arguments.trajectory, origin)
    frames = frames_of_bag(bag, topic, trajectory, on_bad)
    return Input(frames, bag.image_count(topic), source, trajectory.origin if trajectory else None)


def _origin(arguments: argparse.Namespace) -> tuple[float, float] | None:
    """Return the geographic origin of the map to extend: all sessions share it."""
    from ...maps.place_map import PlaceMap, map_exists
    from ...maps.sessions import origin_of

    if not (arguments.append or (arguments.resume and map_exists(arguments.out))):
        return None
    with PlaceMap.open(arguments.out) as place_map:
        return origin_of(place_map)
