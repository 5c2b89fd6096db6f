# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Features that lie on the device; here it is the CPU, and the map itself is the oracle."""

import numpy as np
import pytest
import torch
from fakes import FakeModel, frames, picture

from r2former_ros.config import Config, with_values
from r2former_ros.errors import MapError
from r2former_ros.mapping.build import build_map
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.resident import ResidentFeatures
from r2former_ros.model import ImageFeatures
from r2former_ros.recognizer import Recognizer
from r2former_ros.records import Frame


@pytest.fixture(params=['float16', 'int8'])
def path(request, tmp_path):
    """A map of twelve places in either storage type."""
    path = tmp_path / 'm.r2map'
    build_map(FakeModel(), path, frames(), with_values(Config(), {
        'map.local_dtype': request.param}))
    return path


def test_they_are_what_the_map_has_in_the_order_asked_for(path):
    with PlaceMap.open(path) as place_map:
        expected = ImageFeatures.stack(*place_map.features([7, 2, 7, 12]))
        assert place_map.preload(budget_mb=1) == 12
        resident = ResidentFeatures(place_map, 'cpu')
        assert len(resident) == 12 and place_map.release_preloaded() == {}
        found = resident.of([7, 2, 7, 12])
        with pytest.raises(MapError, match='has no place 13'):
            resident.of([13])
    for name in ('descriptor', 'xy', 'attention', 'descriptors'):
        got, wanted = getattr(found, name), getattr(expected, name)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, wanted, atol=0, rtol=2e-7)


def test_places_beyond_the_budget_are_read_from_the_map(path):
    """Also those that were added since; all come back in the order they were asked for."""
    with PlaceMap.open(path) as place_map:
        asked = [9, 1, 12, 4]
        expected = ImageFeatures.stack(*place_map.features(asked))
        place_map.preload(budget_mb=1)
        kept = place_map.release_preloaded()
        for here in ([1, 4], [], asked):
            place_map._preloaded = {one: kept[one] for one in here}
            resident = ResidentFeatures(place_map, 'cpu')
            assert len(resident) == len(here)
            found = resident.of(asked)
            torch.testing.assert_close(found.descriptors, expected.descriptors)
            torch.testing.assert_close(found.descriptor, expected.descriptor)


def test_a_recognizer_says_the_same_with_them(path):
    config = with_values(Config(), {'rerank.candidates': 4, 'rerank.shortlist': 9})
    with PlaceMap.open(path) as place_map:
        recognizer = Recognizer(FakeModel(), place_map, config)
        assert recognizer.resident is None  # the CPU's memory is where the map preloads to
        plain = recognizer.recognize(Frame(0, picture(6)))
        recognizer.resident = ResidentFeatures(place_map, 'cpu')
        resident = recognizer.recognize(Frame(0, picture(6)))
    assert len(recognizer.resident) == 12
    assert [one.place for one in plain.hypotheses] == [one.place for one in resident.hypotheses]
    scores = [[one.score for one in said.hypotheses] for said in (plain, resident)]
    np.testing.assert_allclose(*scores, atol=1e-6)
