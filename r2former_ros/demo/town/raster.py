# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drawing surfaces into image buffers: culling, near clipping, a z-buffer, filtered textures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...records import Image, Pose
from .camera import Floats, TownCamera, optical_R_map, to_optical
from .surfaces import Mesh, Texture

NEAR_M = 0.3
SKY = -1
"""Value of ``Buffers.surface`` where nothing was drawn."""
_SUBPIXEL_BITS = 4
_MAX_LEVEL = 7
_COVERED = 215.0
"""Antialiased coverage from which a pixel counts: measured to follow the true edge within half a
pixel outwards, so that neighbours leave no gap. The plain fill is ragged by a whole pixel."""


@dataclass(frozen=True, eq=False)
class Buffers:
    """
    What the camera sees, before light.

    ``colour`` (H, W, 4) uint8 sRGB and glow; ``inverse_depth`` (H, W) float32 in 1/m, 0 for sky;
    ``surface`` (H, W) int32 row in the mesh, or ``SKY``.
    """

    colour: Image
    inverse_depth: NDArray[np.float32]
    surface: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class _Patch:
    """One visible surface: its polygon in the image, its homography and its inverse depth."""

    row: int
    polygon_px: Floats
    image_H_texture: Floats
    inverse_depth: Floats
    """(3,): inverse depth is the dot product with (x px, y px, 1)."""
    texture: Texture

    def box(self, camera: TownCamera) -> tuple[int, int, int, int]:
        """Give x0, y0, x1, y1 of the polygon inside the image."""
        left, top = self.polygon_px.min(axis=0).tolist()
        right, bottom = self.polygon_px.max(axis=0).tolist()
        return (
            max(int(left), 0), max(int(top), 0),
            min(int(right) + 2, camera.width_px), min(int(bottom) + 2, camera.height_px),
        )  # fmt: skip


def draw(mesh: Mesh, camera: TownCamera, map_T_camera: Pose) -> Buffers:
    """Draw a mesh: solid surfaces front to back, then cut-outs back to front."""
    shape = (camera.height_px, camera.width_px)
    buffers = Buffers(
        np.zeros((*shape, 4), np.uint8), np.zeros(shape, np.float32), np.full(shape, SKY, np.int32)
    )
    patches = _visible(mesh, camera, map_T_camera)
    for patch in patches:
        if not mesh.cut_out[patch.row]:
            _draw_solid(buffers, patch, camera)
    for patch in reversed(patches):
        if mesh.cut_out[patch.row]:
            _blend(buffers, patch, camera)
    return buffers


def _visible(mesh: Mesh, camera: TownCamera, map_T_camera: Pose) -> list[_Patch]:
    """Cull, project and sort, nearest first."""
    eye = map_T_camera[:3, 3]
    origin, along = mesh.placed(eye)
    corners = (
        origin[:, None] + mesh.outline[:, :, :1] * along[:, None]
        + mesh.outline[:, :, 1:] * mesh.up[:, None]
    )  # fmt: skip
    optical = to_optical(corners, map_T_camera)
    nearest = optical[..., 2].min(axis=1)
    faces = np.einsum('ni,ni->n', mesh.normal, eye - origin) > 0
    keep = (faces | mesh.billboard) & (nearest < mesh.reach_m) & _in_frustum(optical, camera)
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(nearest[rows], kind='stable')]
    rotation = optical_R_map(map_T_camera)
    origin_o = (origin[rows] - eye) @ rotation.T
    along_o, up_o = along[rows] @ rotation.T, mesh.up[rows] @ rotation.T
    planes = _planes(origin_o, along_o, up_o, camera)
    patches = []
    for i, row in enumerate(rows):
        polygon = _clipped(optical[row], camera)
        if len(polygon) < 3 or np.ptp(polygon, axis=0).min() < 0.4:
            continue
        texture = mesh.textures[row]
        homography = _homography(origin_o[i], along_o[i], up_o[i], camera)
        patches.append(_Patch(int(row), polygon, homography, planes[i], texture))
    return patches


