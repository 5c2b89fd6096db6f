# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run, drawn with matplotlib off screen; small, so that a phone can show them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from ..measures import Curve
from .marks import ABSTAINED, NEAR, RIGHT, WRONG, Mark

GREY = '#9aa0a6'
COLOURS = {RIGHT: '#1b8a3a', NEAR: '#e08a00', WRONG: '#c62828', ABSTAINED: '#5f7fbf'}
SIZE_IN = (4.6, 3.6)
RANKS = (1, 2, 3, 5, 10, 20, 50, 100)


def plan_png(
    places_xy: NDArray[np.float64],
    marks: Sequence[Mark],
    outlines: Sequence[NDArray[np.float64]] = (),
) -> bytes:
    """
    Draw the places, and each query in the colour of what became of it.

    A line joins a wrong answer to the place that was named instead.

    :param places_xy: (P, 2) in metres.
    :param outlines: polygons (K, 2) in metres, drawn as buildings.
    """
    figure = Figure(figsize=(5.2, 4.6), layout='constrained')
    axes = figure.add_subplot()
    for outline in outlines:
        axes.fill(outline[:, 0], outline[:, 1], color='#e3ded6', edgecolor='#c9c2b6', zorder=1)
    axes.scatter(
        places_xy[:, 0], places_xy[:, 1], s=8, color=GREY, label='places of the map', zorder=2
    )
    for kind, colour in COLOURS.items():
        _draw_marks(axes, [mark for mark in marks if mark.kind == kind], kind, colour)
    axes.set_aspect('equal', adjustable='datalim')
    axes.set_xlabel('x [m]')
    axes.set_ylabel('y [m]')
    figure.legend(loc='outside lower center', fontsize=8, ncols=2)
    return png(figure)


def precision_recall_png(judged: Mapping[str, tuple[Sequence[bool], Sequence[float]]]) -> bytes:
    """Draw the curve of the best answers of each method, given as right or not and scores."""
    figure, axes = _axes('recall', 'precision')
    for name, (right, scores) in judged.items():
        if any(right):
            curve = Curve.of(right, scores)
            some = curve.true > 0  # before the first right answer both are 0, and say nothing
            axes.plot(curve.recall[some], curve.precision[some], label=name, lw=1.6)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=8)
    return png(figure)


def recall_png(found_at: Mapping[str, Sequence[int | None]]) -> bytes:
    """Draw the share of queries with a right place among the first N, for each method."""
    figure, axes = _axes('first N answers', 'recall@N')
    for name, ranks in found_at.items():
        shares = [np.mean([rank is not None and rank <= count for rank in ranks])
                  for count in RANKS]
        axes.plot(RANKS, shares, label=name, lw=1.6, marker='o', ms=3)
    axes.set_xscale('log')
    axes.set_xticks(RANKS, [str(count) for count in RANKS])
    axes.minorticks_off()
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(fontsize=8)
    return png(figure)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=150, bbox_inches='tight')
    return buffer.getvalue()


def _axes(across: str, up: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=SIZE_IN, layout='constrained')
    axes = figure.add_subplot()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(color='#e8eaed', lw=0.8)
    return figure, axes


def _draw_marks(axes: Any, marks: Sequence[Mark], kind: str, colour: str) -> None:
    for mark in marks:
        if mark.named_xy is not None:
            (x, y), (named_x, named_y) = mark.xy, mark.named_xy
            axes.plot([x, named_x], [y, named_y], color=colour, lw=0.6, alpha=0.6, zorder=3)
    across, up = zip(*(mark.xy for mark in marks), strict=True) if marks else ((), ())
    axes.scatter(across, up, s=20, color=colour, label=f'query, {kind} ({len(marks)})', zorder=4)
