# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plot the places of a map, with matplotlib off screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import MapError
from ..maps.place_map import PlaceMap
from ..maps.sessions import session_of, sessions_of

LONGER_SIDE_IN = 9.0
SHORTER_SIDE_IN = 4.5


def plot_map(place_map: PlaceMap, out: str | Path, title: str) -> int:
    """
    Draw each session in its own colour, with the heading of each place; return how many places.

    :raises MapError: if no place has a pose, or the picture cannot be written.
    """
    tracks = _tracks(place_map)
    if not tracks:
        raise MapError(f'{place_map.location}: none of {len(place_map)} places has a pose')
    everything = np.concatenate(list(tracks.values()))
    figure = Figure(figsize=_size(everything), layout='constrained')
    axes = figure.add_subplot()
    colours = matplotlib.colormaps['tab10' if len(tracks) <= 10 else 'turbo']
    for row, (name, track) in enumerate(tracks.items()):
        part = row if len(tracks) <= 10 else row / (len(tracks) - 1)
        _draw(axes, f'{name} ({len(track)})', track, colours(part))
    _finish(axes, f'{title}: {len(everything)} places', place_map.header.frame_id)
    try:
        # With its format named, matplotlib appends no ending to the file's name.
        figure.savefig(out, dpi=130, format=Path(out).suffix[1:] or 'png')
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise MapError(f'{out}: cannot be written ({reason})') from error
    return len(everything)


def _tracks(place_map: PlaceMap) -> dict[str, NDArray[np.float64]]:
    """Return x, y and the unit vector of the heading (N, 4) per session, of places with a pose."""
    sessions = sessions_of(place_map)
    tracks: dict[str, list[NDArray[np.float64]]] = {}
    for place in place_map.places().values():
        pose = place.map_T_camera
        if pose is not None:
            forward = pose[:2, 0] / max(float(np.linalg.norm(pose[:2, 0])), 1e-9)
            name = session_of(sessions, place.place_id).name
            tracks.setdefault(name, []).append(np.concatenate([pose[:2, 3], forward]))
    return {name: np.array(track) for name, track in tracks.items()}


def _size(track: NDArray[np.float64]) -> tuple[float, float]:
    """Fit the sheet to the plan, within limits."""
    width, height = np.ptp(track[:, :2], axis=0) + 1.0
    shorter = float(np.clip(LONGER_SIDE_IN * min(width, height) / max(width, height),
                            SHORTER_SIDE_IN, LONGER_SIDE_IN))
    return (LONGER_SIDE_IN, shorter) if width >= height else (shorter, LONGER_SIDE_IN)


def _draw(axes: Any, label: str, track: NDArray[np.float64], colour: Any) -> None:
    x, y, forward_x, forward_y = track.T
    axes.quiver(x, y, forward_x, forward_y, color=colour, alpha=0.5, angles='xy', units='inches',
                scale=7, scale_units='inches', width=0.009, headwidth=1, headlength=0,
                headaxislength=0, zorder=2)
    axes.scatter(x, y, s=13, color=colour, edgecolor='white', linewidth=0.3, label=label, zorder=3)


def _finish(axes: Any, title: str, frame_id: str) -> None:
    axes.set_aspect('equal')
    axes.margins(0.06)
    axes.set_xlabel(f'x in {frame_id} [m]')
    axes.set_ylabel(f'y in {frame_id} [m]')
    axes.set_title(title, fontsize=11)
    axes.grid(color='0.9', linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    axes.legend(title='session (places)', loc='best', fontsize=8, title_fontsize=8,
                markerscale=2, framealpha=0.9)
