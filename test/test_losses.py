# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from r2former_ros.training.losses import (
    info_nce,
    pair_cross_entropy,
    patch_contrast,
    triplet_margin,
)


def test_triplet_counts_squared_distances_beyond_the_margin():
    query = torch.tensor([[1.0, 0.0]])
    positive = torch.tensor([[0.0, 1.0]])  # squared distance 2
    negatives = torch.tensor([[[-1.0, 0.0], [0.0, -1.0]]])  # squared distances 4 and 2
    assert triplet_margin(query, positive, negatives, 0.1).item() == pytest.approx(0.05)
    assert triplet_margin(query, query, negatives, 0.1).item() == 0.0


def test_pair_cross_entropy_takes_label_one_as_match():
    logits = torch.tensor([[0.0, math.log(3.0)]])
    match, other = torch.tensor([1]), torch.tensor([0])
    assert pair_cross_entropy(logits, match).item() == pytest.approx(-math.log(0.75))
    assert pair_cross_entropy(logits, other).item() == pytest.approx(-math.log(0.25))


def test_info_nce_leaves_out_ignored_keys_but_never_the_positive():
    query = torch.tensor([[1.0, 0.0]])
    keys = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    positives, nothing = torch.tensor([0]), torch.zeros(1, 3, dtype=torch.bool)
    all_keys = info_nce(query, keys, positives, nothing, temperature=1.0)
    assert all_keys.item() == pytest.approx(math.log(2 + 1 / math.e))
    ignored = torch.tensor([[True, True, False]])
    fewer = info_nce(query, keys, positives, ignored, temperature=1.0)
    assert fewer.item() == pytest.approx(math.log(1 + 1 / math.e))


def test_patch_contrast_skips_patches_that_left_the_view():
    left = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    matches = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    loss = patch_contrast(left, left, matches, temperature=1.0)
    assert loss.item() == pytest.approx(math.log(1 + 1 / math.e))
