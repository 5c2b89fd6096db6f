# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A recording for the Rerun viewer: queries, matched patches, the plan and scores over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from ...errors import FileError, R2FormerError
from ...geometry.drawing import draw_matches
from ...maps.place_map import PlaceMap
from ...model import Model
from ...model.preprocess import InputSpec, preprocess
from ...records import Image, LocalFeatures, Place, Pose
from ...sources.pictures import thumbnail_jpeg
from ..outcomes import RERANK, Outcome
from ..thumbnails import place_picture
from ..trial import Trial
from .marks import ABSTAINED, NEAR, RIGHT, WRONG, kind_of

PICTURE_WIDTH, MATCH_HEIGHT = 480, 270
GREY = (154, 160, 166)
COLOURS = {RIGHT: (27, 138, 58), NEAR: (224, 138, 0), WRONG: (198, 40, 40),
           ABSTAINED: (95, 127, 191), '': (26, 115, 232)}


class Recording:
    """Writes a ``.rrd`` file, image by image; ``rerun FILE.rrd`` opens it."""

    def __init__(self, path: str | Path, place_map: PlaceMap, spec: InputSpec) -> None:
        """
        Begin with the places of a map.

        :raises R2FormerError: if rerun-sdk is not installed.
        :raises FileError: if the file cannot be written.
        """
        try:
            import rerun
        except ImportError as error:
            raise R2FormerError(f'a recording needs rerun-sdk ({error})',
                                'pip install rerun-sdk') from error
        self._rerun = rerun
        self._place_map, self._spec = place_map, spec
        self._places: Mapping[int, Place] = place_map.places()
        self._stream = rerun.RecordingStream('r2former_ros')
        self._count = 0
        try:
            self._stream.save(str(path))
        except RuntimeError as error:
            raise FileError(f'{path}: cannot be written ({error})') from error
        posed = [place.map_T_camera for place in self._places.values()
                 if place.map_T_camera is not None]
        if posed:
            self._stream.log('plan/places', rerun.Points2D(
                np.array([_on_plan(pose) for pose in posed]), colors=[GREY], radii=0.4),
                static=True)

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.disconnect()

    def add(
        self, image: Image, features: LocalFeatures, place_id: int | None, *,
        score: float, state: str, name: str, truth: Pose | None = None, kind: str = '',
    ) -> None:
        """
        Record one image with its first answer.

        :param place_id: of the first answer, None without one.
        :param truth: where the image was taken, if known.
        :param kind: what became of it: right, near, wrong or abstained; empty if unknown.
        """
        rerun, stream = self._rerun, self._stream
        stream.set_time('image', sequence=self._count)
        self._count += 1
        self._log_picture('query', image)
        stream.log('name', rerun.TextLog(f'{name}: {kind or state}, score {score:.2f}'))
        stream.log('score', rerun.Scalars([score]))
        stream.log('state', rerun.TextDocument(state or kind))
        place = None if place_id is None else self._places[place_id]
        if place is not None:
            self._log_match(image, features, place)
        answer = None if place is None else place.map_T_camera
        ends = [_on_plan(pose) for pose in (truth, answer) if pose is not None]
        if ends:
            stream.log('plan/query', rerun.Points2D(ends[:1], colors=[COLOURS[kind]], radii=1.2))
            stream.log('plan/answer', rerun.LineStrips2D([ends], colors=[COLOURS[kind]]))

    def _log_match(self, image: Image, features: LocalFeatures, place: Place) -> None:
        picture = place_picture(self._place_map, place)
        if picture is None:
            return
        _, (stored,) = self._place_map.features([place.place_id])
        spec = self._spec
        drawn = draw_matches(image, features, picture, stored,
                             input_px=(spec.height, spec.width), height_px=MATCH_HEIGHT)
        self._log_picture('matches', drawn.picture)

    def _log_picture(self, path: str, image: Image) -> None:
        data = thumbnail_jpeg(image, min(PICTURE_WIDTH, image.shape[1])
                              if path == 'query' else image.shape[1])
        self._stream.log(path, self._rerun.EncodedImage(contents=data, media_type='image/jpeg'))


def record_trial(
    path: str | Path, trial: Trial, outcomes: Sequence[Outcome], model: Model, min_score: float
) -> None:
    """Record every query of a trial; each is read and encoded once more."""
    by_name = {one.query.name: one for one in outcomes}
    spec = model.spec.input
    with PlaceMap.open(trial.map_path) as place_map, \
            Recording(path, place_map, spec) as recording:
        places = place_map.places()
        for queries in trial.queries:
            for query, frame in queries.read(set(by_name)):
                outcome = by_name[query.name]
                ranking = outcome.rankings[RERANK]
                pixels = preprocess(frame.image, spec, model.device)
                recording.add(
                    frame.image, model.encode(pixels).local_features_of(0),
                    next(iter(ranking.places), None), score=ranking.score, state=outcome.state,
                    name=query.name, truth=query.map_T_camera,
                    kind=kind_of(outcome, places, min_score),
                )


def _on_plan(pose: Pose) -> tuple[float, float]:
    """Return x and y with y upwards: Rerun's plane has y downwards."""
    return float(pose[0, 3]), -float(pose[1, 3])
