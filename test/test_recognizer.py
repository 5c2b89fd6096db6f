# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Mapping and recognition with a stand-in model: what is retrieved, reranked and decided."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import PLACES, FakeModel, frames, picture, recognizer_on

from r2former_ros.config import Config, with_values
from r2former_ros.errors import ImageError, MapError
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.build import MapBuilder, build_map, create_map
from r2former_ros.mapping.keyframes import KeyframeRule
from r2former_ros.maps.index import PlaceIndex
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.search import PlaceSearch
from r2former_ros.records import Frame, PosedFrame, State


@pytest.fixture
def recognizer(tmp_path):
    """A recognizer on a map of twelve places."""
    build_map(FakeModel(), tmp_path / 'm.r2map', frames(), Config())
    with PlaceMap.open(tmp_path / 'm.r2map') as place_map:
        config = with_values(Config(), {'rerank.candidates': 5, 'rerank.shortlist': 0})
        yield recognizer_on(place_map, config)


def test_a_seen_place_is_recognised_under_other_light(recognizer):
    recognition = recognizer.recognize(Frame(77, picture(4, brightness=12)))
    assert recognition.stamp_ns == 77
    assert recognition.best.place.place_id == 5
    assert recognition.best.place.source == 'drive:4'
    assert np.allclose(recognition.best.place.map_T_camera, pose_from_yaw(20.0, 0.0, 0.4))
    assert recognition.candidates[0].place_id == 5
    assert len(recognition.candidates) == PLACES and len(recognition.hypotheses) == 5
    assert set(recognition.latency_ms) == {'encode', 'retrieve', 'rerank', 'verify', 'decide'}


def test_hypotheses_are_sorted_by_score_and_candidates_by_similarity(recognizer):
    recognition = recognizer.recognize(Frame(0, picture(7)))
    scores = [one.score for one in recognition.hypotheses]
    similarities = [one.similarity for one in recognition.candidates]
    assert scores == sorted(scores, reverse=True)
    assert similarities == sorted(similarities, reverse=True)
    assert {one.place.place_id for one in recognition.hypotheses} == \
        {one.place_id for one in recognition.candidates[:5]}


def test_a_cheap_comparison_chooses_what_is_reranked(recognizer):
    search = recognizer.search
    query = search.encode(search.prepare(Frame(0, picture(7))))
    far = search.retrieve(query)[::-1]  # the right place comes last
    assert far[-1].place_id == 8
    first = search.rerank(query, far)
    assert 8 not in {one.place.place_id for one in first}
    recognizer.use(with_values(recognizer.config, {'rerank.shortlist': PLACES}))
    chosen = search.rerank(query, far)
    assert len(chosen) == 5 and chosen[0].place.place_id == 8


def test_a_profile_names_how_much_is_compared(recognizer):
    values = {'rerank.profile': 'fast', 'rerank.candidates': 3, 'rerank.local_features': 7}
    recognizer.use(with_values(recognizer.config, values))
    assert len(recognizer.recognize(Frame(0, picture(7))).hypotheses) == 10
    recognizer.use(with_values(recognizer.config, {'rerank.profile': 'custom'}))
    query = recognizer.search.encode(recognizer.search.prepare(Frame(0, picture(7))))
    candidates = recognizer.search.retrieve(query)
    settings = recognizer.config.rerank.effective
    chosen, features = recognizer.search.shortlist(query, candidates, settings)
    assert len(chosen) == 3 and features.xy.shape[1] == 7


def test_without_reranking_the_similarity_ranks(recognizer):
    recognizer.use(with_values(recognizer.config, {'rerank.candidates': 0}))
    recognition = recognizer.recognize(Frame(0, picture(3)))
    assert [one.place.place_id for one in recognition.hypotheses] == \
        [one.place_id for one in recognition.candidates]
    assert recognition.best.score == pytest.approx(recognition.best.similarity)


def test_the_blended_score_ranks_where_it_is_asked_for(recognizer):
    by_probability = recognizer.recognize(Frame(0, picture(3))).hypotheses
    recognizer.use(with_values(recognizer.config, {'rerank.ranking': 'blended'}))
    for one in recognizer.recognize(Frame(0, picture(3))).hypotheses:
        alone = next(two for two in by_probability if two.place == one.place)
        blended = 0.5 * one.similarity + 0.5 * alone.score
        assert one.score == pytest.approx(np.clip(blended, 0, 1), abs=1e-5)


