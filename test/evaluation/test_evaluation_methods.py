# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Methods beside R2Former: what each of them sees, and that they share queries and candidates."""

import numpy as np
import pytest
from fakes import FEATURES, FakeModel, picture

from r2former_ros.config import Config, with_values
from r2former_ros.errors import ConfigError, MapError
from r2former_ros.evaluation.methods.classical import hog_vector, patch_normalised, vlad_vector
from r2former_ros.evaluation.methods.registry import METHODS, make_methods, parse_methods
from r2former_ros.evaluation.outcomes import Query
from r2former_ros.evaluation.runner import Runner
from r2former_ros.mapping.build import build_map
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.records import Frame, PosedFrame

ALL = ','.join(METHODS)


def textured(seed):
    """Make a picture with edges and corners for SIFT: blocks with a fine pattern."""
    random = np.random.default_rng(seed)
    fine = np.kron(random.integers(-25, 25, (48, 64)), np.ones((4, 4)))[..., None]
    return np.clip(picture(seed, 192, 256) + fine, 0, 255).astype(np.uint8)


@pytest.fixture
def site(tmp_path):
    """A map of six textured places; place id n is that of seed n - 1."""
    path = tmp_path / 'site.r2map'
    build_map(FakeModel(), path, [PosedFrame(Frame(i, textured(i)), None, '') for i in range(6)],
              Config())
    return path


def test_every_method_finds_the_place_of_a_darker_picture(site):
    config = with_values(Config(), {'rerank.candidates': 3})
    with PlaceMap.open(site) as place_map:
        model = FakeModel()
        methods = make_methods(parse_methods(ALL), place_map, model)
        runner = Runner(model, place_map, config, methods)
        for seed in (0, 3, 5):
            dark = Frame(0, (textured(seed) * 0.7).astype(np.uint8))
            outcome = runner.answer(Query('q'), dark)
            assert list(outcome.rankings) == list(METHODS)
            for name in METHODS:
                ranking = outcome.rankings[name]
                # Three colours a patch are too few to pair patches in the dark.
                assert ranking.places[0] == seed + 1 or name == 'ransac', name
                assert sorted(ranking.places) == [1, 2, 3, 4, 5, 6], name
            ranked = outcome.rankings
            assert ranked['ransac'].places[3:] == ranked['rerank'].places[3:]
            assert set(ranked['ransac'].places[:3]) == set(ranked['rerank'].places[:3])
            stages = {'encode', 'retrieve', 'verify', 'decide', *METHODS[1:]}
            assert set(outcome.latency_ms) == stages
            same = runner.answer(Query('q'), Frame(0, textured(seed))).rankings['ransac']
            assert same.places[0] == seed + 1 and same.score == FEATURES


def test_places_that_are_not_visible_yet_are_named_by_no_method(site):
    with PlaceMap.open(site) as place_map:
        methods = make_methods(parse_methods(ALL), place_map, FakeModel())
        runner = Runner(FakeModel(), place_map, Config(), methods)
        for visible in (1, 3):
            outcome = runner.answer(Query('q', visible=visible), Frame(0, textured(5)))
            for ranking in outcome.rankings.values():
                assert sorted(ranking.places) == list(range(1, visible + 1))


def test_the_vectors_ignore_what_they_should():
    image = textured(1)
    brighter = np.clip(image * 0.5 + 40, 0, 255).astype(np.uint8)
    assert hog_vector(image) @ hog_vector(brighter) > 0.95
    patches = patch_normalised(image).reshape(4, 8, 8, 8)  # rows of patches, y, columns, x
    np.testing.assert_allclose(patches.mean(axis=(1, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(patches.std(axis=(1, 3)), 1, atol=1e-4)
    flat = np.full((32, 64, 3), 90, np.uint8)
    assert not patch_normalised(flat).any()


def test_vlad_sums_residuals_of_the_nearest_word():
    words = np.zeros((2, 128), np.float32)
    words[1] = 5.0  # far from all: everything belongs to the first word
    vector = vlad_vector(textured(2), words).reshape(2, 128)
    assert np.linalg.norm(vector[0]) == pytest.approx(1, abs=1e-5)
    assert not vector[1].any()
    blank = vlad_vector(np.full((64, 64, 3), 90, np.uint8), words)
    assert not blank.any()


def test_unknown_methods_and_maps_without_pictures_are_refused(tmp_path):
    assert parse_methods('hog') == ['retrieval', 'rerank', 'hog']
    with pytest.raises(ConfigError, match='dbow: no such method; choose from retrieval, rerank'):
        parse_methods('hog,dbow')
    config = with_values(Config(), {'map.thumbnail_width': 0})
    build_map(FakeModel(), tmp_path / 'm.r2map',
              [PosedFrame(Frame(0, textured(0)), None, 'gone.png')], config)
    with PlaceMap.open(tmp_path / 'm.r2map') as place_map:
        with pytest.raises(MapError, match='place 1 has no picture'):
            make_methods(['hog'], place_map, FakeModel())
