# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The table of places: what it holds, what it refuses, and what it takes in memory."""

import tracemalloc

import numpy as np
import pytest

from r2former_ros.config import Config
from r2former_ros.decision import PlaceFilter
from r2former_ros.errors import MapError
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.size import FILTER_BYTES, TABLE_BYTES
from r2former_ros.maps.table import PlaceTable
from r2former_ros.records import Place

KD_NODE_BYTES = 72


def place(number, posed=True):
    """Make a place with a source as long as that of a bag."""
    pose = pose_from_yaw(0.1 * number, 2.0, 0.3) if posed else None
    return Place(number, number * 10**9, pose, f'/camera/image_raw:{number * 10**9}')


def test_it_gives_back_what_it_was_made_from():
    places = [place(1), place(2, posed=False), place(5)]
    table = PlaceTable.of(places)
    assert list(table.values()) == places and list(table) == [1, 2, 5]
    assert np.array_equal(table[5].map_T_camera, places[2].map_T_camera)
    assert table[2].map_T_camera is None and table.with_pose().tolist() == [True, False, True]
    assert np.array_equal(table.poses(np.array([2]))[0], places[2].map_T_camera)
    assert (table.row_of(5), table.row_of(4), table.row_of(99)) == (2, None, None)
    table.add(place(9))
    assert table[9] == place(9) and len(table) == 4 and table.row_of(9) is None


def test_more_rows_than_are_read_at_once():
    places = [place(number) for number in range(1, 10_001)]
    table = PlaceTable.of(places)
    assert [table[number] for number in (1, 4096, 4097, 10_000)] == \
        [places[number - 1] for number in (1, 4096, 4097, 10_000)]


def test_an_empty_one_has_columns_too():
    table = PlaceTable.of([])
    assert table.positions.shape == (0, 3) and not table and not table.with_pose().any()


def test_ids_must_ascend_and_rows_must_be_whole():
    with pytest.raises(MapError, match='ids do not ascend'):
        PlaceTable.of([place(2), place(2)])
    table = PlaceTable.of([place(1), place(2)])
    table.verify()
    table.positions[1, 0] += 1
    with pytest.raises(MapError, match='place 2 is damaged'):
        table.verify()


def test_a_place_takes_the_memory_that_map_info_estimates():
    """Neither the table nor the filter keeps an object per place."""
    count = 20_000
    tracemalloc.start()
    table = PlaceTable.of(map(place, range(count)))
    decision = PlaceFilter(table, Config().decision)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    held += KD_NODE_BYTES * decision._tree.size  # allocated in C++
    assert held / count == pytest.approx(TABLE_BYTES + FILTER_BYTES, rel=0.1)
