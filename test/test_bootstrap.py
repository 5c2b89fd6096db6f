# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from r2former_ros.model import ImageFeatures
from r2former_ros.model.reranker import Reranker, correlate
from r2former_ros.model.stem import DIRECTIONS, GradientStem, derivatives_of_gaussian
from r2former_ros.training.pairs import (
    PairRecipe,
    PairTrainer,
    ViewFeatures,
    calibrate_head,
    start_reranker,
)
from r2former_ros.training.start import discriminants
from r2former_ros.training.views import ImagePool


def test_derivative_filters_answer_to_a_ramp_along_their_direction():
    x = torch.arange(9.0) - 4
    answers = (derivatives_of_gaussian(1.0) * x).sum(dim=(1, 2))  # a ramp of slope one
    angles = torch.arange(DIRECTIONS) * 2 * torch.pi / DIRECTIONS
    assert torch.allclose(answers, angles.cos(), atol=0.01)


def test_the_stem_halves_to_one_token_a_patch_and_its_sums_ignore_contrast_sign():
    stem = GradientStem(192).eval()
    images = torch.randn(1, 3, 48, 64)
    tokens = stem(images)
    assert tokens.shape == (1, 192, 3, 4)
    cells = stem.cells(stem.edges(images).relu())
    negative = stem.cells(stem.edges(-images).relu())
    half = cells.shape[1] // 2
    assert torch.allclose(cells[:, :half], negative[:, :half], atol=1e-5)
    assert torch.allclose(cells[:, half:], -negative[:, half:], atol=1e-5)


def test_discriminants_prefer_what_pairs_agree_on():
    rng = torch.Generator().manual_seed(0)
    shared = torch.randn(2000, 1, generator=rng)
    noise = torch.randn(2, 2000, 1, generator=rng) * 5
    left, right = (torch.cat([own, shared], dim=1) for own in noise)
    direction = discriminants(left, right, 1)[:, 0]
    assert abs(direction[1]) > 20 * abs(direction[0])


def test_neighbours_are_adjacent_frames_of_one_clip():
    pool = ImagePool(np.zeros((4, 1, 1, 3), np.uint8), (), np.array([0, 0, 0, 1]),
                     np.array([1, 2, 9, 10]))
    rng = np.random.default_rng(0)
    assert [pool.neighbour(row, rng) for row in range(4)] == [1, 0, 2, 3]


@pytest.fixture
def features():
    """Six images: the strong view has the mild one's patches; images 0 to 2 are one clip."""
    rng = torch.Generator().manual_seed(0)
    xy, attention = torch.rand(6, 12, 2, generator=rng), torch.ones(6, 12)
    descriptors = torch.randn(6, 12, 16, generator=rng)
    vectors = torch.nn.functional.normalize(torch.randn(6, 8, generator=rng), dim=1)
    view = ImageFeatures(vectors, xy, attention, descriptors)
    clip, frame = torch.tensor([0, 0, 0, 1, 2, 3]), torch.tensor([1, 2, 30, 0, 0, 0])
    return ViewFeatures((view, view), clip, frame)


def test_hard_pairs_never_show_the_same_place(features):
    trainer = PairTrainer(Reranker(), features, PairRecipe(hardest=3))
    assert features.next_frame().tolist() == [1, 1, 2, 3, 4, 5]
    for table in trainer.hardest.values():
        assert not {0, 1} & set(table[0].tolist()) and not {0, 1} & set(table[1].tolist())
        assert all(row not in table[row].tolist() for row in range(6))


def test_the_reranker_learns_pairs_and_repeats_itself(features):
    recipe = PairRecipe(queries=4, negatives=2, hardest=3, patches=10, steps=30, warmup=5)
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        reranker = Reranker()
        start_reranker(reranker)
        trainer = PairTrainer(reranker, features, recipe)
        runs.append([trainer.step(number) for number in range(30)])
    assert runs[0] == runs[1]
    assert sum(runs[0][-5:]) < 0.5 * sum(runs[0][:5])


def test_the_reranker_starts_as_the_mean_best_correlation(features):
    torch.manual_seed(0)
    reranker = Reranker()
    start_reranker(reranker)
    view = features.views[0]
    rng = torch.Generator().manual_seed(1)
    noises = torch.linspace(0, 3, 8)
    noisy = [view.descriptors[:1] + noise * torch.randn(1, 12, 16, generator=rng)
             for noise in noises]
    others = ImageFeatures(view.descriptor[:1].expand(8, -1), view.xy[:1].expand(8, -1, -1),
                           view.attention[:1].expand(8, -1), torch.cat(noisy))
    with torch.no_grad():
        logits = reranker(view[0], others)
        best = correlate(view[0], others)[:, :, 0, 6].mean(dim=1)
    scores = logits[:, 1] - logits[:, 0]
    assert torch.corrcoef(torch.stack([scores, best]))[0, 1] > 0.97


@pytest.mark.parametrize('offset', [0.0, 50.0])
def test_calibration_makes_probabilities_fit(offset):
    reranker = Reranker()
    with torch.no_grad():
        reranker.head.weight.copy_(torch.tensor([[-0.5], [0.5]]).expand(2, 32))
        reranker.head.bias.copy_(torch.tensor([-0.5, 0.5]) * offset)
    inputs = torch.randn(4000, 32, generator=torch.Generator().manual_seed(0))
    logits = reranker.head(inputs).detach()
    wanted = ((logits[:, 1] - logits[:, 0] - offset) * 0.3 + 1.0).sigmoid()
    labels = (torch.rand(4000, generator=torch.Generator().manual_seed(1)) < wanted).long()
    calibrate_head(reranker, logits, labels)
    fitted = reranker.head(inputs).detach().softmax(dim=1)[:, 1]
    share = labels.float().mean()  # the fit is as if it were a half
    as_drawn = fitted * share / (fitted * share + (1 - fitted) * (1 - share))
    assert (as_drawn - wanted).abs().max() < 0.06
