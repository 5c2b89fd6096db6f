# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Search: each kind against the exact answer, and the index kept beside the map."""

from dataclasses import replace

import numpy as np
import pytest
from samples import HEADER, keyframe

from r2former_ros.config import RetrievalConfig
from r2former_ros.maps import index as place_index
from r2former_ros.maps.index import PlaceIndex, TorchIndex, kind_for
from r2former_ros.maps.place_map import PlaceMap

KINDS = ('flat', 'hnsw', 'ivf', 'ivfsq')


def clustered(count, seed=0):
    """Make unit vectors (count, 16) around 20 centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(77).standard_normal((20, 16))
    rows = centres[rng.integers(0, 20, count)] + 0.5 * rng.standard_normal((count, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def settings(kind, **values):
    return RetrievalConfig(index=kind, ivf_probes=8, **values)


@pytest.mark.parametrize('kind', KINDS)
def test_each_kind_finds_what_exact_search_finds(kind):
    """Also the places added later, one by one; similarities are cosines, best first."""
    vectors, ids = clustered(2000), np.arange(2000) * 3 + 5
    index = PlaceIndex(ids[:1500], vectors[:1500], settings(kind))
    assert index.kind == kind
    for place_id, vector in zip(ids[1500:], vectors[1500:]):
        index.add(place_id, vector)
    assert len(index) == 2000
    found = 0
    for query in clustered(20, seed=1):
        exact = ids[np.argsort(-(vectors @ query))[:10]]
        candidates = index.search(query, 10)
        similarities = [one.similarity for one in candidates]
        assert similarities == sorted(similarities, reverse=True)
        found += len({one.place_id for one in candidates} & set(exact.tolist()))
        if kind != 'ivfsq':  # its similarities are those of rounded descriptors
            row = (candidates[0].place_id - 5) // 3
            assert similarities[0] == pytest.approx(float(vectors[row] @ query), abs=1e-5)
    assert found / 200 >= {'flat': 1.0, 'ivfsq': 0.9}.get(kind, 0.97)


@pytest.mark.parametrize(('places', 'device', 'kind'), [
    (10, 'cpu', 'flat'), (11, 'cpu', 'hnsw'), (20, 'cpu', 'hnsw'), (2000, 'cpu', 'ivf'),
    (2000, 'cuda', 'flat'),
])
def test_auto_chooses_by_the_number_of_places(places, device, kind):
    assert kind_for(places, RetrievalConfig(flat_up_to=10, hnsw_up_to=20), device) == kind


def test_too_few_places_for_lists_are_searched_exactly():
    index = PlaceIndex([1, 2], clustered(2), settings('ivf'))
    assert index.kind == 'flat'
    assert {one.place_id for one in index.search(clustered(1)[0], 100)} == {1, 2}


def test_exact_search_on_a_torch_device_is_exact(monkeypatch):
    """The index that stands in for faiss where a GPU is there but faiss-gpu is not."""
    monkeypatch.setattr(place_index, 'TorchIndex', lambda dim, _: TorchIndex(dim, 'cpu'))
    vectors = clustered(500)
    index = PlaceIndex(range(1, 401), vectors[:400], settings('flat'), device='cuda')
    for row in range(400, 500):
        index.add(row + 1, vectors[row])
    reference = PlaceIndex(range(1, 501), vectors, settings('flat'))
    for query in clustered(5, seed=2):
        found, wanted = index.search(query, 50), reference.search(query, 50)
        assert [one.place_id for one in found] == [one.place_id for one in wanted]
        assert np.allclose([one.similarity for one in found],
                           [one.similarity for one in wanted], atol=1e-6)


@pytest.fixture
def site(tmp_path):
    """A map of 60 places."""
    with PlaceMap.create(tmp_path / 'site.r2map', HEADER) as place_map:
        place_map.add_all(map(keyframe, range(60)))
    return tmp_path / 'site.r2map'


def index_of(path, config=None):
    with PlaceMap.open(path) as place_map:
        places = place_map.places()
        index = PlaceIndex.of_map(place_map, places, config or settings('hnsw'))
        assert len(index) == len(places)
        for place_id in (1, len(places)):
            descriptor = place_map.features([place_id])[0][0]
            assert index.search(descriptor, 3)[0].place_id == place_id
    return index


def builds(monkeypatch):
    """Count the indices that are built."""
    made, build = [], place_index._empty
    monkeypatch.setattr(place_index, '_empty', lambda *args: (made.append(1), build(*args))[1])
    return made


def test_a_built_index_is_kept_and_taken_up(site, monkeypatch):
    made = builds(monkeypatch)
    index_of(site)
    assert site.with_name('site.r2map.index').is_file()
    index_of(site)
    assert len(made) == 1
    index_of(site, settings('hnsw', hnsw_links=8))  # other settings: built again
    assert len(made) == 2


def test_a_kept_index_takes_up_new_places_and_is_stale_after_others_went(site, monkeypatch):
    made = builds(monkeypatch)
    index_of(site)
    with PlaceMap.open(site, writable=True) as place_map:
        place_map.add_all(map(keyframe, range(60, 70)))
    index_of(site)
    assert len(made) == 1  # ten places were added to it
    with PlaceMap.open(site, writable=True) as place_map:
        place_map._store._connection.execute('DELETE FROM places WHERE id = 30')
    index_of(site)
    assert len(made) == 2


def test_another_map_of_the_same_name_does_not_get_its_index(site, monkeypatch):
    made = builds(monkeypatch)
    index_of(site)
    site.unlink()
    with PlaceMap.create(site, HEADER) as place_map:
        frames = [replace(keyframe(seed), descriptor=keyframe(seed + 99).descriptor)
                  for seed in range(60)]
        place_map.add_all(frames)  # as before, in all but the images
    index_of(site)
    assert len(made) == 2


@pytest.mark.parametrize('damage', [
    lambda data: data[:-1],
    lambda data: data[:9000] + bytes([data[9000] ^ 4]) + data[9001:],
    lambda data: b'',
    lambda data: b'{"key": 1}'.ljust(5000),
])
def test_a_damaged_index_is_recognised_and_built_again(site, damage, caplog):
    index_of(site)
    kept = site.with_name('site.r2map.index')
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    index_of(site)
    assert 'site.r2map.index: is damaged, and built again' in caplog.text
    assert len(kept.read_bytes()) == len(whole)


def test_an_index_that_cannot_be_kept_is_a_warning(site, caplog):
    site.with_name('site.r2map.index').mkdir()
    index_of(site)
    assert 'site.r2map.index: is a folder, so the index is built again' in caplog.text
    assert sorted(path.name for path in site.parent.iterdir()) == ['site.r2map',
                                                                   'site.r2map.index']


