# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The options that say which camera took the pictures, and how it is mounted."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from .checks import require_at_most_one, require_there

if TYPE_CHECKING:
    from ..records import Camera, MountedCamera, PosedFrame
    from ..sources.bags import Bag


def add_camera(parser: argparse.ArgumentParser, *, axes: bool = False) -> None:
    """
    Add the options of the camera.

    :param axes: the command also reads poses, whose axes an option names.
    """
    group = parser.add_argument_group('camera (for poses in metres)')
    group.add_argument('--camera-info', metavar='FILE.yaml',
                       help='intrinsics as camera_calibration writes them; default: CameraInfo '
                            'next to the image topic of a bag, or the camera of the map')
    group.add_argument('--intrinsics', nargs=6, type=float, default=None,
                       metavar=('FX', 'FY', 'CX', 'CY', 'WIDTH', 'HEIGHT'),
                       help='intrinsics in pixels, of a camera without distortion')
    group.add_argument('--base-to-camera', metavar='"X Y Z QX QY QZ QW"',
                       help='pose of the optical frame (z forward) in the frame that the poses '
                            'are about; default: /tf_static of a bag, otherwise the poses are '
                            'those of the camera itself, in body axes (x forward)')
    if not axes:
        parser.set_defaults(pose_axes='body')
        return
    group.add_argument('--pose-axes', choices=('body', 'optical'), default='body',
                       help='axes of the frame that the poses are about: optical (z forward) for '
                            "KITTI's and ORB-SLAM3's trajectories (default: body)")


def check_camera(arguments: argparse.Namespace) -> None:
    """
    Refuse options of the camera that cannot be used.

    :raises UsageError: naming options that exclude each other.
    :raises R2FormerError: naming a bad file or number.
    """
    require_at_most_one(arguments, 'camera_info', 'intrinsics')
    require_there(arguments.camera_info, 'file')
    camera_of(arguments)


def camera_of(
    arguments: argparse.Namespace, bag: Bag | None = None, image_topic: str = ''
) -> tuple[MountedCamera | None, str]:
    """
    Return the camera that the options or a bag describe, and where from, in words.

    :raises ConfigError: for a bad file, or numbers that are no camera.
    """
    from ..geometry.mounting import parsed_mounting
    from ..geometry.poses import BODY_T_OPTICAL
    from ..records import MountedCamera
    from ..sources.bag_cameras import camera_of_bag

    found, mounting, text = None, None, 'no intrinsics given'
    if bag is not None:
        found, mounting, text = camera_of_bag(bag, image_topic, arguments.pose_topic)
    given = _intrinsics(arguments)
    if given is not None:
        found, text = given, 'intrinsics as given'
    if arguments.base_to_camera:
        mounting = parsed_mounting(arguments.base_to_camera, '--base-to-camera')
    if found is None:
        return None, text
    if mounting is None:
        return MountedCamera(found, BODY_T_OPTICAL), text
    turned = BODY_T_OPTICAL @ mounting if arguments.pose_axes == 'optical' else mounting
    return MountedCamera(found, turned), text


def as_posed(
    frames: Iterator[PosedFrame], camera: MountedCamera | None, pose_axes: str
) -> Iterator[PosedFrame]:
    """Give frames their camera, and turn poses in optical axes to body axes."""
    from ..geometry.poses import BODY_T_OPTICAL, inverse

    optical_T_body = inverse(BODY_T_OPTICAL)
    for one in frames:
        pose = one.map_T_camera
        if pose is not None and pose_axes == 'optical':
            pose = pose @ optical_T_body
        yield replace(one, map_T_camera=pose, camera=camera)


def _intrinsics(arguments: argparse.Namespace) -> Camera | None:
    import numpy as np

    from ..geometry.cameras import checked, read_camera_yaml
    from ..records import Camera

    if arguments.camera_info:
        return read_camera_yaml(arguments.camera_info)
    if arguments.intrinsics:
        fx, fy, cx, cy, width, height = arguments.intrinsics
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        return checked(Camera(matrix, int(width), int(height)), '--intrinsics')
    return None
