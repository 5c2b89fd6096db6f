# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far accepted answers are from the truth, as a place and as a pose in metres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..geometry.poses import angle_deg, distance_m
from ..records import Place, Pose
from .outcomes import RERANK, Outcome

FAR_M = 1.0


def pose_errors(outcomes: Sequence[Outcome], places: Mapping[int, Place]) -> dict[str, Any]:
    """
    Compare answers with the poses of the queries, if both are known.

    :returns: for ``place`` (the accepted answer's place), ``metric`` (poses in metres) and
        ``refined`` (the pose in metres if there is one, else the place): the number of queries,
        median and 95th percentile of the error in metres and degrees, and the share off by more
        than a metre. Empty if no query has a pose.
    """
    posed = [one for one in outcomes if one.query.map_T_camera is not None]
    if not posed:
        return {}
    by_place = [(one, _place_pose(one, places)) for one in posed if one.accepted]
    measured = [(one, one.pose) for one in posed]
    refined = [(one, place if one.pose is None else one.pose) for one, place in by_place]
    return {name: _summary(answers) for name, answers in (
        ('place', by_place), ('metric', measured), ('refined', refined))}


def published_errors(
    outcomes: Sequence[Outcome], poses: Mapping[int, Pose], places: Mapping[int, Place]
) -> dict[str, Any]:
    """
    Compare what a live node published with the poses of the queries, for the same images.

    :param poses: as published, by the stamp of the image.
    :returns: as ``pose_errors``: ``place`` is the best place, ``metric`` the published pose.
    """
    return pose_errors([
        replace(one, accepted=True, pose=poses[one.query.stamp_ns])
        for one in outcomes if one.query.stamp_ns in poses
    ], places)


def lines(errors: Mapping[str, Any]) -> list[str]:
    """Return what ``r2former evaluate`` prints about errors of the pose."""
    names = {'place': 'accepted, as a place', 'metric': 'measured in metres',
             'refined': 'accepted, refined'}
    return [
        f'position error, {text}: median {one["position_m"]["median"]:.2f}, '
        f'p95 {one["position_m"]["p95"]:.2f} m; {one["rotation_deg"]["median"]:.1f}, '
        f'{one["rotation_deg"]["p95"]:.1f} deg; {one["queries"]} queries'
        for name, text in names.items() if (one := errors.get(name)) and one['queries']
        and (name != 'refined' or errors['metric']['queries'])
    ]


def median_and_p95_m(errors: Mapping[str, Any], name: str) -> str:
    """Return the position errors for a cell of a table, empty without any."""
    one = errors.get(name)
    if not one or not one['queries']:
        return ''
    return f'{one["position_m"]["median"]:.2f}, {one["position_m"]["p95"]:.2f}'


def _place_pose(outcome: Outcome, places: Mapping[int, Place]) -> Pose | None:
    ranked = outcome.rankings[RERANK].places
    return places[ranked[0]].map_T_camera if ranked else None


def _summary(answers: Sequence[tuple[Outcome, Pose | None]]) -> dict[str, Any]:
    errors = [
        (distance_m(true, pose), angle_deg(true, pose)) for outcome, pose in answers
        if pose is not None and (true := outcome.query.map_T_camera) is not None
    ]
    if not errors:
        return {'queries': 0}
    position_m, rotation_deg = np.array(errors).T
    return {
        'queries': len(errors),
        'position_m': _middle_and_tail(position_m),
        'rotation_deg': _middle_and_tail(rotation_deg),
        'off_by_1m': float((position_m > FAR_M).mean()),
    }


def _middle_and_tail(values: np.ndarray) -> dict[str, float]:
    return {'median': float(np.median(values)), 'p95': float(np.percentile(values, 95))}
