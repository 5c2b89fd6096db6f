# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Search of places by global descriptor: the only module that imports faiss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
import torch

from ..common.progress import Notify, noted, silent
from ..config import RetrievalConfig
from ..errors import MapError
from ..records import Candidate, Vector
from .index_cache import CHUNK_BYTES, Key, Write, open_body, read_key, write_cache
from .place_map import PlaceMap
from .table import PlaceTable

FAISS: Any = faiss  # its type stubs lack what is used below
POINTS_A_LIST = 39
"""Descriptors that faiss wants for finding the centre of a list."""
FEWEST_TRAINED = 1000
"""With fewer places there is nothing to learn lists from: the search is exact."""
ADDED_AT_ONCE = 10_000
GROWN_TOO_MUCH = 1.5
"""A kept index takes up new places until the map is so much larger than when it was built."""

class PlaceIndex:
    """
    Search by cosine similarity: exact, or by one of faiss's approximate indices.

    Descriptors have unit norm, so the order is that of L2 distance, which the paper uses.
    """

    def __init__(
        self,
        place_ids: Sequence[int],
        descriptors: Vector,
        config: RetrievalConfig | None = None,
        device: str = 'cpu',
        notify: Notify = silent,
    ) -> None:
        """
        Build from ids and descriptors (P, D) float32 of unit norm.

        :param device: cpu, cuda or cuda:N; only flat is searched on CUDA.
        :param notify: told how far a long construction has come.
        :raises MapError: if their numbers differ.
        """
        if len(place_ids) != len(descriptors):
            raise MapError(f'{len(place_ids)} places but {len(descriptors)} descriptors')
        self.config = config or RetrievalConfig()
        self.kind = kind_for(len(place_ids), self.config, device)
        self._index = _empty(self.kind, descriptors, self.config, device, notify)
        self._add_all(place_ids, descriptors, notify)
        _set_effort(self._index, self.kind, self.config)

    @classmethod
    def of_map(
        cls,
        place_map: PlaceMap,
        places: PlaceTable,
        config: RetrievalConfig,
        device: str = 'cpu',
        notify: Notify = silent,
    ) -> PlaceIndex:
        """
        Index a map; what takes long to build is kept beside it and taken up again.

        :raises MapError: if the map is damaged.
        """
        kind = kind_for(len(places), config, device)
        if kind == 'flat':
            return cls(*descriptors_of(place_map, places), config, device)
        key = _key(kind, place_map, config)
        index = cls._kept(place_map, places, config, key)
        if index is None:
            index = cls(*descriptors_of(place_map, places), config, device, notify)
        elif len(index) < len(places):
            index._add_all(*descriptors_of(place_map, places, len(index)), notify)
        else:
            return index
        write_cache(place_map.index_path, {
            **key, 'count': len(index), 'digest': places.digest(len(index)),
        }, index._write)
        return index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, place_id: int, descriptor: Vector) -> None:
        """Add one place, descriptor (D,)."""
        self._add_all([place_id], descriptor[None], silent)

    def search(self, descriptor: Vector, count: int) -> list[Candidate]:
        """Return the most similar places of a descriptor (D,), best first, at most ``count``."""
        count = min(count, len(self))
        if count == 0:
            return []
        similarities, ids = self._index.search(np.asarray(descriptor[None], np.float32), count)
        return [
            Candidate(place_id, similarity)
            for similarity, place_id in zip(similarities[0].tolist(), ids[0].tolist())
            if place_id >= 0  # fewer were found in the lists
        ]

    def _add_all(
        self, place_ids: Sequence[int], descriptors: Vector, notify: Notify
    ) -> None:
        ids = np.asarray(place_ids, np.int64)
        slices = [slice(start, start + ADDED_AT_ONCE)
                  for start in range(0, len(ids), ADDED_AT_ONCE)]
        what = f'index ({self.kind}), parts of {ADDED_AT_ONCE:,} places'
        for rows in noted(slices, what, len(slices), notify):
            vectors = np.ascontiguousarray(descriptors[rows], np.float32)
            self._index.add_with_ids(vectors, ids[rows])

    @classmethod
    def _kept(
        cls, place_map: PlaceMap, places: PlaceTable, config: RetrievalConfig, key: Key
    ) -> PlaceIndex | None:
        """Read the kept index if it holds the first places of this map, else None."""
        path = place_map.index_path
        kept = read_key(path)
        if kept is None or {name: kept.get(name) for name in key} != key:
            return None
        count = kept['count']
        if not len(places) / GROWN_TOO_MUCH <= count <= len(places) or \
                kept['digest'] != places.digest(count):
            return None
        index = cls.__new__(cls)
        index.config, index.kind = config, key['kind']
        try:
            with open_body(path) as file:
                index._index = FAISS.read_index(FAISS.PyCallbackIOReader(file.read, CHUNK_BYTES))
        except RuntimeError:  # written by a faiss that knows more
            return None
        _set_effort(index._index, index.kind, config)
        return index

    def _write(self, write: Write) -> None:
        FAISS.write_index(self._index, FAISS.PyCallbackIOWriter(write, CHUNK_BYTES))


