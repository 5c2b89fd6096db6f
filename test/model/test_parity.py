# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The model against reference outputs of the released code, in float32.

Tolerances are several times the noise of the released code against itself in float64.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import model_of
from recipe import GOLDEN, make_batch, make_image, make_pairs, make_state_dict

from r2former_ros.model import ImageFeatures, blended_score, match_probability
from r2former_ros.model.official import model_from_official
from r2former_ros.model.preprocess import preprocess
from r2former_ros.model.reranker import RerankOps, go_through, pair_up

SHARED = Path(__file__).parents[3] / 'shared' / 'golden'
DEIT_SIZES = ['480x640', '640x480', '320x240', '240x320', '224x224', '768x1024', '480x480',
              '160x160', '352x640', '48x64']
CNN_SIZES = ['480x640', '320x240', '224x224', '250x331']
DESCRIPTOR, FEATURE, ATTENTION, LOGIT, SCORE = 1e-6, 1.5e-4, 2e-5, 2e-5, 5e-6
CNN_LOGIT, CNN_SCORE = 1e-3, 1e-4  # one near-tie of the top five may fall the other way

shared_data = pytest.mark.shared_data
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason='../shared/golden is absent')


@pytest.fixture(scope='module')
def golden():
    """The small reference arrays of this repository."""
    return np.load(GOLDEN / 'seed1.npz')


@pytest.fixture(scope='module')
def deit():
    """DeiT-S with reproducible weights."""
    return _model('deit')


@pytest.fixture(scope='module')
def resnet50():
    """ResNet50 with reproducible weights."""
    return _model('resnet50')


@pytest.mark.parametrize('size', DEIT_SIZES)
def test_deit_features_equal_the_released_code(deit, golden, size):
    _check_features(deit, golden, f'deit/{size}')


@pytest.mark.parametrize('size', CNN_SIZES)
def test_resnet50_features_equal_the_released_code(resnet50, golden, size):
    _check_features(resnet50, golden, f'cnn/{size}')


@pytest.mark.parametrize('case', range(7))
def test_logits_equal_the_released_code(deit, golden, case):
    number, count, nx, ny, out_of_range = golden[f'rerank/syn{case}/args_case_B_Nx_Ny_oor']
    x_global, x_local, y_global, y_local = make_pairs(
        number, count, nx, ny, out_of_range=bool(out_of_range)
    )
    queries, candidates = _features(x_global, x_local), _features(y_global, y_local)
    logits = torch.cat([deit.score(queries[i], candidates[i]) for i in range(count)])
    similarity = (queries.descriptor * candidates.descriptor).sum(-1)
    score = blended_score(logits, similarity, deit.network.reranker.ratio.detach())
    assert np.abs(logits.numpy() - golden[f'rerank/syn{case}/logits']).max() < LOGIT
    assert np.abs(score.numpy() - golden[f'rerank/syn{case}/final_score']).max() < SCORE


def test_ranking_equals_the_released_evaluation(deit, golden):
    database = _encode_all(deit, golden['e2e/db_scene_view'])
    queries = _encode_all(deit, golden['e2e/query_scene_view'])
    similarity = queries.descriptor @ database.descriptor.T
    for query, row in enumerate(similarity):
        retrieved = row.argsort(descending=True)[:20]
        assert retrieved.tolist() == golden['e2e/ranks_global'][query].tolist()
        logits = deit.score(queries[query], database[retrieved])
        assert np.abs(logits.numpy() - golden['e2e/logits'][query]).max() < LOGIT
        order = match_probability(logits).argsort(descending=True)
        assert retrieved[order].tolist() == golden['e2e/ranks_reranked'][query].tolist()


@torch.inference_mode()
def test_a_partner_that_rounding_swaps_costs_more_than_all_other_rounding(deit):
    """
    Why logits from images may differ by more than logits from features.

    Where a patch's fifth and sixth best partners correlate alike but for rounding, another order
    of summation may keep the other one. Here that is done to the nearest tie of a pair.
    """
    x_global, x_local, y_global, y_local = make_pairs(21, 1, 200, 200, out_of_range=False)
    query, candidate = _features(x_global, x_local), _features(y_global, y_local)
    gaps = []

    def swap_nearest_tie(correlation, left, right):
        best = correlation.topk(6, dim=2)
        gap, row = (best.values[0, :, 4] - best.values[0, :, 5]).min(dim=0)
        gaps.append(float(gap))
        fifth, sixth = best.indices[0, row, 4:].tolist()
        tied = correlation.clone()
        tied[0, row, [fifth, sixth]] = correlation[0, row, [sixth, fifth]]
        return pair_up(tied, left, right)

    logits = deit.score(query, candidate)
    swapped = deit.network.reranker(query, candidate, RerankOps(swap_nearest_tie, go_through))
    assert gaps[0] < 1e-4
    assert LOGIT < (swapped - logits).abs().max() < 1e-2


def test_preprocessing_equals_the_released_evaluation(deit, golden):
    scene, view, height, width = golden['prep/scene_view_H_W'].tolist()
    pixels = preprocess(make_image(scene, view, height, width), deit.spec.input)
    assert pixels.shape == (1, 3, 480, 640)
    sample = pixels[0, :, ::7, ::11].numpy()
    assert np.abs(sample - golden['prep/sample']).max() < 1e-5
    descriptor = deit.encode(pixels).descriptor.numpy()
    assert np.abs(descriptor - golden['prep/global']).max() < DESCRIPTOR


