# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From buffers to a picture: light each pixel, add haze, sky and halos, then expose."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...records import Image, Pose
from .camera import Floats, TownCamera
from .lens import developed
from .light import Light
from .materials import Gain as Plane
from .raster import SKY, Buffers
from .relief import Relief
from .sky import HALF, Rays, halos, sky_planes, to_full, view_rays
from .surfaces import Mesh

LAMP_RGB = (1.0, 0.72, 0.36)
WINDOW_RGB = (1.25, 0.86, 0.46)
_LINEAR: Plane = ((np.arange(256, dtype=np.float32) / 255) ** 2).astype(np.float32)
"""sRGB to linear, with gamma 2 so that the way back is a square root."""


@dataclass(frozen=True, eq=False)
class _Incoming:
    """The light on every pixel, (H, W) float32 each; zero planes are left out as None."""

    sky: Plane
    sun: Plane | None
    lamps: Plane | None
    glow: Plane
    clear: Plane
    """Share of the light that the haze lets through."""

    def reflected(self, albedo: Plane, light: Light, channel: int) -> Plane:
        """Give the linear light (H, W) that leaves the surfaces in one colour channel."""
        total = self.sky * np.float32(light.sky[channel])
        if self.sun is not None:
            total += self.sun * np.float32(light.sun[channel])
        if self.lamps is not None:
            total += self.lamps * np.float32(LAMP_RGB[channel] * light.lamps)
        total *= albedo
        # What stands in a lit window still shows its own colour.
        total += self.glow * (np.float32(0.3) + albedo) * np.float32(WINDOW_RGB[channel])
        haze = np.float32(light.horizon[channel])
        return (total - haze) * self.clear + haze


def photograph(
    buffers: Buffers, mesh: Mesh, relief: Relief, *, light: Light, camera: TownCamera,
    map_T_camera: Pose, seed: int,
) -> Image:  # fmt: skip
    """Light the buffers and take the picture: (H, W, 3) uint8 RGB."""
    rays = view_rays(camera, map_T_camera)
    incoming = _incoming(buffers, mesh, relief, light, map_T_camera[:3, 3], rays)
    behind, open_sky = sky_planes(light, rays, buffers), buffers.surface == SKY
    halo = halos(buffers, relief.lamps_m, light, camera, map_T_camera)
    planes = []
    for channel in range(3):
        albedo = np.asarray(cv2.LUT(buffers.colour[..., channel], _LINEAR), np.float32)
        plane = incoming.reflected(albedo, light, channel)
        np.copyto(plane, behind[channel], where=open_sky)
        if halo is not None:
            plane += halo * np.float32(LAMP_RGB[channel])
        planes.append(plane)
    return developed(np.asarray(cv2.merge(planes), np.float32), light, camera, seed)


def _incoming(
    buffers: Buffers, mesh: Mesh, relief: Relief, light: Light, eye: Floats, rays: Rays
) -> _Incoming:
    """Gather the light on every pixel."""
    size = buffers.surface.shape[1], buffers.surface.shape[0]
    depth = 1 / np.maximum(buffers.inverse_depth[::HALF, ::HALF], np.float32(1e-3))
    east, north, up = (
        np.asarray(depth * ray + np.float32(e), np.float32) for ray, e in zip(rays, eye)
    )
    sun = lamps = None
    if light.has_sun:
        # SKY is -1: it picks the zero that is appended.
        cosine = np.append(mesh.sun_cosine(light.to_sun()), np.float32(0))[buffers.surface]
        sun = cosine * to_full(_unshaded(relief, light, (east, north, up)), size)
    if light.lamps:
        # A lantern shines down more than up: the walls above it fade.
        fade = np.exp(-np.maximum(up - np.float32(2.5), 0) / np.float32(3.2))
        lamps = to_full(relief.lookup(relief.lamp_light(), east, north) * fade, size)
    return _Incoming(
        sky=np.append(mesh.openness(), np.float32(0))[buffers.surface], sun=sun, lamps=lamps,
        glow=buffers.colour[..., 3] * np.float32(light.windows / 255),
        clear=np.exp(np.float32(-light.fog_per_m) / np.maximum(buffers.inverse_depth, 1e-4)),
    )  # fmt: skip


def _unshaded(relief: Relief, light: Light, at: Rays) -> Plane:
    """Tell (0 to 1) which points see the sun; each is first moved 1 m to it, off its own wall."""
    toward = light.to_sun().astype(np.float32)
    east, north, up = at[0] + toward[0], at[1] + toward[1], at[2] + toward[2]
    top = relief.lookup(relief.shadow_top_m(light), east, north)
    return np.asarray(np.clip((up - top) / np.float32(0.35) + np.float32(0.5), 0, 1))