def _in_frustum(optical: Floats, camera: TownCamera) -> NDArray[np.bool_]:
    """Tell which polygons (N, 4, 3) are not wholly outside one plane of the view."""
    x, y, z = optical[..., 0], optical[..., 1], optical[..., 2]
    wide = camera.width_px / 2 / camera.focal_px
    tall = camera.height_px / 2 / camera.focal_px
    keep = z.max(axis=1) > NEAR_M
    for inside in (wide * z - x, wide * z + x, tall * z - y, tall * z + y):
        keep &= inside.max(axis=1) > 0
    return np.asarray(keep)


def _planes(origin: Floats, along: Floats, up: Floats, camera: TownCamera) -> Floats:
    """Give the inverse depth of the planes as (N, 3) over homogeneous pixels."""
    normal = np.cross(along, up)
    distance = np.einsum('ni,ni->n', normal, origin)
    distance = np.where(np.abs(distance) < 1e-9, 1e-9, distance)
    return np.asarray(normal @ np.linalg.inv(camera.matrix) / distance[:, None])


def _homography(origin: Floats, along: Floats, up: Floats, camera: TownCamera) -> Floats:
    """Map texture coordinates in [0, 1] (x right, y down, homogeneous) to pixels."""
    return np.asarray(camera.matrix @ np.column_stack([along, -up, origin + up]))


def _clipped(polygon: Floats, camera: TownCamera) -> Floats:
    """Cut an optical polygon (K, 3) at the near plane and project it to (M, 2) pixels."""
    ahead = polygon[:, 2] > NEAR_M
    if not ahead.all():
        polygon = _cut_near(polygon, ahead)
    image = polygon @ camera.matrix.T
    return np.asarray(image[:, :2] / image[:, 2:])


def _cut_near(polygon: Floats, ahead: NDArray[np.bool_]) -> Floats:
    kept = []
    for i, point in enumerate(polygon):
        before = polygon[i - 1]
        if ahead[i] != ahead[i - 1]:
            share = (NEAR_M - before[2]) / (point[2] - before[2])
            kept.append(before + share * (point - before))
        if ahead[i]:
            kept.append(point)
    return np.array(kept).reshape(-1, 3)


