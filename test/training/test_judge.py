# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from r2former_ros.model import ImageFeatures
from r2former_ros.model.backends.numba.scoring import score_in_threads
from r2former_ros.model.reranker import Reranker
from r2former_ros.training.data.shots import Shot
from r2former_ros.training.initial.judge import (
    KNOWN,
    Judge,
    JudgeRecipe,
    KnownPatches,
    learn_to_judge,
    patch_values,
    train_judge,
    write_judge,
)
from r2former_ros.training.initial.pair_data import kept_pair_data, of_features
from r2former_ros.training.initial.reranker import start_reranker

PATCH = 16 / 256
SIZE = (192, 256)  # of which patches are known in a corner, 6 x 8


@pytest.fixture(scope='module')
def data():
    """Sixty places; the even ones have a query that sees it from 1.5 patches aside."""
    rng = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing='ij')
    xy = (torch.stack([x, y], dim=-1).view(1, 48, 2) + 0.5) / 16
    places = torch.randn(60, 48, 16, generator=rng)
    moved = places.view(60, 6, 8, 16).roll(1, dims=2).reshape(60, 48, 16)[::2]
    seen = moved + 0.6 * torch.randn(30, 48, 16, generator=rng)
    partner = torch.stack([x, y], dim=-1).view(48, 2).numpy().astype(float)
    partners = np.concatenate([partner - (1, 0), partner + (1, 0)])
    partners[(partners < 0) | (partners > (7, 5))] = np.nan
    image = np.zeros((0, 0, 3), np.uint8)
    shots = [Shot(image, f'place {row}') for row in range(60)]
    shots += [Shot(image, f'place {row}', positive=row, partners=partners)
              for row in range(0, 60, 2)]
    descriptor = torch.nn.functional.normalize(torch.randn(60, 8, generator=rng), dim=1)
    features = ImageFeatures(torch.cat([descriptor, descriptor[::2]]), xy.expand(90, -1, -1),
                             torch.ones(90, 48), torch.cat([places, seen]).half())
    return of_features(features, shots, SIZE, seed=0)


def test_hard_negatives_are_the_most_similar_of_other_places():
    shots = [Shot(np.zeros((0, 0, 3), np.uint8), group, place) for group, place in (
        ('town', (0.0, 0.0)), ('town', (7.0, 0.0)), ('town', (20.0, 0.0)), ('clip', (np.nan,) * 2),
        ('clip', (np.nan,) * 2), ('other', (np.nan,) * 2))]
    shots += [Shot(shots[0].image, 'town', (1.0, 0.0), 0, np.zeros((4, 2))),
              Shot(shots[0].image, 'clip', (np.nan,) * 2, 3, np.zeros((4, 2)))]
    same = ImageFeatures(torch.ones(8, 2), torch.zeros(8, 2, 2), torch.ones(8, 2),
                         torch.zeros(8, 2, 4))
    data = of_features(same, shots, SIZE, seed=0)
    assert data.query.tolist() == [6, 7]
    town, clip = (dict(zip(rows, labelled, strict=True)) for rows, labelled in zip(
        data.candidates.tolist(), data.labelled.tolist(), strict=True))
    assert town == {0: True, 2: False, 3: True, 4: True, 5: True}  # 2 may show the same street
    assert clip == {3: True, 0: True, 1: True, 2: True, 5: True}


def test_pairs_of_shots_know_their_true_partners(data):
    columns = torch.arange(4).expand(2, -1)
    pairs, labels = data.correlated(torch.tensor([0, 1]), columns)
    assert pairs.shape == (2, 4, 96, 5, 7)
    assert labels[:, 0].mean() > 0.7
    assert not labels[:, 1:].any()


def test_kept_pairs_are_read_again(data, tmp_path):
    path = tmp_path / 'pairs.pt'
    made = kept_pair_data(path, lambda: data)
    again = kept_pair_data(path, lambda: pytest.fail('made anew'))
    for kept in (made, again):
        assert torch.equal(kept.candidates, data.candidates)
        assert torch.equal(kept.features.descriptors, data.features.descriptors)
        assert kept.size == SIZE


def test_a_judge_learns_which_patches_to_believe_and_repeats_itself():
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(30, 3, 96, len(KNOWN), generator=rng) * 0.1
    values[:, 1:, :, 1] = -values[:, 1:, :, 1].abs()
    labels = (values[..., 1] > 0).to(torch.int8)  # what correlates is true
    known = KnownPatches(values, labels)
    recipe = JudgeRecipe(steps=60, batch=4, patches=48, hidden=16, learning_rate=0.02)
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        judge = Judge(torch.zeros(9), torch.full((9,), 0.1), recipe.hidden, patches=96)
        runs.append(train_judge(judge, known, recipe))
    assert runs[0] == runs[1]
    assert sum(runs[0][-5:]) < 0.7 * sum(runs[0][:5])


def test_a_judge_speaks_through_the_weights(data):
    torch.manual_seed(0)
    reranker = Reranker().eval()
    start_reranker(reranker, PATCH)
    judge = Judge(torch.zeros(len(KNOWN)), torch.ones(len(KNOWN)), 128, patches=96)
    torch.nn.init.normal_(judge.narrow.weight, std=0.02)
    write_judge(reranker, judge)
    pairs, _ = data.correlated(torch.arange(6), torch.arange(5).expand(6, -1))
    pairs = pairs.flatten(0, 1)
    with torch.no_grad():
        _, wanted = judge.judged(patch_values(reranker, pairs))
        logits = reranker.judge(reranker.summarise_partners(pairs), pairs[:, :, 0, :2])
    both = torch.stack([wanted, logits[:, 1] - logits[:, 0]])
    assert torch.corrcoef(both)[0, 1] > 0.97


def test_a_reranker_learns_to_judge_and_kernels_follow(data):
    torch.manual_seed(0)
    reranker = Reranker().eval()
    start_reranker(reranker, PATCH)
    learn_to_judge(reranker, data, JudgeRecipe(steps=20, patches=48), lambda done, total: None)
    query, others = data.features[60:61], data.features[:6]
    query, others = (ImageFeatures(one.descriptor, one.xy, one.attention,
                                   one.descriptors.float()) for one in (query, others))
    with torch.inference_mode():
        assert torch.allclose(score_in_threads(reranker, query, others),
                              reranker(query, others), atol=1e-3)
