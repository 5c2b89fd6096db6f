# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Features that lie on the device; here it is the CPU, and the map itself is the oracle."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import FakeModel, frames, picture, recognizer_on, search_on
from samples import HEADER, keyframe

from r2former_ros.config import Config, with_values
from r2former_ros.errors import MapError
from r2former_ros.mapping.build import build_map
from r2former_ros.maps.features import DeviceFeatures, HostFeatures, preloaded
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.model import ImageFeatures
from r2former_ros.records import Frame

CPU = torch.device('cpu')


@pytest.fixture(params=['float16', 'int8'])
def path(request, tmp_path):
    """A map of twelve places in either storage type."""
    path = tmp_path / 'm.r2map'
    build_map(FakeModel(), path, frames(), with_values(Config(), {
        'map.local_dtype': request.param}))
    return path


def on_device(place_map, place_ids):
    """Preload some places to a device, which here is the CPU."""
    return DeviceFeatures(place_map, {one: place_map.packed(one) for one in place_ids}, 'cpu')


def test_they_are_what_the_map_has_in_the_order_asked_for(path):
    with PlaceMap.open(path) as place_map:
        expected = ImageFeatures.stack(*place_map.features([7, 2, 7, 12]))
        resident = on_device(place_map, place_map.places())
        assert len(resident) == 12
        found = resident.of([7, 2, 7, 12])
        with pytest.raises(MapError, match='has no place 13'):
            resident.of([13])
    for name in ('descriptor', 'xy', 'attention', 'descriptors'):
        got, wanted = getattr(found, name), getattr(expected, name)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, wanted, atol=0, rtol=2e-7)


def test_places_beyond_the_budget_are_read_from_the_map(path):
    """Also those that were added since; all come back in the order they were asked for."""
    asked = [9, 1, 12, 4]
    with PlaceMap.open(path) as place_map:
        expected = ImageFeatures.stack(*place_map.features(asked))
        for here in ([1, 4], [], asked):
            packed = {one: place_map.packed(one) for one in here}
            for kind in (HostFeatures(place_map, packed), on_device(place_map, here)):
                assert len(kind) == len(here)
                found = kind.of(asked)
                torch.testing.assert_close(found.descriptors, expected.descriptors)
                torch.testing.assert_close(found.descriptor, expected.descriptor)


def test_preloading_stops_at_its_budget(tmp_path):
    header = replace(HEADER, local_dtype='int8')
    with PlaceMap.create(tmp_path / 'm.r2map', header) as place_map:
        place_map.add_all(keyframe(seed, count=20_000) for seed in range(3))  # 0.42 MiB each
        found = [len(preloaded(place_map, budget_mb, CPU)) for budget_mb in (0, 1, 2)]
    assert found == [0, 2, 3]


def test_what_is_preloaded_is_not_read_again(path):
    """A query reads the other places it asks for, and nothing else."""
    with PlaceMap.open(path) as place_map:
        features = HostFeatures(place_map, {3: place_map.packed(3)})
        expected = ImageFeatures.stack(*place_map.features([3, 5]))
        statements = []
        place_map._store._connection.set_trace_callback(statements.append)
        found = features.of([3, 5])
    assert [one.rpartition('WHERE')[2] for one in statements] == [' descriptors.place_id = 5']
    torch.testing.assert_close(found.descriptors, expected.descriptors)


def test_a_recognizer_says_the_same_with_them(path):
    config = with_values(Config(), {'rerank.candidates': 4, 'rerank.shortlist': 9})
    with PlaceMap.open(path) as place_map:
        recognizer = recognizer_on(place_map, config)
        plain = recognizer.recognize(Frame(0, picture(6)))
        recognizer.search.features = on_device(place_map, place_map.places())
        resident = recognizer.recognize(Frame(0, picture(6)))
    assert [one.place for one in plain.hypotheses] == [one.place for one in resident.hypotheses]
    scores = [[one.score for one in said.hypotheses] for said in (plain, resident)]
    np.testing.assert_allclose(*scores, atol=1e-6)


def test_local_features_of_the_best_place_are_read_once(path):
    """The geometric check, loop closure and the debug picture all ask for them."""
    with PlaceMap.open(path) as place_map:
        search = search_on(place_map, with_values(Config(), {'map.preload_mb': 0}))
        first = search.local_features(7)
    assert search.local_features(7) is first
