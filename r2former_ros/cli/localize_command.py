# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former localize``: find where images were taken."""

from __future__ import annotations

import argparse
import json
import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ImageError
from .cameras import add_camera, camera_of, check_camera
from .checks import require_map, require_pictures, require_rerun
from .options import add_common, add_rerun, config_from, notify, say_what_runs

if TYPE_CHECKING:
    from ..evaluation.report.recording import Recording
    from ..recognizer import Recognizer
    from ..records import Hypothesis, MountedCamera, Recognition


def add_parser(commands: Any) -> None:
    """Register the subcommand."""
    parser = commands.add_parser(
        'localize', help='find where images were taken',
        description='Localize images on a map. Several images are treated as successive frames '
                    'of one camera: the state is localized once enough of them agree.',
    )
    parser.add_argument('images', metavar='IMAGE', nargs='+')
    parser.add_argument('--map', metavar='M.r2map', required=True)
    parser.add_argument('--json', action='store_true', help='print one JSON object per image')
    add_camera(parser)
    add_rerun(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Localize the images in order."""
    config = config_from(arguments)
    require_pictures(arguments.images)
    require_map(arguments.map)
    check_camera(arguments)
    camera = camera_of(arguments)[0]
    require_rerun(arguments.rerun)
    from ..evaluation.report.recording import Recording
    from ..recognizer import Recognizer

    recognizer = Recognizer.open(arguments.map, config, notify=notify)
    say_what_runs(recognizer.search.model)
    recognizer.search.warm_up()
    show = _json_line if arguments.json else _text_line
    bad = 0
    with ExitStack() as stack:
        stack.callback(recognizer.close)
        recording = None
        if arguments.rerun:
            search = recognizer.search
            recording = stack.enter_context(
                Recording(arguments.rerun, search.place_map, search.model.spec.input))
        for path in arguments.images:
            try:
                recognition = _localize(recognizer, path, camera, recording)
            except ImageError as error:
                bad += 1
                notify(f'left out: {error}')
                if arguments.json:
                    print(json.dumps({'image': path, 'error': str(error)}), flush=True)
                continue
            print(show(path, recognition, recognizer.search.model.origin.trained), flush=True)
    if bad == len(arguments.images):
        raise ImageError(f'none of {bad} pictures can be used')


def _localize(
    recognizer: Recognizer, path: str, camera: MountedCamera | None, recording: Recording | None
) -> Recognition:
    """Localize one image and record it, if that was asked for."""
    from ..records import Frame
    from ..sources.pictures import read_image

    frame = Frame(0, read_image(path))
    prepared = recognizer.search.prepare(frame)
    recognition, features = recognizer.recognize_and_encode(prepared, camera=camera)
    if recording is not None:
        best = recognition.best
        recording.add(
            frame.image, features.local_features_of(0), best.place.place_id if best else None,
            score=best.score if best else 0.0, state=recognition.state.value, name=path)
    return recognition


def _text_line(path: str, recognition: Recognition, trained: bool) -> str:
    note = '' if trained else ' [untrained weights]'
    best = recognition.best
    if best is None:
        return f'{path}: {recognition.state.value}, the map is empty{note}'
    total_ms = sum(recognition.latency_ms.values())
    return (f'{path}: {recognition.state.value} at place {best.place.place_id} '
            f'({Path(best.place.source).name}){_position_text(recognition, best)}, '
            f'score {best.score:.3f}, '
            f'similarity {best.similarity:.3f}, {total_ms:.0f} ms{note}')


def _position_text(recognition: Recognition, best: Hypothesis) -> str:
    """Write the pose in metres if one was accepted, otherwise the position of the place."""
    if recognition.pose is not None:
        x, y, z = recognition.pose.map_T_base[:3, 3]
        sigma_m = float(recognition.pose.covariance[:3, :3].trace() ** 0.5)
        return f' x {x:.2f} y {y:.2f} z {z:.2f} m +-{sigma_m:.2f}, measured'
    if best.place.map_T_camera is None:
        return ''
    x, y, z = best.place.map_T_camera[:3, 3]
    return f' x {x:.2f} y {y:.2f} z {z:.2f} m'


def _json_line(path: str, recognition: Recognition, trained: bool) -> str:
    return json.dumps({
        'image': path,
        'state': recognition.state.value,
        'trained_weights': trained,
        'accepted': recognition.accepted,
        'latency_ms': recognition.latency_ms,
        'hypotheses': [_as_dict(one) for one in recognition.hypotheses],
        'pose': _pose_dict(recognition),
        'not_refined': recognition.not_refined,
    })


def _pose_dict(recognition: Recognition) -> dict[str, Any] | None:
    """Return the pose in metres, None where none was accepted."""
    pose = recognition.pose
    return None if pose is None else {
        'place_id': pose.place_id,
        'map_T_camera': pose.map_T_base.tolist(),
        'covariance': pose.covariance.tolist(),
        'keypoints': pose.measured.kind,
        'inliers': pose.measured.inliers,
    }


def _as_dict(hypothesis: Hypothesis) -> dict[str, Any]:
    place = hypothesis.place
    pose = None if place.map_T_camera is None else place.map_T_camera.tolist()
    return {
        'place_id': place.place_id,
        'score': hypothesis.score,
        'similarity': hypothesis.similarity,
        'inliers': hypothesis.inliers,
        'probability': None if math.isnan(hypothesis.probability) else hypothesis.probability,
        'stamp_ns': place.stamp_ns,
        'source': place.source,
        'map_T_camera': pose,
    }
