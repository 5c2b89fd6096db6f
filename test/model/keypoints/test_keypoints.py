# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""SIFT and XFeat on a picture that is shifted by a known step."""

import numpy as np
import pytest
import torch

from r2former_ros.demo.town import Town
from r2former_ros.errors import WeightsError
from r2former_ros.model.keypoints import detectors
from r2former_ros.model.keypoints.xfeat import XFeat, load_network
from r2former_ros.model.keypoints.xfeat_network import XFeatNetwork, folded

SHIFT_PX = 32  # both crops are then multiples of 32 px wide, which XFeat need not resize


@pytest.fixture(scope='module')
def picture():
    town = Town(3)
    return town.view(town.poses(0, 8)[2].pose)


@pytest.mark.parametrize('kind, dim, dtype', [('sift', 128, np.uint8), ('xfeat', 64, np.int8)])
def test_keypoints_follow_the_picture(picture, kind, dim, dtype):
    (detector,) = detectors(kind, 400)
    first = detector.detect(np.ascontiguousarray(picture[:, SHIFT_PX:]))
    second = detector.detect(np.ascontiguousarray(picture[:, :-SHIFT_PX]))
    assert detector.kind == first.kind == kind
    assert first.descriptors.shape == (len(first), dim)
    assert first.descriptors.dtype == dtype
    assert 100 < len(first) <= 400
    pairs = detector.match(first.descriptors, second.descriptors)
    step = second.xy[pairs[:, 1]] - first.xy[pairs[:, 0]]
    assert len(pairs) > 60
    assert np.median(step, axis=0) == pytest.approx([SHIFT_PX, 0], abs=0.3)
    assert np.mean(np.abs(step - [SHIFT_PX, 0]).max(axis=1) < 1.5) > 0.8


@pytest.mark.parametrize('kind', ['sift', 'xfeat'])
def test_a_blank_picture_has_no_keypoints_that_match(kind):
    (detector,) = detectors(kind, 100)
    found = detector.detect(np.full((97, 131, 3), 80, np.uint8))
    assert found.xy.shape == (len(found), 2)
    assert len(found.descriptors) == len(found)


def test_the_order_of_names_is_kept():
    assert [one.kind for one in detectors('xfeat, sift', 10)] == ['xfeat', 'sift']


def test_folded_batch_normalisation_computes_the_same():
    network = XFeatNetwork().eval()
    state = {}
    for name, value in network.state_dict().items():
        if not name.startswith('blocks.'):
            continue
        _, block, number, part = name.split('.')
        theirs = f'{block}.{int(number) // 2}.layer'
        if part == 'weight':
            state[f'{theirs}.0.weight'] = torch.full_like(value, 2.0)
            state[f'{theirs}.1.running_var'] = torch.full((len(value),), 4 - 1e-5)
            state[f'{theirs}.1.running_mean'] = torch.full((len(value),), 3.0)
    for ours, theirs in (('skip', 'skip1.1'), ('fusion_out', 'block_fusion.2'),
                         ('heatmap_out', 'heatmap_head.2'), ('keypoint_out', 'keypoint_head.3')):
        for part in ('weight', 'bias'):
            state[f'{theirs}.{part}'] = network.state_dict()[f'{ours}.{part}']
    network.load_state_dict(folded(state))
    first = network.blocks['block1'][0]
    # (2 x - 3) / 2
    assert first.weight.unique().tolist() == pytest.approx([1.0])
    assert first.bias.unique().tolist() == pytest.approx([-1.5])


def test_other_weights_are_refused(tmp_path):
    other = tmp_path / 'other.safetensors'
    other.write_bytes(b'not weights')
    with pytest.raises(WeightsError, match='sha256'):
        load_network(other)
    with pytest.raises(WeightsError, match='cannot be read'):
        XFeat(10, tmp_path / 'missing.safetensors')
