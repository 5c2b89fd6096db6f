# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest
import torch

from r2former_ros.datasets import PlaceSet, read_places
from r2former_ros.errors import ConfigError, DatasetError, WeightsError
from r2former_ros.model import ModelSpec, load_model, read_header
from r2former_ros.model.checkpoint import untrained_model
from r2former_ros.training.augment import AugmentConfig
from r2former_ros.training.engine import BEST, CHECKPOINT, FINAL, Trainer
from r2former_ros.training.recipe import Recipe, load_recipe
from r2former_ros.training.sources import LabelledSource, ViewSource
from r2former_ros.training.validation import recall_on
from r2former_ros.training.views import patch_matches

SPEC = ModelSpec('tiny', 'deit_tiny_distilled_patch16_224', 32, 48, num_local=6)
SIZE = (32, 48)
PLACES = 8
QUIET = AugmentConfig(zoom=0.02, shift=0.02, tilt=0.01, turn_deg=1.0, light=0.0, night=0.0,
                      colour=0.0, grey=0.0, blur=0.0, coarse=0.0, occlusion=0.0, noise=0.0)


def write_pictures(folder, numbers):
    """Write pictures that differ in their coarse structure."""
    paths = []
    for number in numbers:
        coarse = np.random.default_rng(number).integers(0, 256, (4, 6, 3), np.uint8)
        paths.append(folder / f'{number}.png')
        cv2.imwrite(str(paths[-1]), cv2.resize(coarse, (48, 32)))
    return paths


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path, range(PLACES))


def trainer(pictures, out, **changes):
    torch.manual_seed(0)
    values = {'batch': 4, 'negatives': 2, 'queries_per_mining': 8, 'epochs': 2,
              'learning_rate': 1e-3, **changes}
    source = ViewSource(pictures, SIZE, QUIET)
    return Trainer(untrained_model(SPEC), source, Recipe(**values), out, accelerator='cpu')


def test_eight_places_are_learned(pictures, tmp_path):
    """Each place has two pictures that share nothing, so they can only be learned by heart."""
    others = write_pictures(tmp_path, range(100, 100 + PLACES))
    rows = tuple(np.array([row]) for row in range(PLACES))
    places = PlaceSet(tuple(pictures), tuple(others), rows, rows)
    recall = recall_on(places)
    recipe = Recipe(batch=8, negatives=3, queries_per_mining=8, epochs=16, learning_rate=1e-4,
                    margin=0.3)
    model = untrained_model(SPEC)
    run = Trainer(model, LabelledSource(places), recipe, tmp_path / 'out', recall=recall,
                  accelerator='cpu')
    assert recall(model) < 0.5
    assert run.run() == 1.0
    assert read_header(tmp_path / 'out' / BEST)['origin']['trained']


@pytest.mark.parametrize('stage', ['retrieval', 'rerank', 'joint'])
def test_a_resumed_run_equals_one_that_was_never_stopped(pictures, tmp_path, stage, monkeypatch):
    monkeypatch.setattr('r2former_ros.training.engine.CHECKPOINT_EVERY_STEPS', 3)
    whole = trainer(pictures, tmp_path / 'whole', stage=stage, epochs=3)
    whole.run()
    trainer(pictures, tmp_path / 'cut', stage=stage, epochs=3).run(stop_after=4)
    resumed = trainer(pictures, tmp_path / 'cut', stage=stage, epochs=3)
    resumed.run()
    left, right = whole.model.state_dict(), resumed.model.state_dict()
    assert resumed.progress.step == 6
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_each_stage_changes_what_it_should(pictures, tmp_path):
    before = untrained_model(SPEC).state_dict()
    expected = {'retrieval': {'backbone'}, 'rerank': {'local_head', 'reranker'},
                'joint': {'backbone', 'local_head', 'reranker'}}
    for stage, parts in expected.items():
        run = trainer(pictures, tmp_path / stage, stage=stage, epochs=1)
        run.run()
        after = run.model.state_dict()
        changed = {name.removeprefix('encoder.').split('.')[0] for name in after
                   if not torch.equal(after[name], before[name])}
        assert changed == parts
        assert load_model(tmp_path / stage / FINAL).origin.reranker_trained == (
            stage != 'retrieval')


def test_a_checkpoint_of_another_recipe_is_refused(pictures, tmp_path):
    trainer(pictures, tmp_path / 'out', epochs=1).run()
    assert (tmp_path / 'out' / CHECKPOINT).exists()
    with pytest.raises(WeightsError, match='another recipe'):
        trainer(pictures, tmp_path / 'out', epochs=1, margin=0.2).run()


def test_the_rate_warms_up_and_ends_at_zero(pictures, tmp_path):
    run = trainer(pictures, tmp_path / 'out', epochs=10, schedule='cosine', warmup_epochs=2.0)
    rates = [run.learning_rate(step) for step in range(run.steps + 1)]
    assert rates[:4] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3])
    assert rates[12] == pytest.approx(0.5e-3)
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize('name', ['retrieval', 'rerank', 'joint', 'end_to_end'])
def test_the_published_recipes_load(name):
    assert load_recipe(name).stage in ('retrieval', 'rerank', 'joint')


def test_wrong_recipes_are_named():
    with pytest.raises(ConfigError, match='no such recipe; there are end_to_end, joint'):
        load_recipe('nonsense')
    with pytest.raises(ConfigError, match=r"stage: 'other' is not one of retrieval"):
        load_recipe('joint', stage='other')
    with pytest.raises(ConfigError, match='bacth: no such setting'):
        load_recipe('joint', bacth=3)


def test_patches_are_matched_by_the_homography():
    shift = torch.eye(3)
    shift[0, 2] = 16.0  # one patch to the right
    matches = patch_matches(shift[None], (32, 48))[0]
    assert matches[0].tolist() == [0, 1, 0, 0, 0, 0]
    assert matches[2].sum() == 0  # it left the view
    shift[0, 2] = 8.0
    assert patch_matches(shift[None], (32, 48))[0, 3].tolist() == [0, 0, 0, 0.5, 0.5, 0]


def test_places_by_utm_in_file_names(tmp_path):
    for part, eastings in (('queries', (100, 500)), ('database', (105, 120, 300))):
        folder = tmp_path / 'images' / 'train' / part
        folder.mkdir(parents=True)
        for easting in eastings:
            (folder / f'@{easting}.0@7.0@.jpg').write_bytes(b'')
    places = read_places(tmp_path)
    assert [rows.tolist() for rows in places.positives] == [[0], []]
    assert [rows.tolist() for rows in places.same_place] == [[0, 1], []]
    assert len(places.with_positives_only().queries) == 1
    with pytest.raises(DatasetError, match='neither a ground_truth.json'):
        read_places(tmp_path / 'images')
