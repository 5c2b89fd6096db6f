# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import astuple, replace

import cv2
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from r2former_ros.errors import ConfigError, DatasetError, WeightsError
from r2former_ros.model import ModelSpec, load_network, read_header
from r2former_ros.model.backends.pytorch import TorchEncoder
from r2former_ros.model.checkpoint import untrained_model
from r2former_ros.model.preprocess import normalised
from r2former_ros.sources.datasets import PlaceSet
from r2former_ros.training import engine
from r2former_ros.training.augment import AUGMENTS, AugmentConfig
from r2former_ros.training.data.image_store import PictureFiles, StoredImages
from r2former_ros.training.data.pools import patch_matches
from r2former_ros.training.data.sources import labelled_source, unlabelled_source
from r2former_ros.training.engine import BEST, CHECKPOINT, FINAL, Trainer
from r2former_ros.training.learner import Learner
from r2former_ros.training.recipe import Recipe, load_recipe, recipe_names
from r2former_ros.training.validation import RERANK, RETRIEVAL, recall_on

SPEC = ModelSpec('tiny', 'deit_tiny_distilled_patch16_224', 32, 48, num_local=6)
SIZE = (32, 48)
PLACES = 8


def write_pictures(folder, numbers, prefix=''):
    """Write pictures that differ in their coarse structure."""
    paths = []
    for number in numbers:
        coarse = np.random.default_rng(number).integers(0, 256, (4, 6, 3), np.uint8)
        paths.append(folder / f'{prefix}{number}.png')
        cv2.imwrite(str(paths[-1]), cv2.resize(coarse, (48, 32)))
    return paths


@pytest.fixture
def source(tmp_path):
    """Eight pictures, each a place, in mild views."""
    paths = write_pictures(tmp_path, range(PLACES))
    return unlabelled_source(paths, tmp_path, SIZE, augment='mild', limit_mb=1)


@pytest.fixture
def unlike_pairs(tmp_path):
    """Eight places with two pictures each that share nothing: to be learned by heart."""
    pictures, others = (write_pictures(tmp_path, range(first, first + PLACES))
                        for first in (0, 100))
    rows = tuple(np.array([row]) for row in range(PLACES))
    return labelled_source(PlaceSet(tuple(pictures), tuple(others), rows, rows), tmp_path, SIZE,
                           limit_mb=1)


def trainer(source, out, model=None, recall=None, **changes):
    values = {'batch': 4, 'negatives': 2, 'queries_per_mining': 8, 'epochs': 2,
              'learning_rate': 1e-3, **changes}
    torch.manual_seed(0)
    return Trainer(Fabric(accelerator='cpu', devices=1), model or untrained_model(SPEC), source,
                   Recipe(**values), out, recall=recall)


def equal(left, right):
    left, right = left.state_dict(), right.state_dict()
    return all(torch.equal(left[name], right[name]) for name in left)


def test_eight_places_are_learned(unlike_pairs, tmp_path):
    recall = recall_on(unlike_pairs)
    model = untrained_model(SPEC)
    run = trainer(unlike_pairs, tmp_path / 'out', model, recall, batch=8, negatives=3, epochs=16,
                  learning_rate=1e-4, margin=0.3)
    assert recall(model)[RETRIEVAL] < 0.5
    assert run.run() == 1.0
    assert read_header(tmp_path / 'out' / BEST)['origin']['trained']


CONTRAST = {'retrieval_loss': 'info_nce', 'mining': 'random', 'negatives': 0, 'local_weight': 1.0,
            'local_gradient': True, 'patch_weight': 0.5, 'clip_norm': 1.0, 'average': 0.9,
            'blend': 0.5}


@pytest.mark.parametrize('changes', [{'stage': 'retrieval'}, {'stage': 'rerank'},
                                     {'stage': 'joint'}, CONTRAST])