def test_hypotheses_that_fail_the_geometric_check_go_last(recognizer, monkeypatch):
    inliers = {5: 3, 6: 40}
    monkeypatch.setattr(recognizer.search, 'verified', lambda _, one: replace(
        one, inliers=inliers.get(one.place.place_id, 0)))
    plain = recognizer.recognize(Frame(0, picture(4))).hypotheses
    assert plain[0].place.place_id == 5
    recognizer.use(with_values(recognizer.config, {'verification.hypotheses': 4}))
    checked = recognizer.recognize(Frame(0, picture(4)))
    ids = [one.place.place_id for one in checked.hypotheses]
    good = [one.place.place_id for one in plain[:4] if one.place.place_id == 6]
    assert ids[: len(good) + 1] == [*good, plain[4].place.place_id]
    assert checked.hypotheses[len(good) + 1].place.place_id == 5
    inliers.clear()
    recognizer.filter.reset()
    assert recognizer.recognize(Frame(0, picture(4))).state is State.LOST


def test_localized_after_agreement_and_lost_where_the_images_say_so(recognizer):
    seen = [recognizer.recognize(Frame(0, picture(i))) for i in (2, 3, 4, 5, 6)]
    assert [one.state for one in seen[:2]] == [State.CANDIDATE] * 2
    assert seen[-1].state is State.LOCALIZED
    assert seen[-1].belief.place.place_id == 7 and seen[-1].belief.probability > 0.9
    states = [recognizer.recognize(Frame(0, picture(990 + i))).state for i in range(4)]
    assert states[-1] is State.LOST and State.CANDIDATE not in states


def test_an_empty_map_gives_no_hypothesis(tmp_path):
    create_map(FakeModel(), tmp_path / 'm.r2map', Config()).close()
    with PlaceMap.open(tmp_path / 'm.r2map') as place_map:
        recognition = recognizer_on(place_map).recognize(Frame(0, picture(1)))
    assert recognition.best is None and recognition.state is State.LOST


def test_a_bad_image_is_refused_and_the_next_one_works(recognizer):
    for bad in (np.zeros((0, 0, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)):
        with pytest.raises(ImageError, match='at least 8x8 needed'):
            recognizer.recognize(Frame(0, bad))
    with pytest.raises(ImageError, match='expected uint8 .height, width, 3. RGB'):
        recognizer.recognize(Frame(0, np.zeros((48, 64), np.uint8)))
    assert recognizer.recognize(Frame(0, picture(1))).best.place.place_id == 2


def test_a_map_of_other_weights_is_refused(tmp_path):
    build_map(FakeModel(), tmp_path / 'm.r2map', frames(2), Config())
    with PlaceMap.open(tmp_path / 'm.r2map') as place_map, \
            pytest.raises(MapError, match='fake000000000000 .*not other'):
        PlaceSearch(FakeModel(fingerprint='other'), place_map)


def test_appending_continues_the_ids(tmp_path):
    path = tmp_path / 'm.r2map'
    build_map(FakeModel(), path, frames(3), Config())
    summary = MapBuilder(FakeModel(), Config()).append(path, frames(2))
    assert summary.added == 2
    with PlaceMap.open(path) as place_map:
        assert list(place_map.places()) == [1, 2, 3, 4, 5]


def test_names_that_are_not_utf_8_are_stored_so_that_they_can_be_read(tmp_path):
    build_map(FakeModel(), tmp_path / 'm.r2map',
              [PosedFrame(Frame(0, picture(0)), None, 'caf\udce9.jpg')], Config())
    with PlaceMap.open(tmp_path / 'm.r2map') as place_map:
        assert place_map.places()[1].source == 'caf\\xe9.jpg'


def test_a_map_without_places_is_not_left_behind(tmp_path):
    tiny = [PosedFrame(Frame(0, np.zeros((4, 4, 3), np.uint8)), None, 'x')]
    with pytest.raises(MapError, match='became a place; 1 left out, all like this: .*4x4'):
        build_map(FakeModel(), tmp_path / 'm.r2map', tiny, Config())
    assert not (tmp_path / 'm.r2map').exists()


@pytest.mark.parametrize(('rule', 'kept'), [
    ({}, 12),
    ({'map.keyframe_distance_m': 9.0}, 6),
    ({'map.keyframe_interval_s': 3.0}, 4),
    ({'map.keyframe_angle_deg': 22.0}, 3),
    ({'map.keyframe_distance_m': 30.0, 'map.keyframe_interval_s': 2.0}, 6),
])
def test_keyframes_by_distance_angle_or_time(rule, kept):
    chooser = KeyframeRule(with_values(Config(), rule).map)
    assert sum(chooser.takes(posed) for posed in frames()) == kept


def test_the_index_finds_the_most_similar_and_grows():
    descriptors = np.eye(4, dtype=np.float32)[:3]
    index = PlaceIndex([10, 20, 30], descriptors)
    query = np.array([0.1, 0.9, 0.0, 0.42], np.float32)
    assert [one.place_id for one in index.search(query, 2)] == [20, 10]
    index.add(40, np.array([0, 0, 0, 1], np.float32))
    found = index.search(query, 10)
    assert [one.place_id for one in found] == [20, 40, 10, 30]
    assert found[1].similarity == pytest.approx(0.42)
    with pytest.raises(MapError, match='2 places but 3 descriptors'):
        PlaceIndex([1, 2], descriptors)
