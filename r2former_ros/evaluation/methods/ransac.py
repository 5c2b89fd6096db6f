# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""RANSAC on the same local features and candidates, the baseline of the paper."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from ...geometry.verification import PATCH_TOLERANCE_PX, homography_inliers, matched_patches
from ...maps.place_map import PlaceMap
from ...model.preprocess import InputSpec
from ...records import LocalFeatures
from ..outcomes import Ranking
from ..runner import Sight


class RansacRanking:
    """Rank candidates by the number of patch pairs that agree with one homography."""

    name = 'ransac'

    def __init__(self, place_map: PlaceMap, spec: InputSpec) -> None:
        self._place_map = place_map
        self._scale_px = max(spec.height, spec.width)

    def rank(self, sight: Sight) -> Ranking:
        """Count inliers of the reranked candidates; the others keep their order."""
        reranked = {one.place.place_id for one in sight.recognition.hypotheses}
        retrieved = [one.place_id for one in sight.recognition.candidates]
        ids = [one for one in retrieved if one in reranked]
        if not ids:
            return Ranking(())
        query = sight.features.local_features_of(0)
        _, stored = self._place_map.features(ids)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            counts = list(pool.map(lambda place: self._inliers(query, place), stored))
        order = sorted(range(len(counts)), key=lambda row: -counts[row])
        ranked = [ids[row] for row in order]
        rest = [one for one in retrieved if one not in reranked]
        return Ranking((*ranked, *rest), float(counts[order[0]]))

    def _inliers(self, query: LocalFeatures, place: LocalFeatures) -> int:
        pairs = matched_patches(query, place)
        return int(homography_inliers(
            query.xy[pairs[:, 0]] * self._scale_px, place.xy[pairs[:, 1]] * self._scale_px,
            PATCH_TOLERANCE_PX,
        ).sum())
