# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Timing of every stage of a query: the plain float32 path next to the fast ones, in one run.

The variants of a stage take turns, so that other load on the machine affects all of them alike.
The ratios carry over to other machines; the milliseconds do not.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..common.process import prepare_process
from ..config import Config, DecisionConfig, ModelConfig, RetrievalConfig, with_values
from ..decision import PlaceFilter
from ..geometry.poses import pose_from_yaw
from ..mapping.build import create_map
from ..maps.index import PlaceIndex
from ..maps.table import PlaceTable
from ..model import ImageFeatures, Model
from ..model.backends.onnx import export_onnx
from ..model.loading import ENGINES, assemble, configured_network, wait_for_kernels
from ..model.preprocess import preprocess
from ..recognizer import Recognizer
from ..records import Frame, Hypothesis, Image, Keyframe, LocalFeatures, Place

REFERENCE = 'torch float32'
RERANKED = (20, 50, 100)
NAMED = 20
"""Hypotheses per decision."""
SEARCHED = (1_000, 10_000, 100_000, 1_000_000)
SEARCHED_DIM = 256
STREET = 1_000
"""Places per row, two metres apart; rows are 30 m apart."""
VERSIONS = ('torch', 'numpy', 'scipy', 'faiss-cpu', 'numba', 'openvino', 'onnxruntime', 'triton')
REPLAYED = 'cudagraphs bfloat16'
FUSED = 'triton bfloat16'
COMPILED = 'numba float32'
CONVERTED = 'openvino float32'
ROUNDED = 'openvino bfloat16'
FASTEST = (REPLAYED, CONVERTED, COMPILED)
TIMED = (REFERENCE, 'torch bfloat16')
TIMED_ON = {
    'cpu': (COMPILED, CONVERTED, ROUNDED, 'onnx float32'),
    'cuda': ('torch float16', 'cudagraphs float32', REPLAYED, FUSED),
}
"""Engines and precisions to time, if they can run."""
ONNX_PACKAGES = ('onnx', 'onnxscript')
"""Packages that write the files."""
Variants = dict[str, Callable[[], object]]
Stage = tuple[str, Variants]
Row = dict[str, Any]


def stages(settings: ModelConfig, places: int, folder: Path) -> Iterator[Stage]:
    """
    Yield the stages of a query with some weights, each with its variants by name.

    :param settings: weights, device and size of the input.
    :param places: in the map of the whole query.
    :param folder: for the map and the exported network.
    :raises WeightsError: if the weights cannot be loaded.
    """
    models = networks(settings, folder / 'onnx')
    plain = models[REFERENCE]
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    yield 'preprocess 640x480', {
        REFERENCE: partial(preprocess, picture, plain.spec.input, plain.device)}
    image = preprocess(picture, plain.spec.input, plain.device)
    yield 'encode', {name: partial(model.encode, image) for name, model in models.items()
                     if name != COMPILED}
    query, candidates = random_features(plain, 1), random_features(plain, max(RERANKED))
    yield 'rescore 100', {REFERENCE: partial(plain.rescore, query, candidates)}
    for count in RERANKED:
        yield f'rerank {count}', {
            name: partial(model.score, query, candidates[:count])
            for name, model in models.items() if name not in (CONVERTED, ROUNDED)}
    yield f'whole query, {places:,} places', whole_query(models, places, folder, picture)


def networks(settings: ModelConfig, onnx_folder: Path) -> dict[str, Model]:
    """Assemble the same network once with each engine and precision that can run here."""
    network = configured_network(settings)
    settings = replace(settings, onnx_folder=str(onnx_folder),
                       onnx_providers='CPUExecutionProvider')
    found: dict[str, Model] = {}
    for name in (*TIMED, *TIMED_ON[network.device.type]):
        backend, precision = name.split()
        wanted = replace(settings, backend=backend, precision=precision)
        if ENGINES[backend].hindrance(network, wanted):
            continue
        if backend == 'onnx':
            if not all(map(find_spec, ONNX_PACKAGES)):
                continue
            export_onnx(found[REFERENCE], onnx_folder)
        found[name] = assemble(network, wanted)
        wait_for_kernels(found[name])
    return found


