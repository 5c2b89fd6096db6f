# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Light and weather of a lap: what changes between two drives through the same street."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """
    One light condition. Colours are linear RGB; 1 lights a white wall to the top of the range.

    The sun stands at ``sun_azimuth_deg`` (from map x towards y) and ``sun_elevation_deg``;
    ``sun`` black means no direct sun and no cast shadow. ``sky`` is the light from all sides,
    ``horizon`` and ``zenith`` colour the visible sky, ``cloud_cover`` in [0, 1]. ``fog_per_m`` is
    the extinction of the haze. ``windows`` and ``lamps`` in [0, 1] switch the lights of the town
    on. ``exposure`` is a gain, ``contrast`` in [0, 1] the weight of an S curve, ``noise`` a
    standard deviation in grey levels of 255, ``motion_blur_px`` at 640 px width.
    """

    name: str
    sun_azimuth_deg: float = 40.0
    sun_elevation_deg: float = 45.0
    sun: Colour = (0.0, 0.0, 0.0)
    sky: Colour = (0.6, 0.62, 0.65)
    horizon: Colour = (0.7, 0.74, 0.8)
    zenith: Colour = (0.45, 0.5, 0.58)
    cloud: Colour = (0.8, 0.8, 0.8)
    cloud_cover: float = 0.5
    fog_per_m: float = 0.002
    windows: float = 0.0
    lamps: float = 0.0
    exposure: float = 1.0
    contrast: float = 0.25
    vignette: float = 0.22
    noise: float = 2.0
    motion_blur_px: float = 1.0

    def to_sun(self) -> NDArray[np.float64]:
        """Give the unit vector (3,) in the map frame from the ground to the sun."""
        azimuth, elevation = np.radians([self.sun_azimuth_deg, self.sun_elevation_deg])
        flat = np.cos(elevation)
        return np.array(
            [flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)]
        )

    @property
    def has_sun(self) -> bool:
        """Whether there is direct sun, and so cast shadows."""
        return max(self.sun) > 0


DAY = Light(
    'day', sun_azimuth_deg=52.0, sun_elevation_deg=50.0, sun=(0.98, 0.92, 0.78),
    sky=(0.42, 0.47, 0.56), horizon=(0.72, 0.82, 0.94), zenith=(0.16, 0.34, 0.70),
    cloud=(0.96, 0.96, 0.97), cloud_cover=0.42, fog_per_m=0.0016, exposure=1.0,
)  # fmt: skip

OVERCAST = Light(
    'overcast', sky=(0.66, 0.69, 0.73), horizon=(0.74, 0.76, 0.78), zenith=(0.50, 0.53, 0.57),
    cloud=(0.82, 0.83, 0.85), cloud_cover=0.9, fog_per_m=0.0055, windows=0.25,
    contrast=0.12, noise=2.6,
)  # fmt: skip

DUSK = Light(
    'dusk', sun_azimuth_deg=205.0, sun_elevation_deg=11.0, sun=(0.62, 0.30, 0.12),
    sky=(0.26, 0.25, 0.33), horizon=(0.92, 0.52, 0.28), zenith=(0.13, 0.15, 0.32),
    cloud=(0.72, 0.38, 0.32), cloud_cover=0.55, fog_per_m=0.0035, windows=0.75, lamps=0.35,
    exposure=1.05, contrast=0.2, noise=3.5, motion_blur_px=1.6,
)  # fmt: skip

NIGHT = Light(
    'night', sky=(0.030, 0.036, 0.060), horizon=(0.075, 0.070, 0.080),
    zenith=(0.008, 0.011, 0.024), cloud=(0.060, 0.055, 0.060), cloud_cover=0.5,
    fog_per_m=0.003, windows=1.0, lamps=1.0, exposure=1.3, contrast=0.1, noise=5.0,
    motion_blur_px=2.2,
)  # fmt: skip

LIGHTS = {light.name: light for light in (DAY, OVERCAST, DUSK, NIGHT)}
"""The presets by name."""