def test_a_resumed_run_equals_one_that_was_never_stopped(source, tmp_path, changes, monkeypatch):
    monkeypatch.setattr(engine, 'CHECKPOINT_EVERY_STEPS', 3)
    whole = trainer(source, tmp_path / 'whole', epochs=3, **changes)
    whole.run()
    trainer(source, tmp_path / 'cut', epochs=3, **changes).run(stop_after=4)
    resumed = trainer(source, tmp_path / 'cut', epochs=3, **changes)
    resumed.run()
    assert resumed.progress.step == 6
    assert equal(whole.model, resumed.model)
    assert equal(whole.kept_model, resumed.kept_model)


def test_the_average_is_kept_and_lags_behind(source, tmp_path):
    model = untrained_model(SPEC)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = trainer(source, tmp_path, model, average=0.5, epochs=1)  # of two steps
    first = {}
    run.run(lambda step, figures: first.update(
        {name: value.clone() for name, value in model.state_dict().items()} if step == 1 else {}))
    name = 'encoder.backbone.head.weight'
    assert not torch.equal(before[name], first[name])
    expected = (first[name] + model.state_dict()[name]) / 2
    kept = load_network(tmp_path / FINAL).state_dict()[name]
    assert torch.allclose(kept, expected, atol=1e-3)  # float16
    assert torch.allclose(run.kept_model.state_dict()[name], expected)


def test_what_is_kept_lies_between_the_start_and_what_was_learned(source, tmp_path):
    model = untrained_model(SPEC)
    name = 'encoder.backbone.head.weight'
    before = model.state_dict()[name].clone()
    run = trainer(source, tmp_path, model, blend=0.25, epochs=1)
    run.run()
    learned = model.state_dict()[name]
    assert not torch.equal(before, learned)
    kept = load_network(tmp_path / FINAL).state_dict()[name]
    assert torch.allclose(kept, before + (learned - before) / 4, atol=1e-3)  # float16


def test_a_held_reranker_hands_its_gradient_on_to_the_local_head(source, tmp_path):
    before, model = (untrained_model(SPEC) for _ in range(2))
    model.load_state_dict(before.state_dict())
    trainer(source, tmp_path, model, stage='joint', hold_reranker=True, trained_blocks=0).run()
    assert equal(before.reranker, model.reranker)
    assert not torch.equal(before.encoder.local_head.weight, model.encoder.local_head.weight)


def test_weights_say_whether_their_reranker_was_trained(source, tmp_path):
    for held in (True, False):
        out = tmp_path / str(held)
        trainer(source, out, stage='joint', hold_reranker=held, epochs=1).run()
        assert read_header(out / FINAL)['origin']['reranker_trained'] != held


def test_random_negatives_are_different_places_and_there_must_be_enough(source, tmp_path):
    changes = {'retrieval_loss': 'info_nce', 'mining': 'random', 'batch': 8}
    run = trainer(source, tmp_path / 'enough', negatives=7, **changes)
    for query, (_, *others) in zip(*astuple(run.miner.mine(0, 8))[:2], strict=True):
        assert sorted([query, *others]) == list(range(PLACES))
    run = trainer(source, tmp_path / 'short', negatives=8, **changes)
    with pytest.raises(DatasetError, match='a query has fewer than 8 other places'):
        run.run()


def test_the_stem_has_its_own_rate(source, tmp_path):
    run = trainer(source, tmp_path, stem_rate=0.0, weight_decay=0.0)
    stem, head = run.model.encoder.backbone.patch_embed.proj, run.model.encoder.backbone.head
    before = stem.weight.detach().clone(), head.weight.detach().clone()
    run.run()
    assert torch.equal(stem.weight, before[0])
    assert not torch.equal(head.weight, before[1])


def test_queries_are_changed_as_told_and_mirrored_with_their_positives(source):
    plain = replace(source, augment='mild', query_augment='none')
    queries = list(range(PLACES))
    batch = plain.batch(queries, [[row] for row in queries], [0])
    mirrored = 0
    for row, (query, positive) in enumerate(batch.images.numpy()):
        image = plain.queries[row]
        assert np.array_equal(query, image) or np.array_equal(query, image[:, ::-1])
        turned = not np.array_equal(query, image)
        mirrored += turned
        same, other = (np.corrcoef(positive.ravel(), one.ravel())[0, 1]
                       for one in (query, query[:, ::-1]))
        assert same > other
    assert 0 < mirrored < PLACES