def random_features(model: Model, images: int) -> ImageFeatures:
    """Make random features of the right shapes; their values do not affect the time."""
    generator = torch.Generator().manual_seed(images)
    spec = model.spec
    count = min(spec.num_local, spec.image_height * spec.image_width // 256)
    rows = torch.randn(images, spec.descriptor_dim, generator=generator)
    return ImageFeatures(
        torch.nn.functional.normalize(rows, dim=-1),
        torch.rand(images, count, 2, generator=generator),
        torch.rand(images, count, generator=generator),
        torch.randn(images, count, spec.local_dim, generator=generator),
    ).to(model.device)


def whole_query(
    models: dict[str, Model], places: int, folder: Path, picture: Image
) -> Variants:
    """Build a map of random places and recognise in it with the plain and the fastest path."""
    plain = models[REFERENCE]
    path = folder / 'places.r2map'
    with create_map(plain, path, Config()) as place_map:
        place_map.add_all(random_keyframes(plain, places))
    fastest = next((name for name in FASTEST if name in models), REFERENCE)
    settings: dict[str, tuple[Model, dict[str, Any]]] = {
        f'{REFERENCE}, 20 reranked': (plain, {'rerank.shortlist': 0}),
        **{f'{fastest}, {profile}': (models[fastest], {'rerank.profile': profile})
           for profile in ('exact', 'balanced', 'fast')},
    }
    return {
        name: partial(
            Recognizer.open(path, with_values(Config(), values), model).recognize,
            Frame(0, picture))
        for name, (model, values) in settings.items()
    }


def random_keyframes(model: Model, places: int) -> Iterator[Keyframe]:
    """Yield places with random features."""
    one = random_features(model, 1).local_features_of(0)
    rng = np.random.default_rng(1)
    for stamp_ns in range(places):
        descriptor = rng.standard_normal(model.spec.descriptor_dim, np.float32)
        descriptors = np.roll(one.descriptors, stamp_ns, axis=0)
        yield Keyframe(stamp_ns, None, f'random:{stamp_ns}',
                       descriptor / np.linalg.norm(descriptor),
                       LocalFeatures(one.xy, one.attention, descriptors))


def search_stages(largest: int) -> Iterator[Stage]:
    """Yield exact search in ever larger maps; for other indices see benchmarks/search.py."""
    rng = np.random.default_rng(2)
    for count in sizes(largest):
        rows = rng.standard_normal((count, SEARCHED_DIM), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        index = PlaceIndex(range(count), rows, RetrievalConfig(index='flat'))
        yield f'search in {count:,}', {'flat': partial(index.search, rows[0], 100)}


def decide_stages(largest: int) -> Iterator[Stage]:
    """Yield the decision in ever larger maps: a drive whose images also name random places."""
    rng = np.random.default_rng(3)
    places = [Place(i, 0, pose_from_yaw(2.0 * (i % STREET), 30.0 * (i // STREET), 0.0), '')
              for i in range(largest)]
    for count in sizes(largest):
        images = [[row, *rng.integers(count, size=NAMED - 1)]
                  for row in range(min(count, STREET // 2))]
        seen = cycle([Hypothesis(places[row], 0.9, 0.9) for row in rows] for rows in images)
        decision = PlaceFilter(PlaceTable.of(places[:count]), DecisionConfig())
        yield f'decide in {count:,}', {'numpy': partial(_decide, decision, seen)}


def _decide(decision: PlaceFilter, seen: Iterator[list[Hypothesis]]) -> None:
    hypotheses = next(seen)
    decision.decide(hypotheses, [9.0] * len(hypotheses))


def sizes(largest: int) -> list[int]:
    """Return numbers of places up to the largest, each ten times the previous one."""
    return [count for count in SEARCHED if count < largest] + [largest]


def measured(title: str, variants: Variants, repeats: int) -> list[Row]:
    """Time one stage; the others are compared with the first variant."""
    figures = timed(variants, repeats)
    first = next(iter(figures.values()))['median_ms']
    return [{'stage': title, 'variant': name, **figure,
             'times_faster': first / figure['median_ms']} for name, figure in figures.items()]


def timed(variants: Variants, repeats: int) -> dict[str, dict[str, float]]:
    """Run the variants in turn after a warm-up; return median and p95 in milliseconds."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(repeats + 1):
        for name, run in variants.items():
            started = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat:
                taken[name].append((time.perf_counter() - started) * 1e3)
    return {name: {'median_ms': statistics.median(all_ms),
                   'p95_ms': float(np.percentile(all_ms, 95))} for name, all_ms in taken.items()}


def rerank_memory_mib(settings: ModelConfig) -> dict[str, float]:
    """
    Return by how much reranking 100 candidates raises the peak memory of a fresh process.

    :returns: MiB, for the plain and the fastest backend.
    """
    found = {}
    for backend in ('torch', 'auto'):
        with ProcessPoolExecutor(1, get_context('spawn'), prepare_process) as pool:
            found[backend] = pool.submit(_rerank_peak_mib, settings, backend).result()
    return found


def _rerank_peak_mib(settings: ModelConfig, backend: str) -> float:
    """Rerank once, and return the rise of this process's peak memory in MiB."""
    settings = replace(settings, device='cpu', backend=backend, precision='float32')
    model = assemble(configured_network(settings), settings)
    wait_for_kernels(model)
    query, candidates = random_features(model, 1), random_features(model, max(RERANKED))
    model.score(query, candidates[:1])  # loads and compiles what is needed
    Path('/proc/self/clear_refs').write_text('5', encoding='utf-8')  # the peak counts from here
    before = _memory_mib('VmRSS')
    model.score(query, candidates)
    return _memory_mib('VmHWM') - before


def _memory_mib(name: str) -> float:
    """Read the current (VmRSS) or peak (VmHWM) memory of this process."""
    lines = Path('/proc/self/status').read_text(encoding='utf-8').splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{name}:')) / 1024


def machine(device: str) -> dict[str, Any]:
    """Describe the machine and the versions of what is timed."""
    lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    cpus = [line.split(':')[1].strip() for line in lines if line.startswith('model name')]
    on_cuda = device != 'cpu' and torch.cuda.is_available()
    return {
        'cpu': f'{cpus[0] if cpus else platform.machine()}, {os.cpu_count()} cores',
        'threads': torch.get_num_threads(),
        'device': torch.cuda.get_device_name() if on_cuda else 'cpu',
        'python': platform.python_version(), 'r2former_ros': __version__, 'commit': _commit(),
        **{name: _version_of(name) for name in VERSIONS},
    }


def _commit() -> str:
    """Return the commit of the source if it is a checkout, else an empty string."""
    source = Path(__file__).parents[2]
    if not (source / '.git').exists():
        return ''
    command = ['git', 'rev-parse', '--short', 'HEAD']
    return subprocess.run(command, capture_output=True, text=True, cwd=source).stdout.strip()


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return 'not installed'
