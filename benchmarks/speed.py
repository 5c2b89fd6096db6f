# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Time every stage of a query: the plain float32 path against the fast ones, in one run.

    make bench                                          # or:
    python benchmarks/speed.py --weights small r2former-tiny --json speed.json

Variants of a stage take turns, so that whatever else the machine does falls on all alike. Read the
ratios; the milliseconds are those of one machine at one time.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle
from pathlib import Path
from typing import Any

from r2former_ros.process import prepare_process

prepare_process()  # before torch is imported: as the node and the command line do

import numpy as np
import torch

from r2former_ros.config import Config, DecisionConfig, RetrievalConfig, with_values
from r2former_ros.decision import PlaceFilter
from r2former_ros.geometry import pose_from_yaw
from r2former_ros.images import preprocess
from r2former_ros.mapping import create_map
from r2former_ros.model import ImageFeatures, R2Former, load_model
from r2former_ros.model.onnx_format import export_onnx
from r2former_ros.place_index import PlaceIndex
from r2former_ros.place_map import PlaceMap
from r2former_ros.recognizer import Recognizer
from r2former_ros.records import Frame, Hypothesis, Keyframe, LocalFeatures, Place

REFERENCE = 'torch float32'
RERANKED = (20, 50, 100)
NAMED = 20
"""Hypotheses of an image that is decided on."""
SEARCHED = (1_000, 10_000, 100_000, 1_000_000)
STREET = 1_000
"""Places that lie two metres apart in a row, where their poses count; rows are 30 m apart."""
VERSIONS = ('torch', 'numpy', 'scipy', 'faiss-cpu', 'numba', 'onnxruntime')
REPLAYED = 'cudagraphs bfloat16'
COMBINED = 'onnx+numba float32'
FASTEST = (COMBINED, REPLAYED)
CPU_PROVIDER = ('CPUExecutionProvider',)
Variants = dict[str, Callable[[], Any]]


def networks(weights: str, device: str, onnx_folder: Path) -> dict[str, R2Former]:
    """Load the same weights once for each way to compute."""
    def load(**settings: str) -> R2Former:
        return load_model(weights, device, **settings)

    found = {REFERENCE: load(), 'torch bfloat16': load().with_precision('bfloat16')}
    if found[REFERENCE].device.type == 'cpu':
        found['numba float32'] = load().with_backend('auto')
        export_onnx(found[REFERENCE], onnx_folder)
        found['onnx float32'] = load().with_onnx(str(onnx_folder), CPU_PROVIDER)
        found[COMBINED] = load().with_backend('auto').with_onnx_encoder(onnx_folder, CPU_PROVIDER)
    else:
        found['torch float16'] = load().with_precision('float16')
        found['cudagraphs float32'] = load().with_backend('cudagraphs')
        found[REPLAYED] = load().with_precision('bfloat16').with_backend('cudagraphs')
    return found


def stages(weights: str, device: str, places: int, folder: Path) -> Iterator[tuple[str, Variants]]:
    """Yield the stages of a query, each with its variants by name."""
    models = networks(weights, device, folder / 'onnx')
    plain = models[REFERENCE]
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    image = preprocess(picture, plain.spec.input, plain.device)
    yield 'preprocess 640x480', {
        REFERENCE: lambda: preprocess(picture, plain.spec.input, plain.device)}
    yield 'encode', {name: (lambda model=model: model.encode(image))
                     for name, model in models.items()
                     if name not in ('numba float32', COMBINED)}
    query, candidates = random_features(plain, 1), random_features(plain, max(RERANKED))
    yield 'rescore 100', {REFERENCE: lambda: plain.rescore(query, candidates)}
    for count in RERANKED:
        chosen = candidates[:count]
        yield f'rerank {count}', {
            name: (lambda model=model, chosen=chosen: model.score(query, chosen))
            for name, model in models.items() if name != COMBINED}
    yield f'whole query, {places:,} places', whole_query(models, places, folder, picture)


def random_features(model: R2Former, images: int) -> ImageFeatures:
    """Make features of the weights' sizes: what they say has no influence on the time."""
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
    models: dict[str, R2Former], places: int, folder: Path, picture: Any
) -> Variants:
    """Build a map of random places and recognise on it by the plain and the fast path."""
    plain = models[REFERENCE]
    path = folder / 'places.r2map'
    with create_map(plain, path, Config()) as place_map:
        place_map.add_all(random_keyframes(plain, places))
    plainest = with_values(Config(), {'rerank.shortlist': 0})
    settings = {
        f'{REFERENCE}, 20 reranked': (plain, plainest),
        **{f'{name}, {profile}': (model, with_values(Config(), {'rerank.profile': profile}))
           for name, model in models.items() if name in FASTEST
           for profile in ('exact', 'balanced', 'fast')},
    }
    opened = {name: Recognizer(model, PlaceMap.open(path), config)
              for name, (model, config) in settings.items()}
    return {name: (lambda recognizer=recognizer: recognizer.recognize(Frame(0, picture)))
            for name, recognizer in opened.items()}


def random_keyframes(model: R2Former, places: int) -> Iterator[Keyframe]:
    """Yield places with random features."""
    one = random_features(model, 1).local_features_of(0)
    rng = np.random.default_rng(1)
    for stamp_ns in range(places):
        descriptor = rng.standard_normal(model.spec.descriptor_dim, np.float32)
        descriptors = np.roll(one.descriptors, stamp_ns, axis=0)
        yield Keyframe(stamp_ns, None, f'random:{stamp_ns}',
                       descriptor / np.linalg.norm(descriptor),
                       LocalFeatures(one.xy, one.attention, descriptors))


