# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run, drawn with matplotlib off screen."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .measures import Answer

GREEN, RED, GREY = '#1b8a3a', '#c62828', '#9aa0a6'


def plan_png(
    places_xy: NDArray[np.float64],
    answers: Sequence[Answer],
    outlines: Sequence[NDArray[np.float64]] = (),
) -> bytes:
    """
    Draw the places, and where each query was: green where the best hypothesis is right.

    A line joins a wrong answer to the place that was named instead.

    :param places_xy: (P, 2) in metres.
    :param outlines: polygons (K, 2) in metres, drawn as buildings.
    """
    figure = Figure(figsize=(7, 6), layout='constrained')
    axes = figure.add_subplot()
    for outline in outlines:
        axes.fill(outline[:, 0], outline[:, 1], color='#e3ded6', edgecolor='#c9c2b6', zorder=1)
    axes.scatter(
        places_xy[:, 0], places_xy[:, 1], s=14, color=GREY, label='places of the map', zorder=2
    )
    for answer in answers:
        _draw_answer(axes, answer)
    for colour, label in ((GREEN, 'query, right'), (RED, 'query, wrong')):
        axes.scatter([], [], s=30, color=colour, label=label)
    axes.set_aspect('equal')
    axes.set_xlabel('x [m]')
    axes.set_ylabel('y [m]')
    axes.legend(loc='best', fontsize=8)
    return png(figure)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=110, bbox_inches='tight')
    return buffer.getvalue()


def _draw_answer(axes: object, answer: Answer) -> None:
    x, y = answer.truth[:2, 3]
    colour = GREEN if answer.right else RED
    axes.scatter([x], [y], s=30, color=colour, zorder=4)  # type: ignore[attr-defined]
    if answer.right or not answer.hypotheses:
        return
    pose = answer.hypotheses[0].place.map_T_camera
    if pose is not None:
        line = [x, pose[0, 3]], [y, pose[1, 3]]
        axes.plot(*line, color=RED, lw=0.6, alpha=0.6, zorder=3)  # type: ignore[attr-defined]
