# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A query beside a place: what is counted, and where lines end."""

import numpy as np
from fakes import FEATURES, FakeModel, picture

from r2former_ros.geometry.drawing import GAP_PX, draw_matches, side_by_side
from r2former_ros.model.preprocess import preprocess
from r2former_ros.records import LocalFeatures


def test_matched_patches_of_an_image_with_itself_are_all_explained():
    model, image = FakeModel(), picture(3, 96, 128)
    spec = model.spec.input
    features = model.encode(preprocess(image, spec)).local_features_of(0)
    size = {'input_px': (spec.height, spec.width), 'height_px': 240}
    sheet, pairs, inliers = draw_matches(image, features, image, features, **size)
    assert pairs == inliers == FEATURES
    assert sheet.shape == (240, 2 * 320 + GAP_PX, 3)
    noise = LocalFeatures(features.xy, features.attention,
                          np.random.default_rng(0).normal(size=(FEATURES, 3)).astype(np.float32))
    assert draw_matches(image, features, image, noise, **size).inliers < FEATURES / 2


def test_lines_join_the_patches_that_match():
    """One pair: the query's left top and the place's right bottom; too few for a homography."""
    black = np.zeros((60, 80, 3), np.uint8)
    one = np.ones((1, 2), np.float32)
    start = LocalFeatures(np.array([[0.25, 0.25]], np.float32), one[0, :1], one)
    end = LocalFeatures(np.array([[0.75, 0.5]], np.float32), one[0, :1], one)
    sheet, pairs, inliers = draw_matches(
        black, start, black, end, input_px=(48, 64), height_px=60)
    assert (pairs, inliers) == (1, 0)
    # xy are fractions of the longer side, 64 px: 16 px of 48 down, 32 px of 48 down.
    assert sheet[20, 20].any() and sheet[40, 80 + GAP_PX + 60].any()
    assert not sheet[20, 70:79].any() and not sheet[55, :60].any()


def test_pictures_of_different_shapes_share_a_height():
    sheet, place_x = side_by_side(picture(1, 100, 50), picture(2, 40, 80), 50)
    assert sheet.shape == (50, 25 + GAP_PX + 100, 3) and place_x == 25 + GAP_PX
