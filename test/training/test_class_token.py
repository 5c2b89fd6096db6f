# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The encoder of ``tiny`` from pictures: views, tokens, closed form, class token."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from r2former_ros.errors import ConfigError, WeightsError
from r2former_ros.model import PRESETS
from r2former_ros.model.checkpoint import untrained_model
from r2former_ros.model.pooling import TokenPooling
from r2former_ros.model.preprocess import normalised
from r2former_ros.training.augment import AugmentConfig
from r2former_ros.training.bootstrap import BootstrapConfig
from r2former_ros.training.class_token import ClassTokenTrainer, Components
from r2former_ros.training.data.camera_views import ViewKind, draw_view
from r2former_ros.training.data.pools import ImagePool, patch_matches
from r2former_ros.training.data.token_store import token_views
from r2former_ros.training.initial import trunk as published
from r2former_ros.training.initial.encoder import (
    fit_tokens,
    fit_words,
    point_heads_at_cells,
    read_first_values,
)

SPEC = replace(PRESETS['tiny'].with_size(48, 64), descriptor_dim=16)
PICTURES, VIEWED = 30, 20
NO_CHANGE = AugmentConfig(**dict.fromkeys(
    ('light', 'night', 'colour', 'grey', 'blur', 'coarse', 'occlusion', 'noise', 'haze'), 0.0))
KINDS = (ViewKind(changed=False), ViewKind(yaw_deg=5, shift=0.05, appearance=NO_CHANGE))


@pytest.fixture(scope='module')
def pool():
    """Pictures of soft random colours, each a place of its own."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (PICTURES, 6, 8, 3)).astype(np.uint8)
    images = coarse.repeat(12, axis=1).repeat(12, axis=2)
    return ImagePool(images, (), np.arange(PICTURES), np.zeros(PICTURES, np.int64))


def normalise(images):
    """Make the network's input."""
    return normalised(images, SPEC.input)


def an_encoder():
    """Make the same random encoder again."""
    torch.manual_seed(0)
    encoder = untrained_model(SPEC).eval().encoder
    point_heads_at_cells(encoder)
    return encoder


def stored(encoder, pool, folder):
    """Return the tokens of the pool, computed where they are not there."""
    return token_views(encoder, pool, KINDS, folder, viewed=VIEWED, seed=0, normalise=normalise,
                       report=lambda done, total: None)


def trainer(encoder, views, path, steps):
    """Make a trainer with the components of all pictures."""
    torch.manual_seed(0)
    components = Components.of(encoder, views, 24, PICTURES)
    return ClassTokenTrainer(encoder, views, components, steps=steps, batch=6,
                             learning_rate=1e-3, seed=0, path=path)


def test_a_view_without_any_motion_is_the_picture(pool):
    still = ViewKind(appearance=NO_CHANGE)
    rng = np.random.default_rng(0)
    views = [draw_view(pool.images[0], (72, 96), still, rng) for _ in range(5)]
    assert all(np.abs(view.astype(int) - pool.images[0]).mean() < 8 for view in views)


def test_the_further_the_camera_turns_the_further_the_picture_moves():
    image = np.zeros((72, 96, 3), np.uint8)
    image[:, 48:52] = 255
    columns = []
    for seed in range(8):
        view = draw_view(image, (72, 96), ViewKind(yaw_deg=10, appearance=NO_CHANGE),
                         np.random.default_rng(seed))
        angle = np.random.default_rng(seed)
        angle.uniform(), angle.normal(), angle.uniform(size=2), angle.normal(size=2)  # the crop's
        columns.append((angle.normal(size=3)[1], view[36, :, 0].argmax()))
    turns, found = zip(*sorted(columns), strict=True)
    assert list(found) == sorted(found)
    assert found[-1] - found[0] > 10 and turns[0] < 0 < turns[-1]


def test_tokens_are_stored_once_and_are_those_of_the_encoder(pool, tmp_path):
    encoder = an_encoder()
    views = stored(encoder, pool, tmp_path)
    assert [len(kind) for kind in views.kinds] == [PICTURES, VIEWED]
    picture = torch.from_numpy(draw_view(pool.images[views.rows[3]], (48, 64), KINDS[0],
                                         np.random.default_rng(0)))
    with torch.inference_mode():
        expected = encoder.embed_patches(normalise(picture[None]))
    assert torch.allclose(views.maps(0, slice(3, 4)), expected, atol=1e-2)
    times = [path.stat().st_mtime_ns for path in sorted(tmp_path.iterdir())]
    stored(encoder, pool, tmp_path)
    assert times == [path.stat().st_mtime_ns for path in sorted(tmp_path.iterdir())]


