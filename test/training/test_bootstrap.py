# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from r2former_ros.model import ImageFeatures
from r2former_ros.model.backends.numba.scoring import score_in_threads
from r2former_ros.model.reranker import Reranker, correlate
from r2former_ros.training.bootstrap import PATCH
from r2former_ros.training.initial.encoder import discriminants
from r2former_ros.training.initial.judge import calibrate_head
from r2former_ros.training.initial.reranker import (
    AVERAGE_GAIN,
    CLEAR_CORRELATION,
    CORRELATION_GAIN,
    CORRELATION_SHARE,
    DISTINCT_GAIN,
    ENOUGH_NEIGHBOURS,
    ENOUGH_PATCHES,
    MOTION_PATCHES,
    NEIGHBOUR_PATCHES,
    start_reranker,
)


def test_discriminants_prefer_what_pairs_agree_on():
    rng = torch.Generator().manual_seed(0)
    shared = torch.randn(2000, 1, generator=rng)
    noise = torch.randn(2, 2000, 1, generator=rng) * 5
    left, right = (torch.cat([own, shared], dim=1) for own in noise)
    direction = discriminants(left, right, 1, ridge=0.05)[:, 0]
    assert abs(direction[1]) > 20 * abs(direction[0])


def moved_patches(shifts, alike=0.0, noise=0.4):
    """
    Make an image of 8 x 6 patches, and others in which they moved.

    :param alike: correlation of two patches of an image.
    """
    rng = torch.Generator().manual_seed(1)
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing='ij')
    xy = (torch.stack([x, y], dim=-1).view(1, 48, 2) + 4) * PATCH
    patches = torch.randn(1, 48, 16, generator=rng) * (1 - alike) ** 0.5
    patches = patches + alike**0.5
    nothing, all_alike = torch.zeros(1, 8), torch.ones(1, 48)
    query = ImageFeatures(nothing, xy, all_alike, patches)
    changes = torch.randn(len(shifts), 48, 16, generator=rng) * noise * (1 - alike) ** 0.5
    others = ImageFeatures(nothing.expand(len(shifts), -1),
                           torch.cat([xy + shift * PATCH for shift in shifts]),
                           all_alike.expand(len(shifts), -1), patches + changes)
    return query, others


def weighted_support(query, others):
    """Compute by definition what the start of the reranker is made to compute."""
    partners = correlate(query, others)
    best = partners[:, :, 0]
    place = best[..., :2] / (NEIGHBOUR_PATCHES * PATCH)
    motion = (best[..., 3:5] - best[..., :2]) / (MOTION_PATCHES * PATCH)
    where = torch.cat([place, motion], dim=-1)
    weights = (CORRELATION_GAIN * (best[..., None, :, 6] - CLEAR_CORRELATION)).exp()
    agree = (weights * (-torch.cdist(where, where) ** 2 / 2).exp()).sum(dim=-1)
    distinct = (DISTINCT_GAIN * (best[..., 6] - partners[:, :, -1, 6])).exp()
    support = distinct * agree / (agree + ENOUGH_NEIGHBOURS)
    mean = support.sum(dim=1) / (ENOUGH_PATCHES + distinct.sum(dim=1))
    return AVERAGE_GAIN * mean + CORRELATION_SHARE * best[..., 6].mean(dim=1)


@pytest.mark.parametrize('alike', [0.0, 0.8])
def test_the_reranker_starts_as_the_weighted_support_of_patches(alike):
    rng = torch.Generator().manual_seed(2)
    whole = [torch.tensor([2.0, 1.0]).expand(1, 48, 2), torch.zeros(1, 48, 2)]
    torn = [torch.randn(1, 48, 2, generator=rng) * spread for spread in (0.3, 0.6, 1.0, 2.0, 4.0)]
    query, others = moved_patches([*whole, *torn], alike)
    reranker = Reranker()
    start_reranker(reranker, PATCH)
    with torch.no_grad():
        logits = reranker(query, others)
    scores, support = logits[:, 1] - logits[:, 0], weighted_support(query, others)
    assert support[:2].min() > support[2:].max()  # moved as a whole, or every patch by itself
    assert scores[:2].min() > scores[2:].max()
    assert scores[2:].argsort().tolist() == support[2:].argsort().tolist()
    assert torch.corrcoef(torch.stack([scores, support]))[0, 1] > 0.99


def test_an_image_in_which_patches_are_alike_scores_less():
    scores = []
    for alike in (0.0, 0.8):
        query, others = moved_patches([torch.zeros(1, 48, 2)], alike, noise=0.0)
        reranker = Reranker()
        start_reranker(reranker, PATCH)
        with torch.no_grad():
            logits = reranker(query, others)
        scores.append(float(logits[0, 1] - logits[0, 0]))
    assert scores[1] < 0.5 * scores[0]  # every patch has itself as best partner in both


def test_branches_that_add_nothing_are_left_out_of_the_kernels_without_a_trace():
    query, others = moved_patches([torch.zeros(1, 48, 2), torch.ones(1, 48, 2)])
    reranker = Reranker().eval()
    start_reranker(reranker, PATCH)
    with torch.inference_mode():
        assert torch.allclose(score_in_threads(reranker, query, others),
                              reranker(query, others), atol=1e-4)


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