def search_stages(dim: int) -> Iterator[tuple[str, Variants]]:
    """Yield exact search in more and more places; other indices: see benchmarks/search.py."""
    rng = np.random.default_rng(2)
    for places in SEARCHED:
        rows = rng.standard_normal((places, dim), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        index = PlaceIndex(range(places), rows, RetrievalConfig(index='flat'))
        yield f'search in {places:,}', {
            'flat': (lambda index=index, row=rows[0]: index.search(row, 100))}


def decide_stages() -> Iterator[tuple[str, Variants]]:
    """Yield the decision in more and more places: a drive whose images name others by chance."""
    rng = np.random.default_rng(3)
    places = [Place(i, 0, pose_from_yaw(2.0 * (i % STREET), 30.0 * (i // STREET), 0.0), '')
              for i in range(max(SEARCHED))]
    for count in SEARCHED:
        images = [[row, *rng.integers(count, size=NAMED - 1)] for row in range(STREET // 2)]
        seen = cycle([Hypothesis(places[row], 0.9, 0.9) for row in rows] for rows in images)
        decision = PlaceFilter(places[:count], DecisionConfig())
        yield f'decide in {count:,}', {'numpy': (lambda decision=decision, seen=seen: (
            decision.decide(next(seen), min_score=0.5)))}


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


def rerank_memory_mib(weights: str, backend: str) -> float:
    """Return what reranking 100 candidates adds to the largest memory of a process of its own."""
    command = [sys.executable, __file__, '--memory-of', weights, backend]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def print_memory(weights: str, backend: str) -> None:
    """Rerank once and print by how many MiB the peak rose."""
    model = load_model(weights, 'cpu').with_backend(backend)
    query, candidates = random_features(model, 1), random_features(model, max(RERANKED))
    model.score(query, candidates[:1])  # loads and compiles what is needed
    Path('/proc/self/clear_refs').write_text('5')  # the peak counts from here
    before = memory_mib('VmRSS')
    model.score(query, candidates)
    print(memory_mib('VmHWM') - before)


def memory_mib(name: str) -> float:
    """Read one of this process's figures: VmRSS is now, VmHWM the peak."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(f'{name}:'):
            return int(line.split()[1]) / 1024
    raise SystemExit(f'/proc/self/status has no {name}')


def machine(device: str) -> dict[str, Any]:
    """Say what the figures were taken on."""
    cpu = [line.split(':')[1].strip() for line in Path('/proc/cpuinfo').read_text().splitlines()
           if line.startswith('model name')]
    commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], capture_output=True,
                            text=True, cwd=Path(__file__).parent).stdout.strip()
    return {
        'cpu': f'{cpu[0]}, {len(cpu)} cores', 'threads': torch.get_num_threads(),
        'device': torch.cuda.get_device_name() if device.startswith('cuda') else 'cpu',
        'python': platform.python_version(), 'commit': commit,
        **{name: version_of(name) for name in VERSIONS},
    }


def version_of(package: str) -> str:
    """Return the version of an installed package, or say that there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return 'not installed'


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Write the rows for a person."""
    yield f'{"stage":32s}{"variant":28s}{"median ms":>11s}{"p95 ms":>10s}{"times faster":>14s}'
    for row in rows:
        yield (f'{row["stage"]:32s}{row["variant"]:28s}{row["median_ms"]:11.2f}'
               f'{row["p95_ms"]:10.2f}{row["times_faster"]:14.2f}')


def measured(title: str, variants: Variants, repeats: int) -> list[dict[str, Any]]:
    """Time one stage; the first variant is what the others are compared with."""
    figures = timed(variants, repeats)
    first = next(iter(figures.values()))['median_ms']
    return [{'stage': title, 'variant': name, **figure,
             'times_faster': first / figure['median_ms']} for name, figure in figures.items()]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Time every stage of a query.')
    parser.add_argument('--weights', nargs='+', default=['small', 'r2former-tiny'])
    parser.add_argument('--device', default='cpu', help='cpu, cuda or cuda:N')
    parser.add_argument('--places', type=int, default=10_000, help='in the map of the whole query')
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--json', type=Path, metavar='FILE')
    parser.add_argument('--memory-of', nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run all stages and print the tables."""
    given = arguments()
    if given.memory_of:
        print_memory(*given.memory_of)
        return
    result: dict[str, Any] = {'machine': machine(given.device), 'weights': {}}
    print(', '.join(f'{name} {value}' for name, value in result['machine'].items()))
    for weights in given.weights:
        with tempfile.TemporaryDirectory() as folder:
            rows = [row for title, variants in
                    stages(weights, given.device, given.places, Path(folder))
                    for row in measured(title, variants, given.repeats)]
        memory = {backend: rerank_memory_mib(weights, backend)
                  for backend in (('torch', 'auto') if given.device == 'cpu' else ())}
        result['weights'][weights] = {'stages': rows, 'rerank_100_memory_mib': memory}
        print(f'\n{weights}', *table(rows), sep='\n')
        if memory:
            print('memory that reranking 100 adds [MiB]: ',
                  ', '.join(f'{backend} {mib:.0f}' for backend, mib in memory.items()))
    for name, found in (('search', search_stages(256)), ('decide', decide_stages())):
        result[name] = [row for title, variants in found
                        for row in measured(title, variants, given.repeats)]
    print('\nexact search and decision', *table(result['search'] + result['decide']), sep='\n')
    result['peak_mib'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f'\npeak memory of this run: {result["peak_mib"]:.0f} MiB')
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
    main()
