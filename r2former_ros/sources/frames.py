# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames with poses, from a bag, a folder of pictures or a dataset, in the order of driving."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..common.files import reading
from ..common.text import counted, natural, printable
from ..errors import DatasetError, ImageError, PoseError
from ..geometry.trajectories import POSE_TOLERANCE_NS, Trajectory
from ..records import Frame, PosedFrame, StampedPose
from .bags import Bag
from .datasets import read_places
from .pictures import PICTURES, is_picture, read_image
from .trajectory_files import read_image_poses, read_trajectory

NOTES = ('.txt', '.csv', '.json', '.md', '.yaml', '.yml', '.xml', '.html', '.pdf', '.log')
"""Endings of files that may lie beside pictures, and are not meant to be read."""

OnBad = Callable[[str], None]
_logger = logging.getLogger(__name__)


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
    for frame, recorded_ns in bag.recorded_images(topic, on_bad_frame=report):
        pose = None
        again = clock.repeats(frame.stamp_ns)
        name = frame_name(bag.path, topic, frame.stamp_ns) + (f':{clock.run}' if again else '')
        if trajectory is not None:
            pose = trajectory.at(frame.stamp_ns, POSE_TOLERANCE_NS, recorded_ns)
            if pose is None:
                on_bad(f'no pose at stamp {frame.stamp_ns}')
                continue
            if again and len(trajectory.starts) == 1:
                on_bad(f'stamp {frame.stamp_ns} occurs again after the clock was set back, so '
                       'its pose is not known')
                continue
        yield PosedFrame(frame, pose, name)


class _StampClock:
    """Tells the stamps that a clock showed before it was set back; ``run`` counts from 1."""

    def __init__(self) -> None:
        self.run = 1
        self._latest_ns = self._repeated_until_ns = -2**63

    def repeats(self, stamp_ns: int) -> bool:
        """Take the next stamp; say whether an earlier run may have had it, too."""
        if stamp_ns < self._latest_ns - POSE_TOLERANCE_NS:
            self._repeated_until_ns = max(self._repeated_until_ns, self._latest_ns)
            self._latest_ns = stamp_ns
            self.run += 1
        self._latest_ns = max(self._latest_ns, stamp_ns)
        return stamp_ns <= self._repeated_until_ns


def frame_name(bag: Path, topic: str, stamp_ns: int) -> str:
    """Name an image of a bag; where a clock was set back, the number of its run follows."""
    return f'{bag.name}:{topic}:{stamp_ns}'


def trajectory_of(
    bag: Bag, topic: str | None, path: str | None, origin: tuple[float, float] | None = None
) -> Trajectory | None:
    """
    Read the poses of a bag, from a topic of it or from a file; None where neither is given.

    :param origin: of satellite fixes, latitude and longitude; the first fix where none is given.
    :raises R2FormerError: if both are given, or what is given cannot be read.
    """
    if topic and path:
        raise PoseError(f'poses from both {topic} and {path}', 'choose one')
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

    Numbers in names count by value: 2.jpg comes before 10.jpg. Pictures that the pose file does
    not list are passed to ``on_bad``, as are those that cannot be read; a warning names other
    files and folders.

    :raises DatasetError: if the folder is missing or holds no pictures.
    """
    folder = Path(folder)
    pictures = _pictures(folder, poses_path)
    if poses_path:
        for path in _unlisted(folder, [path for path, _ in pictures]):
            on_bad(f'{printable(path)}: {poses_path} lists no pose for it')
    for path, stamped in pictures:
        frame = _frame_of(path, stamped.stamp_ns if stamped else 0, on_bad)
        if frame is not None:
            yield PosedFrame(frame, stamped.pose if stamped else None, picture_name(path, folder))


def frames_of_dataset(path: str | Path, on_bad: OnBad) -> Iterator[PosedFrame]:
    """
    Read the database images of a dataset; place id n of a new map is row n - 1, if none is bad.

    :raises DatasetError: if it is not a dataset.
    """
    for picture in read_places(path).database:
        frame = _frame_of(picture, 0, on_bad)
        if frame is not None:
            yield PosedFrame(frame, None, picture_name(picture, dataset_folder(path)))


def dataset_folder(path: str | Path) -> Path:
    """Return the folder that the pictures of a dataset are named from."""
    return Path(path) if Path(path).is_dir() else Path(path).parent


def picture_name(path: Path, folder: Path) -> str:
    r"""Name a picture: relative to a folder that holds it, with ``\xe9`` for what is not UTF-8."""
    return printable(path.relative_to(folder) if path.is_relative_to(folder) else path)


def count_pictures(folder: str | Path, poses_path: str | Path | None) -> int:
    """Return how many pictures ``frames_of_folder`` will try to read."""
    return len(_pictures(Path(folder), poses_path))


def _frame_of(path: Path, stamp_ns: int, on_bad: OnBad) -> Frame | None:
    """Read a picture; one that cannot be used is passed to ``on_bad``."""
    try:
        return Frame(stamp_ns, read_image(path))
    except ImageError as error:
        on_bad(str(error))
        return None


def _pictures(
    folder: Path, poses_path: str | Path | None
) -> list[tuple[Path, StampedPose | None]]:
    if not folder.is_dir():
        raise DatasetError(f'{folder}: no such folder of pictures')
    if poses_path:
        return [(folder / name, pose) for name, pose in read_image_poses(poses_path).items()]
    with reading(folder):
        entries = sorted(folder.iterdir(), key=lambda path: (natural(path.name), path.name))
    found = [path for path in entries if is_picture(path) and not path.is_dir()]
    others = _described([path for path in entries if path not in set(found)])
    if not found:
        held = f', but {others}' if others else ''
        raise DatasetError(f'{folder}: holds no pictures ({" ".join(PICTURES)}){held}',
                           'give a folder that holds pictures itself' if others else '')
    if others:
        _logger.warning('%s: %s read, passes over %s', folder, counted(len(found), 'picture'),
                        others)
    return [(path, None) for path in found]


def _unlisted(folder: Path, listed: Iterable[Path]) -> list[Path]:
    """Return the pictures of a folder that are not in a list."""
    known = {path.resolve() for path in listed}
    return [path for path in sorted(folder.iterdir())
            if is_picture(path) and path.resolve() not in known]


def _described(paths: Iterable[Path]) -> str:
    """Count folders, and files by ending, but for notes and hidden files."""
    kinds = Counter(
        'folder' if path.is_dir() else f'{path.suffix.lower() or path.name} file'
        for path in paths
        if not path.name.startswith('.') and path.suffix.lower() not in NOTES
    )
    return ', '.join(counted(count, printable(kind)) for kind, count in kinds.most_common(5))
