# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from r2former_ros.model import ImageFeatures
from r2former_ros.model.reranker import mean_best_correlation
from r2former_ros.training.losses import (
    contrast,
    info_nce,
    pair_cross_entropy,
    pair_ranking,
    patch_contrast,
    patch_similarity,
    triplet_margin,
)


def test_triplet_counts_distances_beyond_the_margin():
    query = torch.tensor([[1.0, 0.0]])
    positive = torch.tensor([[0.5, math.sqrt(0.75)]])  # distance 1
    negatives = torch.tensor([[[-1.0, 0.0], [0.0, -1.0]]])  # distances 2 and sqrt(2)
    expected = (1 - math.sqrt(2) + 0.5) / 2  # the first is beyond the margin
    loss = triplet_margin(query, positive, negatives, 0.5)
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    assert triplet_margin(query, query, negatives, 0.1).item() == 0.0


def test_pair_cross_entropy_weighs_the_positive_as_much_as_all_negatives():
    three_to_one = [0.0, math.log(3.0)]
    logits = torch.tensor([[three_to_one, three_to_one, [0.0, 0.0], [0.0, 0.0]]])
    of_negatives = -(math.log(0.25) + 2 * math.log(0.5)) / 3
    expected = (-math.log(0.75) + of_negatives) / 2
    assert pair_cross_entropy(logits).item() == pytest.approx(expected)


def test_pair_ranking_asks_which_candidate_is_most_likely_and_not_how_likely():
    twice = math.log(2.0)
    logits = torch.tensor([[[0.0, twice], [0.0, 0.0], [1.0, 1.0]]])
    assert pair_ranking(logits).item() == pytest.approx(-math.log(2 / 4))
    assert pair_ranking(logits + torch.tensor([0.0, 5.0])).item() == pytest.approx(math.log(2))


def test_info_nce_leaves_out_ignored_keys_but_never_the_positive():
    query = torch.tensor([[1.0, 0.0]])
    keys = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    positives, nothing = torch.tensor([0]), torch.zeros(1, 3, dtype=torch.bool)
    all_keys = info_nce(query, keys, positives, nothing, temperature=1.0)
    assert all_keys.item() == pytest.approx(math.log(2 + 1 / math.e))
    ignored = torch.tensor([[True, True, False]])
    fewer = info_nce(query, keys, positives, ignored, temperature=1.0)
    assert fewer.item() == pytest.approx(math.log(1 + 1 / math.e))


def test_contrast_divides_by_the_temperature():
    similarity = torch.tensor([[0.5, 0.0]])
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    loss = contrast(similarity, torch.tensor([0]), nothing, 0.5)
    assert loss.item() == pytest.approx(math.log(1 + 1 / math.e))


def test_patch_similarity_is_the_mean_best_correlation_of_every_pair():
    rng = torch.Generator().manual_seed(0)
    queries, keys = (torch.nn.functional.normalize(torch.randn(*shape, 16, generator=rng), dim=-1)
                     for shape in ((2, 7), (3, 5)))
    similarity = patch_similarity(queries, keys)

    def features(patches):
        return ImageFeatures(*(torch.zeros(len(patches), 1),) * 3, patches)

    expected = [mean_best_correlation(features(query[None]), features(keys)) for query in queries]
    assert torch.allclose(similarity, torch.stack(expected), atol=0.01)  # bfloat16
    mirrored = patch_similarity(keys, queries).T
    assert torch.allclose(similarity, mirrored, atol=0.01)


def test_patch_contrast_counts_patches_that_are_to_be_found():
    query = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    positive = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]])
    first_only = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    loss = patch_contrast(query, positive, first_only, 1.0)
    assert loss.item() == pytest.approx(math.log(1 + 2 / math.e))
    halves = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.5, 0.5]]])
    loss = patch_contrast(query, positive, halves, 1.0)
    assert loss.item() == pytest.approx(math.log(2 + 1 / math.e))
    assert patch_contrast(query, positive, torch.zeros(1, 2, 3), 1.0).item() == 0.0


def test_as_many_keys_as_queries_look_for_each_other():
    similarity = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 3.0]])
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    loss = contrast(similarity, torch.tensor([1, 0, 2]), nothing, 1.0)
    by_queries = 2 * math.log(1 + 2 / math.e) + math.log(1 + math.exp(-1) + math.exp(-3))
    by_keys = (math.log(1 + 2 / math.e) + math.log(1 + math.e + math.exp(-1))
               + math.log(1 + 2 * math.exp(-3)))
    assert loss.item() == pytest.approx((by_queries + by_keys) / 6)
