# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Well-known descriptors of whole images as baselines: HOG, SAD and VLAD.

They compare the query with every place of the map, using its thumbnail or file, without a network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import MapError
from ...maps.place_map import PlaceMap
from ...records import Image, Vector
from ..outcomes import Ranking
from ..runner import Sight
from ..thumbnails import place_picture

HOG_SIDE_PX, HOG_CELL_PX = 64, 8
SAD_SIZE_PX, SAD_PATCH_PX = (64, 32), 8
FLATTEST_STD = 2.0
"""Patches with less contrast, in grey levels, are noise: SAD does not stretch them further."""
WORDS, VOCABULARY_IMAGES, SIFT_FEATURES = 64, 100, 500
SIFT_WIDTH_PX = 320
LISTED = 100
"""Places of a ranking."""

Describe = Callable[[Image], Vector]
Compare = Callable[[Vector, Vector], NDArray[np.floating]]
"""From the vectors of places (P, D) and of a query (D,) to likeness (P,)."""


class ImageRanking:
    """Rank all places of a map with one vector per image."""

    def __init__(
        self, name: str, describe: Describe, compare: Compare, place_map: PlaceMap
    ) -> None:
        """
        Describe the pictures of all places, on all cores.

        :raises MapError: if a place has no picture.
        """
        self.name = name
        self._describe = describe
        self._compare = compare
        self._ids = list(place_map.places())
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self._rows = np.stack(list(_mapped(pool, describe, _pictures(place_map))))

    def rank(self, sight: Sight) -> Ranking:
        """Compare the image of the query with the places that may be named."""
        rows = self._rows[: sight.query.visible]
        likeness = self._compare(rows, self._describe(sight.frame.image))
        order = np.argsort(-likeness, kind='stable')[:LISTED]
        if not len(order):
            return Ranking(())
        return Ranking(tuple(self._ids[row] for row in order), float(likeness[order[0]]))


def hog(place_map: PlaceMap) -> ImageRanking:
    """Histograms of oriented gradients (Dalal and Triggs 2005) of a grey 64x64 thumbnail."""
    return ImageRanking('hog', hog_vector, _cosine, place_map)


def sad(place_map: PlaceMap) -> ImageRanking:
    """Sum of absolute differences of patch-normalised thumbnails, single frames of SeqSLAM."""
    return ImageRanking('sad', patch_normalised, _nearness, place_map)


def vlad(place_map: PlaceMap) -> ImageRanking:
    """VLAD (Jegou et al. 2010) over RootSIFT, its vocabulary learned from the map."""
    words = _vocabulary(place_map)
    return ImageRanking('vlad', lambda image: vlad_vector(image, words), _cosine, place_map)


def hog_vector(image: Image) -> Vector:
    """Return the HOG of an image, of unit norm: 8x8 cells, blocks of four, nine directions."""
    side, cell = (HOG_SIDE_PX,) * 2, (HOG_CELL_PX,) * 2
    block = (2 * HOG_CELL_PX,) * 2
    values = cv2.HOGDescriptor(side, block, cell, cell, 9).compute(_grey(image, side))
    return _unit(np.asarray(values, np.float32).ravel())


def patch_normalised(image: Image) -> Vector:
    """Return a grey 64x32 thumbnail whose 8x8 patches have mean 0 and deviation 1, flattened."""
    width, height = SAD_SIZE_PX
    grey = _grey(image, SAD_SIZE_PX).astype(np.float32)
    patches = grey.reshape(height // SAD_PATCH_PX, SAD_PATCH_PX, width // SAD_PATCH_PX, -1)
    mean = patches.mean(axis=(1, 3), keepdims=True)
    std = patches.std(axis=(1, 3), keepdims=True)
    normal: Vector = (patches - mean) / np.maximum(std, FLATTEST_STD)
    return normal.ravel()


def vlad_vector(image: Image, words: Vector) -> Vector:
    """
    Add up the residuals of an image's RootSIFT features to their nearest words.

    :param words: (K, 128)
    :returns: (K * 128,), each word's part normalised, then the whole (Arandjelovic 2013).
    """
    features = _root_sift(image)
    nearest = ((features[:, None] - words) ** 2).sum(axis=2).argmin(axis=1)
    sums = np.zeros_like(words)
    np.add.at(sums, nearest, features - words[nearest])
    return _unit((sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)).ravel())


def _vocabulary(place_map: PlaceMap) -> Vector:
    """
    Learn the words of a map's pictures with k-means; the same map always gives the same words.

    :raises MapError: if the pictures have too few features.
    """
    pictures = _pictures(place_map, max(1, len(place_map) // VOCABULARY_IMAGES))
    features = np.concatenate([_root_sift(image) for image in pictures])
    if len(features) < WORDS:
        raise MapError(f'{place_map.location}: its pictures have {len(features)} SIFT features, '
                       f'too few for {WORDS} words', 'leave out the method vlad')
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_MAX_ITER | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
    labels = np.zeros((len(features), 1), np.int32)
    _, _, words = cv2.kmeans(features, WORDS, labels, criteria, 1, cv2.KMEANS_PP_CENTERS)
    return np.asarray(words, np.float32)


def _root_sift(image: Image) -> Vector:
    """Return the square roots of SIFT (N, 128) with sum 1 (Arandjelovic and Zisserman 2012)."""
    scale = min(1.0, SIFT_WIDTH_PX / image.shape[1])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    _, found = cv2.SIFT.create(SIFT_FEATURES).detectAndCompute(_grey(image, size), None)
    features = np.zeros((0, 128), np.float32) if found is None else found
    shares = features / np.maximum(features.sum(axis=1, keepdims=True), 1e-9)
    return np.asarray(np.sqrt(shares), np.float32)


def _pictures(place_map: PlaceMap, every: int = 1) -> Iterator[Image]:
    for place in list(place_map.places().values())[::every]:
        image = place_picture(place_map, place)
        if image is None:
            raise MapError(f'{place_map.location}: place {place.place_id} has no picture; hog, '
                           'sad and vlad need a map with thumbnails (map.thumbnail_width)')
        yield image


def _mapped(
    pool: ThreadPoolExecutor, describe: Describe, images: Iterable[Image]
) -> Iterator[Vector]:
    """Describe images on all threads, a few at a time to bound memory."""
    waiting: list[Image] = []
    for image in images:
        waiting.append(image)
        if len(waiting) == 64:
            yield from pool.map(describe, waiting)
            waiting = []
    yield from pool.map(describe, waiting)


def _grey(image: Image, size: Sequence[int]) -> Image:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, tuple(size), interpolation=cv2.INTER_AREA), np.uint8)


def _unit(vector: Vector) -> Vector:
    unit: Vector = vector / max(float(np.linalg.norm(vector)), 1e-9)
    return unit


def _cosine(rows: Vector, query: Vector) -> NDArray[np.floating]:
    return np.asarray(rows @ query)


def _nearness(rows: Vector, query: Vector) -> NDArray[np.floating]:
    return np.asarray(-np.abs(rows - query).mean(axis=1))
