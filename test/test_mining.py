# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from r2former_ros.errors import DatasetError
from r2former_ros.training.mining import hardest_negatives, nearest_positive, partial_negatives

ANGLES = torch.deg2rad(torch.tensor([0.0, 10.0, 20.0, 60.0, 180.0]))
DATABASE = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
QUERY = DATABASE[:1]


def test_the_nearest_positive_is_the_most_similar_one():
    assert nearest_positive(QUERY[0], DATABASE, np.array([4, 2, 3])) == 2


def test_hardest_negatives_are_similar_and_elsewhere():
    found = hardest_negatives(QUERY, DATABASE, [np.array([0, 1])], 2)
    assert found.tolist() == [[2, 3]]


def test_too_few_other_places_are_refused():
    with pytest.raises(DatasetError, match='fewer than 2 other places'):
        hardest_negatives(QUERY, DATABASE, [np.array([0, 1, 2, 3])], 2)


def test_partial_mining_stays_in_its_sample_and_avoids_the_place():
    sample = np.random.default_rng(3).choice(5, 3, replace=False)
    expected = min(set(sample.tolist()) - {0})  # rows are sorted by similarity
    found = partial_negatives(
        QUERY, DATABASE, [np.array([0])], 1, sample=3, rng=np.random.default_rng(3)
    )
    assert found.tolist() == [[expected]]


def test_partial_mining_with_the_whole_database_is_global_mining():
    found = partial_negatives(
        QUERY, DATABASE, [np.array([0])], 3, sample=99, rng=np.random.default_rng(0)
    )
    assert found.tolist() == [[1, 2, 3]]
