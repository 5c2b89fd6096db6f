# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Matches and inliers on patches whose partners are known."""

import numpy as np

from r2former_ros.config import VerificationConfig
from r2former_ros.geometry.verification import count_inliers, homography_inliers, matched_patches
from r2former_ros.records import LocalFeatures


def grid(count=36, dims=64, seed=0):
    """Return features of patches on a square grid, with random descriptors."""
    rng = np.random.default_rng(seed)
    side = int(count**0.5)
    xy = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) / side
    return LocalFeatures(
        xy.astype(np.float32), np.ones(count, np.float32),
        rng.standard_normal((count, dims)).astype(np.float32),
    )


def test_patches_find_their_partners_whatever_the_order_and_the_length():
    query = grid()
    order = np.random.default_rng(1).permutation(len(query))
    place = LocalFeatures(query.xy[order], query.attention, 3 * query.descriptors[order])
    matches = matched_patches(query, place)
    assert len(matches) == len(query)
    assert (order[matches[:, 1]] == matches[:, 0]).all()


def test_only_mutual_partners_count():
    rows = np.eye(3, dtype=np.float32)
    query = LocalFeatures(np.zeros((2, 2), np.float32), np.ones(2, np.float32),
                          rows[[0, 0]] + 0.1 * rows[[1, 2]])
    place = LocalFeatures(np.zeros((1, 2), np.float32), np.ones(1, np.float32), rows[[0]])
    assert matched_patches(query, place).tolist() == [[0, 0]]


def test_a_homography_keeps_what_it_explains_and_no_outlier():
    query_px = 640.0 * grid().xy
    place_px = query_px @ [[0.9, 0.05], [-0.05, 0.9]] + 64
    place_px[:10] = np.random.default_rng(2).uniform(0, 640, (10, 2))
    inliers = homography_inliers(query_px, place_px, 6.4)
    assert inliers[10:].all()
    assert inliers[:10].sum() <= 1


def test_too_few_matches_have_no_inliers():
    px = 640 * grid().xy[:3]
    assert not homography_inliers(px, px, 6.4).any()


def test_a_perceptual_alias_has_the_same_patches_elsewhere():
    query = grid()
    moved = LocalFeatures(0.8 * query.xy + 0.05, query.attention, query.descriptors)
    mixed = query.xy[np.random.default_rng(3).permutation(len(query))]
    alias = LocalFeatures(mixed, query.attention, query.descriptors)
    config = VerificationConfig()
    assert count_inliers(query, moved, 640, config) == len(query)
    assert len(matched_patches(query, alias)) == len(query)
    assert count_inliers(query, alias, 640, config) < config.min_inliers