def test_before_the_first_step_the_descriptor_is_the_closed_form(pool, tmp_path):
    encoder = an_encoder()
    views = stored(encoder, pool, tmp_path)
    run = trainer(encoder, views, tmp_path / 'run.pt', steps=0)
    run.run(lambda *progress: None)
    with torch.inference_mode():
        maps = views.maps(0, slice(None))
        class_tokens, _, _ = encoder.attend(encoder.with_prefix(maps, (48, 64)))
        assert torch.allclose(encoder.describe_image(class_tokens, maps), run.targets, atol=1e-2)


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(pool, tmp_path):
    encoders, losses = [], []
    views = stored(an_encoder(), pool, tmp_path)
    for stop in (0, 3):
        encoder = an_encoder()
        run = trainer(encoder, views, tmp_path / f'{stop}.pt', steps=6)
        made = [run.take_step() for _ in range(stop)]
        if stop:
            run._save()
            encoder = an_encoder()
            run = trainer(encoder, views, tmp_path / f'{stop}.pt', steps=6)
        run.run(lambda step, steps, loss, made=made: made.append(loss))
        encoders.append(encoder.state_dict())
        losses.append(made)
    assert losses[0] == pytest.approx(losses[1])
    assert all(torch.allclose(value, encoders[1][name]) for name, value in encoders[0].items())


def test_steps_reach_blocks_and_heads_and_leave_the_trunk(pool, tmp_path):
    encoder = an_encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    trainer(encoder, stored(encoder, pool, tmp_path), tmp_path / 'run.pt', 4).run(
        lambda *progress: None)
    changed = {name for name, value in encoder.state_dict().items()
               if not torch.equal(value, before[name])}
    assert {'pool_head.weight', 'backbone.head.weight', 'backbone.cls_token',
            'backbone.blocks.0.attn.qkv.weight'} <= changed
    assert not any('patch_embed' in name or 'words' in name or 'local' in name for name in changed)


def test_matched_patches_become_more_alike_than_others():
    encoder = an_encoder()
    rng = torch.Generator().manual_seed(0)
    pictures = torch.rand(24, 3, 6, 8, generator=rng)
    pictures = pictures.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    left = pictures * 2 - 1
    right = (left * 0.5).roll(16, dims=3)
    shift = torch.tensor([[1.0, 0, 16], [0, 1, 0], [0, 0, 1]]).expand(24, 3, 3)
    fit_tokens(encoder.backbone.patch_embed.proj, [(left, right, patch_matches(shift, (48, 64)))])
    read_first_values(encoder)
    with torch.inference_mode():
        one, other = (F.normalize(encoder.embed_patches(view)[:, :128], dim=1)[:, :, 1, 1:3]
                      for view in (left, right))
        same = (one[:, :, 0] * other[:, :, 1]).sum(dim=1)
        others = (one[:, :, 0] * other.roll(1, dims=0)[:, :, 1]).sum(dim=1)
    assert same.mean() > others.mean() + 0.3


def test_words_are_the_centres_of_what_they_are_fitted_to():
    pooling = TokenPooling(4, 4)
    axes = torch.eye(4)[torch.randint(0, 4, (200,), generator=torch.Generator().manual_seed(0))]
    fit_words(pooling, axes.T.reshape(1, 4, 10, 20), seed=0)
    kept = pooling.words.norm(dim=1) > 0
    assert torch.allclose(pooling.words[kept].sort(dim=1).values[:, 3], torch.ones(kept.sum()))


def test_the_published_weights_must_be_installed_and_be_the_checked_ones(monkeypatch, tmp_path):
    monkeypatch.setattr(published, 'PACKAGE', 'no_such_package')
    with pytest.raises(ConfigError, match='bootstrap needs no_such_package, see requirements/'):
        published.published_weights()
    (tmp_path / 'other_weights').mkdir()
    (tmp_path / 'other_weights' / '__init__.py').touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(published, 'PACKAGE', 'other_weights')
    with pytest.raises(WeightsError, match='missing, or not the file with sha256 579344248a93'):
        published.published_weights()


def test_components_need_more_images_than_there_are():
    with pytest.raises(ConfigError, match='pool_images: 300 is not above pool_components, 1536'):
        BootstrapConfig(pool_images=300)
