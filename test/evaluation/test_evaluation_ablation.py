# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Each ablation takes away what it names, and nothing else."""

import json
from dataclasses import replace

import cv2
import pytest
import torch
from fakes import picture

from r2former_ros.cli import main
from r2former_ros.evaluation.ablation import (
    Variant,
    ablated,
    random_choice,
    variants,
    with_all_patches,
    without_attention,
    without_xy,
)
from r2former_ros.model import ImageFeatures, load_model
from r2former_ros.model.preprocess import preprocess
from r2former_ros.model.reranker import correlate


@pytest.fixture(scope='module')
def model():
    """The untrained tiny network at 64x96: 24 patches, of which it selects 10."""
    made = load_model('tiny', image_height=64, image_width=96)
    made.network.spec = replace(made.spec, num_local=10)
    return made


@pytest.fixture(scope='module')
def pair(model):
    """Features of two different pictures."""
    images = [preprocess(picture(seed, 64, 96), model.spec.input) for seed in (1, 2)]
    return [model.encode(image).strongest(10) for image in images]


def score(model, variant, pair):
    """Score a pair with a part taken away."""
    return ablated(model, variant).score(*pair)


def test_the_whole_network_scores_as_before_and_every_part_matters(model, pair):
    whole = model.score(*pair)
    assert torch.equal(score(model, Variant('as trained'), pair), whole)
    seen = {}
    for variant in variants(10, 20)[1:4]:  # those of the reranker
        seen[variant.name] = score(model, variant, pair)
        assert (seen[variant.name] - whole).abs().max() > 1e-5, variant.name
    assert list(seen) == ['no Block-1', 'no Block-2', 'top-1 pair']


def test_without_a_block_its_weights_play_no_part(model, pair):
    for variant, block in zip(variants(10, 20)[1:3], ('block_1', 'block_2'), strict=True):
        before = score(model, variant, pair)
        weights = getattr(model.network.reranker, block)[0].attn.qkv.weight
        kept = weights.detach().clone()
        with torch.no_grad():
            weights.mul_(3)
            assert torch.equal(score(model, variant, pair), before)
            weights.copy_(kept)


def test_the_top_pair_alone_is_read(model, pair):
    reranker = ablated(model, variants(10, 20)[3]).network.reranker
    pairs = correlate(*pair)
    other = pairs.clone()
    other[:, :, 1:] = 0
    with torch.inference_mode():
        assert torch.equal(reranker.summarise_partners(pairs), reranker.summarise_partners(other))


def features(count):
    """Make features whose descriptor is their row; attention falls with it."""
    rows = torch.arange(count, dtype=torch.float32)
    return ImageFeatures(torch.ones(1, 4), torch.stack([rows % 4, rows // 4], -1)[None] / 8,
                         1 - rows[None] / count, rows[None, :, None])


def test_features_are_blanked_and_selected():
    whole = features(16)
    blank = without_xy(whole, 4)
    assert (blank.xy == 0.5).all() and torch.equal(blank.attention, whole.attention[:, :4])
    blank = without_attention(whole, 4)
    assert (blank.attention == 0.5).all() and torch.equal(blank.xy, whole.xy[:, :4])
    drawn = random_choice(whole, 6)
    assert drawn.xy.shape == (1, 6, 2) and len(set(drawn.descriptors.flatten().tolist())) == 6
    assert (drawn.attention.diff() < 0).all()
    assert drawn.descriptors.max() > 6  # not the strongest
    # The same patches of an image whose attention falls the other way.
    turned = ImageFeatures(whole.descriptor, whole.xy.flip(1), whole.attention,
                           whole.descriptors.flip(1))
    assert set(random_choice(turned, 6).descriptors.flatten().tolist()) \
        == set(drawn.descriptors.flatten().tolist())


def test_all_patches_are_there_to_choose_from(tmp_path):
    made = load_model('tiny', image_height=64, image_width=96)
    made.network.encoder.spec = replace(made.network.encoder.spec, num_local=10)
    made.network.spec = replace(made.spec, num_local=10)
    image = preprocess(picture(1, 64, 96), made.spec.input)
    selected = made.encode(image)
    every = with_all_patches(made, tmp_path)
    assert every.encode(image).xy.shape[1] == 24
    chosen = ablated(every, Variant('as trained')).encode(image)
    torch.testing.assert_close(chosen.descriptors, selected.descriptors)


def test_ablate_prints_every_row_beside_the_published_one(tmp_path, capsys):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f'{i}.png'), picture(i, 64, 96)[..., ::-1])
    names = [f'{i}.png' for i in range(3)]
    (tmp_path / 'gt.json').write_text(json.dumps(
        {'queries': names, 'database': names, 'positives': [[0], [1], [2]]}))
    small = ['--weights', 'tiny', '--device', 'cpu', '--set', 'model.image_height=64',
             '--set', 'model.image_width=96']
    out = tmp_path / 'out.json'
    assert main(['evaluate', 'ablate', '--dataset', str(tmp_path / 'gt.json'), '--json', str(out),
                 *small]) == 0
    printed = capsys.readouterr().out
    rows = variants(192, 20)
    results = json.loads(out.read_text())
    assert list(results) == [row.name for row in rows]
    for row in rows:
        line = next(line for line in printed.splitlines() if line.startswith(row.name))
        assert (f'{row.published / 100:.3f}' in line) if row.published else len(line) > 40
    assert results['no xy']['retrieval']['recall@1'] == 1.0  # a picture finds itself
    assert results['10 candidates']['config']['rerank']['candidates'] == 10
    assert main(['evaluate', 'ablate', '--bag', 'b', '--map', 'm', '--pose-topic', 'p',
                 *small]) == 2
    assert 'ablate builds its maps itself' in capsys.readouterr().err
