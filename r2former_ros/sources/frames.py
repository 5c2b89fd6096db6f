# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames with poses, from a bag, a folder of pictures or a dataset, in the order of driving."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import BagError, DatasetError, ImageError
from ..geometry.trajectories import POSE_TOLERANCE_NS, Trajectory
from ..records import Frame, PosedFrame, StampedPose
from .bags import Bag
from .datasets import read_places
from .pictures import PICTURES, is_picture, read_image
from .trajectory_files import read_image_poses, read_trajectory

OnBad = Callable[[str], None]


def frames_of_bag(
    bag: Bag, topic: str, trajectory: Trajectory | None, on_bad: OnBad
) -> Iterator[PosedFrame]:
    """
    Read the images of a bag, each with the pose of its stamp.

    With a trajectory, a frame whose time it does not cover is passed to ``on_bad`` and left out.
    So is one whose stamp occurred before the clock was set back, if the trajectory does not know
    that: it could be of either run.
    """
    def report(error: ImageError) -> None:
        on_bad(str(error))

    clock = _StampClock()
    for frame, lag_ns in bag.recorded_images(topic, on_bad_frame=report):
        pose = None
        again = clock.repeats(frame.stamp_ns)
        if trajectory is not None:
            pose = trajectory.at(frame.stamp_ns, POSE_TOLERANCE_NS, lag_ns)
            if pose is None:
                on_bad(f'no pose at stamp {frame.stamp_ns}')
                continue
            if again and len(trajectory.starts) == 1:
                on_bad(f'stamp {frame.stamp_ns} occurs again after the clock was set back, so '
                       'its pose is not known')
                continue
        yield PosedFrame(frame, pose, frame_name(bag.path, topic, frame.stamp_ns))


class _StampClock:
    """Tells the stamps that a clock showed before it was set back."""

    def __init__(self) -> None:
        self._latest_ns = self._repeated_until_ns = -2**63

    def repeats(self, stamp_ns: int) -> bool:
        """Take the next stamp; say whether an earlier run may have had it, too."""
        if stamp_ns < self._latest_ns - POSE_TOLERANCE_NS:
            self._repeated_until_ns = max(self._repeated_until_ns, self._latest_ns)
            self._latest_ns = stamp_ns
        self._latest_ns = max(self._latest_ns, stamp_ns)
        return stamp_ns <= self._repeated_until_ns


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
    found = sorted(path for path in folder.iterdir() if is_picture(path))
    if not found:
        raise DatasetError(f'{folder}: holds no pictures ({" ".join(PICTURES)})')
    return [(path, None) for path in found]