def test_a_kill_while_a_checkpoint_is_written_costs_only_that_one(source, tmp_path, monkeypatch):
    whole = trainer(source, tmp_path / 'whole', epochs=3)
    whole.run()
    save = torch.save

    def killed(content, path):
        if content['progress']['step'] == 4:
            path.write_bytes(b'half a file')
            raise KeyboardInterrupt
        save(content, path)

    monkeypatch.setattr(torch, 'save', killed)
    with pytest.raises(KeyboardInterrupt):
        trainer(source, tmp_path / 'cut', epochs=3).run()
    monkeypatch.setattr(torch, 'save', save)
    resumed = trainer(source, tmp_path / 'cut', epochs=3)
    seen = []
    resumed.run(lambda step, figures: seen.append(step))
    assert min(seen) == 2  # it mined there
    assert equal(whole.model, resumed.model)


def test_each_stage_changes_what_it_should(source, tmp_path):
    before = untrained_model(SPEC).state_dict()
    expected = {'retrieval': {'backbone'}, 'rerank': {'local_head', 'reranker'},
                'joint': {'backbone', 'local_head', 'reranker'}}
    for stage, parts in expected.items():
        run = trainer(source, tmp_path / stage, stage=stage, epochs=1)
        run.run()
        after = run.model.state_dict()
        changed = {name.removeprefix('encoder.').split('.')[0] for name in after
                   if not torch.equal(after[name], before[name])}
        assert changed == parts
        assert load_network(tmp_path / stage / FINAL).origin.reranker_trained == (
            stage != 'retrieval')


def test_chosen_blocks_and_the_heads_are_trained():
    learner = Learner(untrained_model(SPEC), Recipe(trained_blocks=1))
    names = {name.removeprefix('model.encoder.backbone.').rsplit('.', 1)[0].split('.attn')[0]
             for name, one in learner.named_parameters() if one.requires_grad}
    assert {name.split('.mlp')[0] for name in names} == {
        'blocks.11', 'blocks.11.norm1', 'blocks.11.norm2', 'norm', 'head', 'head_dist'}
    learner = Learner(untrained_model(SPEC), Recipe(trained_blocks=0))
    names = {name.split('.')[-2] for name, one in learner.named_parameters() if one.requires_grad}
    assert names == {'head', 'head_dist'}


@pytest.mark.parametrize('reaches', [False, True])
def test_the_rerankers_gradient_reaches_the_trunk_only_where_wanted(source, reaches):
    recipe = Recipe(stage='joint', retrieval_loss='triplet', margin=0.0, local_gradient=reaches)
    learner = Learner(untrained_model(SPEC), recipe)
    batch = source.batch([0, 1], [[0, 2], [1, 3]], [0])
    features = learner.model.encoder(torch.randn(4, 3, *SIZE))
    learner.pair_loss(features, group=batch.images.shape[1] - 1).backward()
    trunk = learner.model.encoder.backbone.blocks[0].attn.qkv.weight.grad
    assert (trunk is not None) == reaches
    assert learner.model.encoder.local_head.weight.grad.abs().sum() > 0