def test_coordinates_are_right_where_the_released_ones_are_not(deit):
    features = deit.encode(torch.from_numpy(make_batch(np.array([[7, 0]]), 250, 331)))
    columns = (features.xy[0, :, 0] * 331 - 8) / 16
    assert features.xy.shape[1] == (250 // 16) * (331 // 16)
    assert columns.round().unique().tolist() == list(range(331 // 16))


@shared_data
@needs_shared
@pytest.mark.parametrize('size', DEIT_SIZES)
def test_all_shared_deit_features(deit, size):
    _check_shared_features(deit, np.load(SHARED / 'deit_seed1.npz'), f'deit/{size}')


@shared_data
@needs_shared
@pytest.mark.parametrize('size', CNN_SIZES)
def test_all_shared_resnet50_features(resnet50, size):
    _check_shared_features(resnet50, np.load(SHARED / 'cnn_seed1.npz'), f'cnn/{size}')


@shared_data
@needs_shared
def test_all_shared_logits_of_real_features(deit):
    encoded = np.load(SHARED / 'deit_seed1.npz')
    golden = np.load(SHARED / 'rerank_seed1.npz')
    checked = 0
    for key in golden:
        if '_vs_' in key and key.endswith('/logits'):
            first, second = key.split('/')[1].split('_vs_')
            query = _shared_image(encoded, first, 0)
            candidate = _shared_image(encoded, second, int(first == second))
            assert np.abs(deit.score(query, candidate).numpy() - golden[key]).max() < LOGIT, key
            checked += 1
    assert checked == 26


@shared_data
@needs_shared
def test_all_shared_resnet50_logits(resnet50):
    golden = np.load(SHARED / 'cnn_seed1.npz')
    prefix = 'rerank_cnn/480x640_all_pairs'
    images = _features(golden['cnn/480x640/global'], golden['cnn/480x640/local'])
    pairs = golden[f'{prefix}/index'].tolist()
    logits = torch.cat([resnet50.score(images[i], images[j]) for i, j in pairs])
    similarity = torch.stack([images.descriptor[i] @ images.descriptor[j] for i, j in pairs])
    score = blended_score(logits, similarity, resnet50.network.reranker.ratio.detach())
    assert np.abs(logits.numpy() - golden[f'{prefix}/logits']).max() < CNN_LOGIT
    assert np.abs(score.numpy() - golden[f'{prefix}/final_score']).max() < CNN_SCORE


def _model(architecture):
    state = make_state_dict(architecture)
    return model_of(
        model_from_official({key: torch.from_numpy(value) for key, value in state.items()}))


def _check_features(model, golden, prefix):
    """Compare one image: the descriptor, which patches were selected, and some of their rows."""
    height, width = map(int, prefix.split('/')[1].split('x'))
    images = torch.from_numpy(make_batch(golden[f'{prefix}/scene_view'], height, width))
    features = model.encode(images)
    assert np.abs(features.descriptor.numpy() - golden[f'{prefix}/global']).max() < DESCRIPTOR
    assert sorted(_patches(features.xy[0].numpy(), height, width)) == \
        golden[f'{prefix}/patches'].tolist()
    _check_rows(_rows(features)[0], golden[f'{prefix}/local_rows'], height, width)


def _check_shared_features(model, golden, prefix):
    """Compare all images of a size, every row."""
    height, width = map(int, prefix.split('/')[1].split('x'))
    images = torch.from_numpy(make_batch(golden[f'{prefix}/scene_view'], height, width))
    features = model.encode(images)
    assert np.abs(features.descriptor.numpy() - golden[f'{prefix}/global']).max() < DESCRIPTOR
    for ours, theirs in zip(_rows(features), golden[f'{prefix}/local'], strict=True):
        assert len(ours) == len(theirs)
        _check_rows(ours, theirs, height, width)


def _check_rows(ours, theirs, height, width):
    """Match rows by their patch: near-ties of attention may change places."""
    by_patch = dict(zip(_patches(ours, height, width), ours, strict=True))
    for patch, row in zip(_patches(theirs, height, width), theirs, strict=True):
        assert np.abs(by_patch[patch][3:] - row[3:]).max() < FEATURE
        assert abs(by_patch[patch][2] / row[2] - 1) < ATTENTION
        assert np.abs(by_patch[patch][:2] - row[:2]).max() < 1e-6


def _patches(rows, height, width):
    """Return patch numbers from the x, y of rows."""
    cells = np.rint((rows[:, :2] * max(height, width) - 8) / 16).astype(int)
    return (cells[:, 1] * -(-width // 16) + cells[:, 0]).tolist()


def _rows(features):
    parts = [features.xy, features.attention[..., None], features.descriptors]
    return torch.cat(parts, dim=-1).numpy()


def _features(descriptors, local):
    local = torch.from_numpy(np.ascontiguousarray(local))
    return ImageFeatures(
        torch.from_numpy(descriptors), local[..., :2], local[..., 2], local[..., 3:]
    )


def _shared_image(encoded, size, image):
    rows = slice(image, image + 1)
    return _features(encoded[f'deit/{size}/global'][rows], encoded[f'deit/{size}/local'][rows])


def _encode_all(model, scenes_views):
    return ImageFeatures.cat([
        model.encode(torch.from_numpy(make_batch(scenes_views[i : i + 1], 480, 640)))
        for i in range(len(scenes_views))
    ])