class TorchIndex:
    """Exact search on a torch device, where faiss has no GPU: the calls of a faiss index."""

    def __init__(self, dim: int, device: str) -> None:
        self._rows = torch.empty((0, dim), device=device)
        self._ids = np.empty(0, np.int64)
        self.ntotal = 0

    def add_with_ids(self, vectors: Vector, ids: Any) -> None:
        """Add vectors (K, D); room is made for twice as many, so that single ones cost little."""
        total = self.ntotal + len(ids)
        if total > len(self._rows):
            room = max(total, 2 * self.ntotal) - self.ntotal
            spare = self._rows.new_empty((room, self._rows.shape[1]))
            self._rows = torch.cat([self._rows[: self.ntotal], spare])
            self._ids = np.resize(self._ids, self.ntotal + room)
        self._rows[self.ntotal : total] = torch.from_numpy(vectors)
        self._ids[self.ntotal : total] = ids
        self.ntotal = total

    def search(self, vectors: Vector, count: int) -> tuple[Vector, Any]:
        """Return similarities and ids (Q, count), best first."""
        queries = torch.from_numpy(vectors).to(self._rows.device)
        best = (queries @ self._rows[: self.ntotal].T).topk(count)
        return best.values.cpu().numpy(), self._ids[best.indices.cpu().numpy()]


def kind_for(places: int, config: RetrievalConfig, device: str) -> str:
    """Return flat, hnsw, ivf or ivfsq for a number of places."""
    kind = config.index
    if kind == 'auto' and device != 'cpu':
        return 'flat'
    if kind == 'auto':
        larger = 'hnsw' if places <= config.hnsw_up_to else 'ivf'
        kind = 'flat' if places <= config.flat_up_to else larger
    return 'flat' if kind.startswith('ivf') and places < FEWEST_TRAINED else kind


def index_bytes(places: int, dim: int, config: RetrievalConfig, device: str = 'cpu') -> int:
    """Return the memory of an index; on CUDA it lies there."""
    kind = kind_for(places, config, device)
    vector = dim if kind == 'ivfsq' else 4 * dim
    links = 4 * (2 * config.hnsw_links + 4) if kind == 'hnsw' else 0
    return places * (vector + links + 16)


def _empty(
    kind: str, descriptors: Vector, config: RetrievalConfig, device: str, notify: Notify
) -> Any:
    """Make an index without places; lists are learned from the descriptors (P, D)."""
    count, dim = descriptors.shape
    if kind == 'flat':
        return _empty_flat(dim, device)
    if kind == 'hnsw':
        graph = faiss.IndexHNSWFlat(dim, config.hnsw_links, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = config.hnsw_build_effort
        return faiss.IndexIDMap(graph)
    lists = config.ivf_lists or round(4 * math.sqrt(count))
    lists = max(1, min(lists, count // POINTS_A_LIST))
    inner = 'Flat' if kind == 'ivf' else 'SQ8'
    index = faiss.index_factory(dim, f'IVF{lists},{inner}', faiss.METRIC_INNER_PRODUCT)
    notify(f'index ({kind}): finding {lists} lists for {count} places')
    rows = np.random.default_rng(0).permutation(count)[: max(256, lists) * POINTS_A_LIST]
    index.train(np.ascontiguousarray(descriptors[np.sort(rows)], np.float32))
    return faiss.IndexIDMap(index)


def _empty_flat(dim: int, device: str) -> Any:
    if device == 'cpu':
        return faiss.IndexIDMap(faiss.IndexFlatIP(dim))
    if not hasattr(faiss, 'StandardGpuResources'):
        return TorchIndex(dim, device)
    resources = faiss.StandardGpuResources()
    flat = faiss.GpuIndexFlatIP(resources, dim, _gpu_config(device))
    return faiss.IndexIDMap(flat)


def _gpu_config(device: str) -> Any:
    config = faiss.GpuIndexFlatConfig()
    config.device = torch.device(device).index or 0
    return config


def _set_effort(index: Any, kind: str, config: RetrievalConfig) -> None:
    if kind == 'hnsw':
        graph = FAISS.downcast_index(index.index)
        graph.hnsw.efSearch = max(config.hnsw_effort, config.candidates)
    elif kind != 'flat':
        FAISS.downcast_index(index.index).nprobe = config.ivf_probes


def descriptors_of(
    place_map: PlaceMap, places: PlaceTable, known: int = 0
) -> tuple[list[int], Vector]:
    """
    Read the descriptors of all places but the first ``known``.

    A writer may have added more since ``places`` was read: those are left out.

    :raises MapError: if a place has none: the map is damaged.
    """
    wanted = places.ids[known:]
    ids, descriptors = place_map.descriptors(after=int(places.ids[known - 1]) if known else 0)
    if not np.array_equal(ids[: len(wanted)], wanted):
        raise MapError(f'{place_map.location}: is damaged (places and descriptors differ); '
                       'see r2former map check')
    return ids[: len(wanted)], descriptors[: len(wanted)]


def _key(kind: str, place_map: PlaceMap, config: RetrievalConfig) -> Key:
    """Say what an index is built from, but for the places."""
    return {
        'kind': kind,
        'map_id': place_map.map_id,
        'fingerprint': place_map.header.fingerprint,
        'settings': [config.hnsw_links, config.hnsw_build_effort, config.ivf_lists],
    }