def test_parts_of_a_batch_add_up_to_the_whole(source, tmp_path):
    runs = [trainer(source, tmp_path / str(size), stage='joint', epochs=1, micro_batch=size)
            for size in (0, 2)]
    losses = []
    for run in runs:
        run.run(lambda step, figures: losses.append(figures.get('loss')))
    losses = [one for one in losses if one]
    assert losses[: len(losses) // 2] == pytest.approx(losses[len(losses) // 2 :], abs=1e-3)


def test_the_best_weights_are_those_of_the_best_recall(source, tmp_path):
    figures = iter([0.5, 0.7, 0.6, 0.6])
    run = trainer(source, tmp_path, recall=lambda model: {RETRIEVAL: next(figures)}, epochs=9,
                  patience=2)
    seen = {}
    assert run.run(lambda step, one: seen.setdefault(step, {}).update(one)) == 0.7
    assert run.progress.step == 6  # two epochs without a better one
    assert 'step 2;' in read_header(tmp_path / BEST)['origin']['text']
    assert {'loss', 'learning_rate', 'images_per_s', 'memory_mb/cpu', 'mining/queries',
            'mining/hard_share', RETRIEVAL} <= set().union(*seen.values())


def test_weights_that_training_makes_worse_are_kept_as_they_came(source, tmp_path):
    figures = iter([0.5, 0.4, 0.4])
    model = untrained_model(SPEC)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    trainer(source, tmp_path, model, lambda _: {RETRIEVAL: next(figures)}).run()
    kept = load_network(tmp_path / BEST).state_dict()
    assert all(torch.allclose(kept[name], before[name], atol=1e-3) for name in before)
    assert not read_header(tmp_path / BEST)['origin']['trained']


def test_recall_after_reranking_follows_the_reranker(unlike_pairs, monkeypatch):
    model = untrained_model(SPEC)
    pixels = torch.from_numpy(np.stack([unlike_pairs.candidate(row, (0,))
                                        for row in range(PLACES)]))
    database = TorchEncoder(model.eval().encoder).encode(normalised(pixels, SPEC.input)).descriptor
    right = iter(torch.eye(PLACES))

    def score(scorer, query, candidates, batch):
        rows = (candidates.descriptor @ database.T).argmax(dim=1)
        return torch.stack([torch.zeros(PLACES), next(right)[rows]], dim=1)

    monkeypatch.setattr('r2former_ros.training.validation.TorchScorer.score', score)
    figures = recall_on(unlike_pairs, candidates=PLACES)(model)
    assert figures[RERANK] == 1.0
    assert figures[RETRIEVAL] < 0.5


def test_a_checkpoint_of_another_recipe_is_refused(source, tmp_path):
    trainer(source, tmp_path, epochs=1).run()
    assert (tmp_path / CHECKPOINT).exists()
    with pytest.raises(WeightsError, match='different recipe; choose another output folder'):
        trainer(source, tmp_path, epochs=1, margin=0.2).run()


def test_the_rate_follows_the_released_schedule(source, tmp_path):
    run = trainer(source, tmp_path, epochs=10, schedule='cosine', warmup_epochs=2)
    rates = [run.learning_rate(step) for step in range(0, run.steps, run.steps_per_epoch)]
    assert rates[:2] == pytest.approx([0.1e-3, 0.55e-3])
    assert rates[2] == pytest.approx((1 + math.cos(math.pi * 0.2)) / 2 * 1e-3)
    assert rates[5] == pytest.approx(0.5e-3)
    assert run.learning_rate(1) == rates[0]  # the same all through an epoch


# Stage, mining, epochs, batch, negatives, rate, decay, optimizer, schedule, local gradient: the
# command lines of the released scripts.
PUBLISHED = {
    'retrieval': ('retrieval', 'partial', 100, 16, 2, 1e-5, 0.0, 'adam', 'constant', False),
    'rerank': ('rerank', 'global', 50, 64, 1, 5e-4, 0.03, 'adamw', 'cosine', False),
    'joint': ('joint', 'partial', 20, 48, 2, 1e-5, 0.03, 'adamw', 'cosine', False),
    'end_to_end': ('joint', 'partial', 100, 64, 1, 1e-4, 0.03, 'adamw', 'cosine', True),
}


@pytest.mark.parametrize('name', recipe_names())
def test_every_recipe_loads_and_the_published_ones_are_as_published(name):
    one = load_recipe(name)
    if name in PUBLISHED:
        assert PUBLISHED[name] == (
            one.stage, one.mining, one.epochs, one.batch, one.negatives, one.learning_rate,
            one.weight_decay, one.optimizer, one.schedule, one.local_gradient)
        assert (one.queries_per_epoch, one.queries_per_mining, one.sample) == (50000, 10000, 1000)
        assert (one.margin, one.hardest, one.trained_blocks, one.augment) == (0.1, 100, -1, 'none')
        assert one.warmup_epochs == (5 if one.schedule == 'cosine' else 0)
    assert set(PUBLISHED) <= set(recipe_names())


def test_wrong_recipes_are_named():
    with pytest.raises(ConfigError, match='no such recipe; there are contrast, end_to_end'):
        load_recipe('nonsense')
    with pytest.raises(ConfigError, match=r"stage: 'other' is not one of retrieval"):
        load_recipe('joint', stage='other')
    with pytest.raises(ConfigError, match='bacth: no such setting'):
        load_recipe('joint', bacth=3)
    with pytest.raises(ConfigError, match='negatives: 0 is only for retrieval with info_nce'):
        load_recipe('joint', negatives=0)
    with pytest.raises(ConfigError, match='mining: random is only for info_nce'):
        load_recipe('joint', mining='random')
    with pytest.raises(ConfigError, match='local_weight: is only for retrieval with info_nce'):
        load_recipe('retrieval', local_weight=1.0)
    with pytest.raises(ConfigError, match='average: 1.0 is not below 1'):
        load_recipe('joint', average=1.0)
    with pytest.raises(ConfigError, match='batch: True is a bool, not a int'):
        load_recipe('joint', batch=True)
    with pytest.raises(ConfigError, match='trained_blocks: -2 is outside'):
        load_recipe('joint', trained_blocks=-2)


def test_stored_images_are_those_of_the_files(tmp_path):
    paths = write_pictures(tmp_path, range(3))
    rows = tuple(np.array([row]) for row in range(3))
    places = PlaceSet(tuple(paths), tuple(paths), rows, rows)
    stored, read = (labelled_source(places, tmp_path, (10, 15), limit_mb=limit).queries
                    for limit in (1, 0))
    assert isinstance(stored, StoredImages)
    assert isinstance(read, PictureFiles)
    assert all(np.array_equal(stored[row], read[row]) for row in range(3))
    assert not np.array_equal(read[0], PictureFiles(tuple(paths), (10, 15), False)[0])


def test_frames_of_a_clip_are_no_other_places(tmp_path):
    paths = write_pictures(tmp_path, (1, 2, 20), 'hall_frame_')
    source = unlabelled_source(paths, tmp_path, SIZE, augment='mild', limit_mb=1)
    assert [rows.tolist() for rows in source.places.same_place] == [[0, 1], [0, 1], [2]]
    assert [rows.tolist() for rows in source.places.positives] == [[0, 1], [0, 1], [2]]
    batch = source.batch([0, 1], [[0, 2], [1, 2]], [0])
    assert batch.ignored.tolist() == [[[True, False], [True, False]]] * 2
    assert AUGMENTS['none'] is None
    with pytest.raises(DatasetError, match='need augment: mild, soft, night, strong'):
        unlabelled_source(paths, tmp_path, SIZE, augment='none', limit_mb=1)


def test_a_batch_says_where_pixels_of_two_views_of_one_image_lie(tmp_path, monkeypatch):
    paths = write_pictures(tmp_path, (1, 2), 'clip_frame_')
    moved = AugmentConfig(light=0, night=0, colour=0, grey=0, blur=0, coarse=0, occlusion=0,
                          noise=0)
    monkeypatch.setitem(AUGMENTS, 'mild', moved)
    source = unlabelled_source(paths, tmp_path, SIZE, augment='mild', query_augment='none',
                               limit_mb=1)
    batch = source.batch([0, 1, 0], [[0], [1], [1]], [3])
    assert batch.positive_T_query[2].isnan().all()  # another frame
    for row in range(2):
        query, positive = batch.images[row].numpy()
        moves = batch.positive_T_query[row].double().numpy()
        warped = cv2.warpPerspective(query, moves, SIZE[::-1], borderMode=cv2.BORDER_REFLECT)
        assert np.abs(warped.astype(int) - positive).max() <= 2
        assert np.abs(query.astype(int) - positive).max() > 50


def test_patches_are_matched_by_the_homography():
    shift = torch.eye(3)
    shift[0, 2] = 16.0  # one patch to the right
    matches = patch_matches(shift[None], (32, 48))[0]
    assert matches[0].tolist() == [0, 1, 0, 0, 0, 0]
    assert matches[2].sum() == 0  # it left the view
    shift[0, 2] = 8.0
    assert patch_matches(shift[None], (32, 48))[0, 3].tolist() == [0, 0, 0, 0.5, 0.5, 0]
