# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The estimate of file and memory, against a real map."""

from dataclasses import replace

import pytest
from fakes import FakeModel
from samples import HEADER, keyframe

from r2former_ros.config import Config, with_values
from r2former_ros.mapping.size import PlaceSize, map_of_noise, measured_peak
from r2former_ros.maps.place_map import PlaceMap


def test_the_weights_tell_what_a_place_will_take(tmp_path):
    for dtype, count in (('float16', 500), ('int8', 500), ('int8', 3000), ('int8', 100)):
        spec = replace(FakeModel().spec, num_local=count, local_dim=16, descriptor_dim=8)
        estimated = PlaceSize.of_weights(spec, with_values(Config(), {'map.local_dtype': dtype}))
        path = tmp_path / f'{dtype}_{count}.r2map'
        with PlaceMap.create(path, replace(HEADER, local_dtype=dtype)) as place_map:
            frame = replace(keyframe(0, count), thumbnail=b'')
            place_map.add_all([frame] * 200)  # few: the empty map counts for some percent
        with PlaceMap.open(path) as place_map:
            real = PlaceSize.of_map(place_map)
        assert estimated.features == real.features
        assert estimated.file == pytest.approx(real.file, rel=0.1)


def test_memory_is_index_and_table_and_what_is_preloaded():
    size = PlaceSize(file=0, features=70_000 - 250, descriptor_dim=256)
    config = with_values(Config(), {'map.preload_mb': 1})
    assert size.memory(10, config, 'cpu') == 10 * (1024 + 16 + 164 + 22) + 700_000
    assert size.memory(1000, config, 'cpu') == 1000 * (1024 + 16 + 164 + 22) + 2**20


def test_an_empty_map_tells_nothing(tmp_path):
    with PlaceMap.create(tmp_path / 'm.r2map', HEADER) as place_map:
        assert PlaceSize.of_map(place_map) is None


def test_the_peak_is_measured_at_work(tmp_path):
    model = FakeModel()
    map_of_noise(model, tmp_path / 'noise.r2map', Config())
    with PlaceMap.open(tmp_path / 'noise.r2map') as place_map:
        assert len(place_map) == Config().rerank.candidates
        assert measured_peak(model, place_map, Config()) > 50 * 2**20  # numpy and torch at least