def _depth_test(
    buffers: Buffers, patch: _Patch, camera: TownCamera
) -> tuple[Image, NDArray[np.float32], tuple[int, int, int, int]] | None:
    """Give the visible mask (h, w), the inverse depth (h, w) and their box, or None if hidden."""
    x0, y0, x1, y1 = patch.box(camera)
    if x1 <= x0 or y1 <= y0:
        return None
    behind = buffers.inverse_depth[y0:y1, x0:x1]
    a, b, c = patch.inverse_depth
    across = (a * np.arange(x0, x1) + c).astype(np.float32)
    down = (b * np.arange(y0, y1)).astype(np.float32)
    if across.max() + down.max() <= cv2.minMaxLoc(behind)[0]:
        return None
    depth = across[None] + down[:, None]
    mask: Image = np.zeros(behind.shape, np.uint8)
    points = np.round((patch.polygon_px - (x0, y0)) * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillConvexPoly(mask, points, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    mask = np.asarray(cv2.threshold(mask, _COVERED, 255, cv2.THRESH_BINARY)[1], np.uint8)
    mask &= np.asarray(cv2.compare(depth, behind, cv2.CMP_GT), np.uint8)
    x, y, w, h = cv2.boundingRect(mask)
    if w == 0 or h == 0:
        return None
    inside = np.s_[y : y + h, x : x + w]
    return mask[inside], depth[inside], (x0 + x, y0 + y, x0 + x + w, y0 + y + h)


def _draw_solid(buffers: Buffers, patch: _Patch, camera: TownCamera) -> None:
    tested = _depth_test(buffers, patch, camera)
    if tested is None:
        return
    mask, depth, (x0, y0, x1, y1) = tested
    inside = np.s_[y0:y1, x0:x1]
    colour = _sampled(patch, (x0, y0, x1, y1))
    cv2.copyTo(colour, mask, buffers.colour[inside])
    cv2.copyTo(depth, mask, buffers.inverse_depth[inside])
    np.copyto(buffers.surface[inside], patch.row, where=mask.view(np.bool_))


def _blend(buffers: Buffers, patch: _Patch, camera: TownCamera) -> None:
    """Lay a cut-out over what is there by its opacity."""
    tested = _depth_test(buffers, patch, camera)
    if tested is None:
        return
    mask, depth, (x0, y0, x1, y1) = tested
    inside = np.s_[y0:y1, x0:x1]
    colour = _sampled(patch, (x0, y0, x1, y1))
    opacity = np.minimum(colour[..., 3], mask)
    colour[..., 3] = 0
    share = (opacity.astype(np.float32) / 255)[..., None]
    below = buffers.colour[inside].astype(np.float32)
    buffers.colour[inside] = below + share * (colour.astype(np.float32) - below)
    solid = opacity > 127
    np.copyto(buffers.inverse_depth[inside], depth, where=solid)
    np.copyto(buffers.surface[inside], patch.row, where=solid)


def _sampled(patch: _Patch, box: tuple[int, int, int, int]) -> Image:
    """
    Sample the texture for a box of pixels: (h, w, 4) uint8.

    The box is cut into bands across the direction in which depth changes most, each with the
    prefiltered copy that suits it.
    """
    x0, y0, x1, y1 = box
    base = patch.texture.level(0, 0)
    if base.shape[:2] == (1, 1):
        return np.broadcast_to(base, (y1 - y0, x1 - x0, 4)).copy()
    colour: Image = np.empty((y1 - y0, x1 - x0, 4), np.uint8)
    sideways = abs(patch.inverse_depth[0]) * (x1 - x0) > abs(patch.inverse_depth[1]) * (y1 - y0)
    texture_H_image = np.asarray(np.linalg.inv(patch.image_H_texture), np.float64)
    low, high = (x0, x1) if sideways else (y0, y1)
    for a, b in _bands(patch, low, high, box, sideways=bool(sideways)):
        part = (a, y0, b, y1) if sideways else (x0, a, x1, b)
        inside = np.s_[part[1] - y0 : part[3] - y0, part[0] - x0 : part[2] - x0]
        colour[inside] = _warped(patch, texture_H_image, part)
    return colour


def _bands(
    patch: _Patch, low: int, high: int, box: tuple[int, int, int, int], *, sideways: bool
) -> list[tuple[int, int]]:
    """Cut a range of pixels so that depth changes by no more than about 1.5 in each part."""
    slope = patch.inverse_depth[0 if sideways else 1]
    middle = (box[1] + box[3]) / 2 if sideways else (box[0] + box[2]) / 2
    other = patch.inverse_depth[1 if sideways else 0] * middle + patch.inverse_depth[2]
    ends = np.maximum(np.array([low, high]) * slope + other, 1e-4)
    count = int(np.clip(np.ceil(abs(np.log(ends[1] / ends[0])) / 0.42), 1, 8))
    # Even steps of log depth: every band gets about the same range of texture scales.
    marks = (np.geomspace(ends[0], ends[1], count + 1) - other) / slope if count > 1 else []
    cuts = sorted({low, high, *(int(np.clip(m, low, high)) for m in marks)})
    return list(zip(cuts[:-1], cuts[1:]))


def _warped(patch: _Patch, texture_H_image: Floats, box: tuple[int, int, int, int]) -> Image:
    """Warp the fitting copy of the texture into a box of pixels."""
    x0, y0, x1, y1 = box
    across, down = _levels(patch.texture, texture_H_image, ((x0 + x1) / 2, (y0 + y1) / 2))
    source = patch.texture.level(across, down)
    height, width = source.shape[:2]
    scale = np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]])
    shift = np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1]])
    warped = cv2.warpPerspective(
        source, scale @ texture_H_image @ shift, (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(warped, np.uint8)


def _levels(
    texture: Texture, texture_H_image: Floats, at_px: tuple[float, float]
) -> tuple[int, int]:
    """Choose how often to halve in x and y so that one texel is about one pixel."""
    points = np.array([[*at_px, 1], [at_px[0] + 1, at_px[1], 1], [at_px[0], at_px[1] + 1, 1]])
    mapped = points @ texture_H_image.T
    mapped = mapped[:, :2] / mapped[:, 2:]
    height, width = texture.level(0, 0).shape[:2]
    steps = np.abs(mapped[1:] - mapped[0]) * (width, height)
    texels = np.maximum(steps.max(axis=0), 1e-6)
    if texture.isotropic:
        texels[:] = np.sqrt(texels[0] * texels[1])
    across, down = np.clip(np.round(np.log2(texels)), 0, _MAX_LEVEL).astype(int)
    return int(across), int(down)
