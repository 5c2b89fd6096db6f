# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames with poses, from a bag or from a folder of pictures, in the order of driving."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import BagError, DatasetError, ImageError
from ..geometry.trajectories import Trajectory, read_image_poses
from ..records import Frame, PosedFrame, StampedPose
from .bags import Bag
from .datasets import read_places
from .pictures import read_image

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
POSE_TOLERANCE_NS = 200_000_000
"""A frame this much before the first pose or after the last one takes that pose."""

OnBad = Callable[[str], None]


def frames_of_bag(
    bag: Bag, topic: str, trajectory: Trajectory | None, on_bad: OnBad
) -> Iterator[PosedFrame]:
    """
    Read the images of a bag, each with the pose of its stamp.

    With a trajectory, a frame whose time it does not cover is passed to ``on_bad`` and left out.
    """
    def report(error: ImageError) -> None:
        on_bad(str(error))

    for frame in bag.images(topic, on_bad_frame=report):
        pose = None
        if trajectory is not None:
            pose = trajectory.at(frame.stamp_ns, POSE_TOLERANCE_NS)
            if pose is None:
                on_bad(f'no pose at stamp {frame.stamp_ns}')
                continue
        yield PosedFrame(frame, pose, frame_name(bag.path, topic, frame.stamp_ns))


def frame_name(bag: Path, topic: str, stamp_ns: int) -> str:
    """Name an image of a bag."""
    return f'{bag.name}:{topic}:{stamp_ns}'


def trajectory_of(
    bag: Bag, topic: str | None, path: str | None, origin: tuple[float, float] | None = None
) -> Trajectory | None:
    """
    Read the poses of a bag, from a topic of it or from a file; None where neither is given.

    :param origin: of satellite fixes, latitude and longitude; the first fix where none is given.
    :raises BagError: if both are given, or what is given cannot be read.
    """
    if topic and path:
        raise BagError('give --pose-topic or --trajectory, not both')
    if topic:
        return bag.trajectory(topic, origin)
    if path:
        from ..geometry.trajectories import read_trajectory
        return read_trajectory(path)
    return None


def frames_of_folder(
    folder: str | Path, poses_path: str | Path | None, on_bad: OnBad
) -> Iterator[PosedFrame]:
    """
    Read the pictures of a folder: in the order of the pose file, or of their names without one.

    :raises DatasetError: if the folder is missing or holds no pictures.
    """
    folder = Path(folder)
    for path, stamped in _pictures(folder, poses_path):
        try:
            image = read_image(path)
        except ImageError as error:
            on_bad(str(error))
            continue
        stamp_ns = stamped.stamp_ns if stamped else 0
        pose = stamped.pose if stamped else None
        yield PosedFrame(Frame(stamp_ns, image), pose, str(path.relative_to(folder)))


def frames_of_dataset(path: str | Path, on_bad: OnBad) -> Iterator[PosedFrame]:
    """
    Read the database images of a dataset; place id n of a new map is row n - 1, if none is bad.

    :raises DatasetError: if it is no dataset.
    """
    for picture in read_places(path).database:
        try:
            frame = Frame(0, read_image(picture))
        except ImageError as error:
            on_bad(str(error))
            continue
        yield PosedFrame(frame, None, str(picture.relative_to(dataset_folder(path))))


def dataset_folder(path: str | Path) -> Path:
    """Return the folder that the pictures of a dataset are named from."""
    return Path(path) if Path(path).is_dir() else Path(path).parent


def count_pictures(folder: str | Path, poses_path: str | Path | None) -> int:
    """Return how many pictures ``frames_of_folder`` will try to read."""
    return len(_pictures(Path(folder), poses_path))


def _pictures(
    folder: Path, poses_path: str | Path | None
) -> list[tuple[Path, StampedPose | None]]:
    if not folder.is_dir():
        raise DatasetError(f'{folder}: no such folder of pictures')
    if poses_path:
        return [(folder / name, pose) for name, pose in read_image_poses(poses_path).items()]
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not found:
        raise DatasetError(f'{folder}: holds no pictures ({" ".join(PICTURES)})')
    return [(path, None) for path in found]
