# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from r2former_ros.errors import DatasetError
from r2former_ros.sources.datasets import PlaceSet
from r2former_ros.training import mining as mining_module
from r2former_ros.training.data.sources import Source
from r2former_ros.training.mining import (
    Descriptors,
    Miner,
    draw_negatives,
    hard_share,
    hardest_negatives,
    nearest_positive,
)
from r2former_ros.training.recipe import Recipe

ANGLES = torch.deg2rad(torch.tensor([0.0, 10.0, 21.0, 60.0, 180.0]))
VECTORS = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
DATABASE = Descriptors(np.arange(5), VECTORS)
QUERY = VECTORS[:1]


def test_the_nearest_positive_is_the_most_similar_one():
    assert nearest_positive(QUERY[0], DATABASE, np.array([4, 2, 3])) == 2


def test_hardest_negatives_are_similar_and_elsewhere():
    assert hardest_negatives(QUERY, DATABASE, [np.array([0, 1])], 2).tolist() == [[2, 3]]


def test_a_part_of_the_database_keeps_its_rows():
    part = DATABASE.part(np.array([1, 3, 4]))
    assert part.positions(np.array([0, 3, 4, 9])).tolist() == [1, 2]
    assert hardest_negatives(QUERY, part, [np.array([0, 1])], 2).tolist() == [[3, 4]]


def test_too_few_other_places_are_refused():
    with pytest.raises(DatasetError, match='fewer than 2 other places'):
        hardest_negatives(QUERY, DATABASE, [np.array([0, 1, 2, 3])], 2)


def test_negatives_are_drawn_from_the_hardest_only():
    drawn = {int(draw_negatives(QUERY, DATABASE, [np.array([0])], 1, hardest=2,
                                rng=np.random.default_rng(seed))[0, 0]) for seed in range(20)}
    assert drawn == {1, 2}


def test_where_there_are_fewer_than_the_hardest_all_are_drawn_from():
    found = draw_negatives(QUERY, DATABASE, [np.array([0, 1])], 3, hardest=100,
                           rng=np.random.default_rng(0))
    assert sorted(found[0].tolist()) == [2, 3, 4]


def test_the_hard_share_counts_triplets_above_zero():
    far_and_near = VECTORS[[4, 2]][None]  # distances 2 and 0.36 from the query; positive 0.17
    assert hard_share(QUERY, VECTORS[1:2], far_and_near, 0.1) == 0.0
    assert hard_share(QUERY, VECTORS[1:2], far_and_near, 0.2) == 0.5


class Recorded(Miner):
    """Use given vectors; remember which rows were asked for."""

    def _encode(self, rows, read, step):
        self.asked = [*getattr(self, 'asked', []), (read.__name__, rows.tolist())]
        return VECTORS[torch.from_numpy(rows)]


def mined(**changes):
    rows = tuple(np.array([row]) for row in range(5))
    places = PlaceSet(tuple('abcde'), tuple('abcde'), rows, rows)
    recipe = Recipe(**{'negatives': 1, 'sample': 3, **changes})
    miner = Recorded(Fabric(accelerator='cpu', devices=1), None,
                     Source(places, None, None, (2, 2)), recipe)
    return miner, miner.mine(0, 10)


def test_partial_mining_encodes_a_sample_and_the_positives_only(monkeypatch):
    monkeypatch.setattr(mining_module, '_draws', lambda total, count, rng: np.array([0, 2]))
    miner, pairs = mined(mining='partial')
    sample = np.sort(np.random.default_rng([0, 0]).permutation(5)[:3]).tolist()
    assert miner.asked == [('candidate', sorted({0, 2, *sample})), ('query', [0, 2])]
    for query, (positive, negative) in zip(pairs.queries, pairs.database, strict=True):
        others = [row for row in sample if row != query]
        similarity = VECTORS[others] @ VECTORS[query]
        assert positive == query
        assert negative == others[int(similarity.argmax())]


def test_random_pairs_are_drawn_without_encoding():
    miner, pairs = mined(mining='random', retrieval_loss='info_nce', negatives=2)
    assert not hasattr(miner, 'asked')
    for query, (positive, *negatives) in zip(pairs.queries, pairs.database, strict=True):
        assert positive == query
        assert len(negatives) == 2
        assert query not in negatives


def test_global_mining_encodes_all_and_a_frozen_encoder_once():
    miner, pairs = mined(mining='global', stage='rerank', hardest=1)
    nearest = [1, 0, 1, 2, 3]
    assert [row[1] for row in pairs.database] == [nearest[query] for query in pairs.queries]
    assert sorted(pairs.queries) == sorted([*range(5), *range(5)])  # each as often as others
    miner.mine(1, 5)
    assert [name for name, _ in miner.asked].count('candidate') == 1
