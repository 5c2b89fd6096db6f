# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Charts of a run, drawn with matplotlib off screen and small enough for a phone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from ..confidence import Reliability, sparsification
from ..measures import Curve
from .marks import ABSTAINED, NEAR, RIGHT, WRONG, Mark

GREY, LIGHT = '#9aa0a6', '#e8eaed'
COLOURS = {RIGHT: '#1b8a3a', NEAR: '#e08a00', WRONG: '#c62828', ABSTAINED: '#5f7fbf'}
STATE_COLOURS = {'localized': '#d9f0df', 'candidate': '#fdf0cf', 'lost': '#f7dcdc'}
SIZE_IN = (4.6, 3.6)
ERROR_TICKS_M = (0, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
RANKS = (1, 2, 3, 5, 10, 20, 50, 100)
Judged = Mapping[str, tuple[Sequence[bool], Sequence[float]]]


def plan_png(
    places_xy: NDArray[np.float64],
    marks: Sequence[Mark],
    outlines: Sequence[NDArray[np.float64]] = (),
    *,
    path: bool = False,
) -> bytes:
    """
    Draw the places, and each query in the colour of what became of it.

    A line joins a wrong answer to the place that was named instead.

    :param places_xy: (P, 2) in metres.
    :param outlines: polygons (K, 2) in metres, drawn as buildings.
    :param path: the marks are in the order of driving, and are joined to a path.
    """
    figure = Figure(figsize=(5.2, 4.6), layout='constrained')
    axes = figure.add_subplot()
    for outline in outlines:
        axes.fill(outline[:, 0], outline[:, 1], color='#e3ded6', edgecolor='#c9c2b6', zorder=1)
    axes.scatter(
        places_xy[:, 0], places_xy[:, 1], s=8, color=GREY, label='places of the map', zorder=2
    )
    if path:
        _draw_path(axes, marks)
    for kind, colour in COLOURS.items():
        _draw_marks(axes, [mark for mark in marks if mark.kind == kind], kind, colour)
    axes.set_aspect('equal', adjustable='datalim')
    axes.set_xlabel('x [m]')
    axes.set_ylabel('y [m]')
    figure.legend(loc='outside lower center', fontsize=8, ncols=2)
    return png(figure)


def precision_recall_png(judged: Judged) -> bytes:
    """Draw the curve of the best answers of each method, given as right or not and scores."""
    figure, axes = _axes('recall', 'precision')
    for name, (right, scores) in judged.items():
        if any(right):
            curve = Curve.of(right, scores)
            some = curve.true > 0  # both are 0 until the first right answer, which says nothing
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


def reliability_png(reliability: Reliability) -> bytes:
    """Draw the share of right answers against the score; dots grow with the number of answers."""
    figure, axes = _axes('score of the first answer', 'share of right answers')
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls='--', label='score = share')
    size = 20 + 180 * np.sqrt(reliability.count / max(reliability.count.max(initial=1), 1))
    axes.plot(reliability.score, reliability.right, color=COLOURS[ABSTAINED], lw=1.2, zorder=2)
    axes.scatter(reliability.score, reliability.right, s=size, color=COLOURS[ABSTAINED],
                 edgecolor='white', label='answers, by score', zorder=3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(fontsize=8, markerscale=0.5)
    return png(figure)


def sparsification_png(right: Sequence[bool], scores: Sequence[float]) -> bytes:
    """Draw the share of wrong answers as the answers with the lowest scores are left out."""
    figure, axes = _axes('share left out, lowest scores first', 'wrong among the rest')
    axes.plot(*sparsification(right, scores), lw=1.6, label='by score')
    axes.plot(*sparsification(right, np.asarray(right, float).tolist()), lw=1.2, ls='--',
              color=GREY, label='best possible order')
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=-0.01)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(fontsize=8)
    return png(figure)


def timeline_png(
    seconds: Sequence[float], errors_m: Sequence[float], kinds: Sequence[str],
    states: Sequence[str],
) -> bytes:
    """
    Draw the distance of the first answer from the truth over time, on the colour of the state.

    :param errors_m: in metres, NaN without a pose.
    :param states: of the recognizer after each image; empty where unknown.
    """
    figure = Figure(figsize=(9.2, 3.0), layout='constrained')
    axes = figure.add_subplot()
    _draw_states(axes, seconds, states)
    for kind, colour in COLOURS.items():
        rows = [row for row, one in enumerate(kinds) if one == kind]
        if not rows:
            continue
        axes.scatter([seconds[row] for row in rows], [errors_m[row] for row in rows], s=14,
                     color=colour, label=f'{kind} ({len(rows)})', zorder=3)
    axes.set_yscale('symlog', linthresh=10)
    top = max(np.nanmax(errors_m, initial=0.0) * 1.2, 10.0)
    axes.set_ylim(0, top)
    axes.set_yticks([m for m in ERROR_TICKS_M if m <= top], minor=False)
    axes.yaxis.set_major_formatter('{x:g}')
    axes.set_xlabel('time [s]')
    axes.set_ylabel('error of the first answer [m]')
    axes.grid(color=LIGHT, lw=0.8)
    figure.legend(loc='outside lower center', fontsize=8, ncols=4)
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
    axes.grid(color=LIGHT, lw=0.8)
    return figure, axes


def _draw_path(axes: Any, marks: Sequence[Mark]) -> None:
    """Join successive queries; each piece has the colour of the query that it leads to."""
    pieces = [[one.xy, other.xy] for one, other in zip(marks, marks[1:], strict=False)]
    axes.add_collection(LineCollection(
        pieces, colors=[COLOURS[mark.kind] for mark in marks[1:]], lw=2.2, alpha=0.5, zorder=3))


def _draw_states(axes: Any, seconds: Sequence[float], states: Sequence[str]) -> None:
    labelled = set()
    for row, state in enumerate(states):
        if state not in STATE_COLOURS:
            continue
        end = seconds[row + 1] if row + 1 < len(seconds) else seconds[row]
        label = None if state in labelled else f'state {state}'
        axes.axvspan(seconds[row], end, color=STATE_COLOURS[state], lw=0, label=label, zorder=1)
        labelled.add(state)


def _draw_marks(axes: Any, marks: Sequence[Mark], kind: str, colour: str) -> None:
    for mark in marks:
        if mark.named_xy is not None:
            (x, y), (named_x, named_y) = mark.xy, mark.named_xy
            axes.plot([x, named_x], [y, named_y], color=colour, lw=0.6, alpha=0.6, zorder=3)
    if not marks:
        return
    across, up = zip(*(mark.xy for mark in marks), strict=True)
    axes.scatter(across, up, s=20, color=colour, label=f'query, {kind} ({len(marks)})', zorder=4)
