# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Everything that only a GPU can show, in one run of less than ten minutes.

    python benchmarks/gpu.py --json gpu.json

Parts: ``parity`` of every engine with the released code's outputs; ``stages`` of a query with
tiny, small and base weights; ``search`` among a million places; ``live``, the demo with its node;
``training`` for a fixed time. A part that fails is reported and the others still run. Without a
GPU, ``--device cpu --quick`` rehearses every part at a small size; its times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from r2former_ros.common.process import prepare_process

prepare_process()  # before OpenMP starts: as the node and the command line do

import numpy as np
import torch

from r2former_ros.config import ModelConfig, RetrievalConfig
from r2former_ros.errors import R2FormerError
from r2former_ros.evaluation.speed import Row, machine, measured, stages
from r2former_ros.maps.index import PlaceIndex
from r2former_ros.model import PRESETS, ImageFeatures, Model
from r2former_ros.model.checkpoint import untrained_model
from r2former_ros.model.loading import ENGINES, assemble, wait_for_kernels
from r2former_ros.model.official import model_from_official
from r2former_ros.training.learner import Learner
from r2former_ros.training.optimization import make_optimizer
from r2former_ros.training.recipe import Recipe

TEST = Path(__file__).parents[1] / 'test'
sys.path.insert(0, str(TEST))

from recipe import GOLDEN, make_batch, make_pairs, make_state_dict

PRECISIONS = ('float32', 'bfloat16')
DIM = 256
COLUMNS = ('part', 'stage', 'variant', 'median_ms', 'p95_ms', 'times_faster', 'value')


@dataclass(frozen=True)
class Size:
    """How much each part does."""

    weights: tuple[str, ...] = ('r2former-tiny', 'small', 'base')
    height: int = 0  # as in the weights
    width: int = 0
    places: int = 20_000
    repeats: int = 20
    searched: int = 1_000_000
    frames: int = 80
    train_s: float = 20.0
    train_batch: int = 8


QUICK = Size(('r2former-tiny',), 48, 64, 50, 1, 2_000, 4, 1.0, 1)


def parity(device: str, size: Size) -> Iterator[Row]:
    """Yield the largest differences from the released code's outputs, for each engine."""
    golden = np.load(GOLDEN / 'seed1.npz')
    state = {name: torch.from_numpy(one) for name, one in make_state_dict('deit').items()}
    network = model_from_official(state).to(device).eval()
    for backend in ENGINES:
        for precision in PRECISIONS:
            settings = ModelConfig(backend=backend, precision=precision)
            if backend == 'onnx' or ENGINES[backend].hindrance(network, settings):
                continue  # onnx computes what was exported, which its own test compares
            model = assemble(network, settings)
            wait_for_kernels(model)
            variant = f'{backend} {precision}'
            yield {'stage': 'descriptor', 'variant': variant,
                   'value': descriptor_error(model, golden)}
            yield {'stage': 'logits', 'variant': variant, 'value': logit_error(model, golden)}


def descriptor_error(model: Model, golden: Any) -> float:
    """Return the largest difference of a value of a descriptor, at 480x640."""
    images = make_batch(golden['deit/480x640/scene_view'][:1], 480, 640)
    found = model.encode(torch.from_numpy(images)).descriptor.cpu().numpy()
    return float(np.abs(found - golden['deit/480x640/global'][:1]).max())


def logit_error(model: Model, golden: Any) -> float:
    """Return the largest difference of a logit, over the synthetic pairs."""
    worst = 0.0
    for case in range(7):
        number, count, nx, ny, beyond = golden[f'rerank/syn{case}/args_case_B_Nx_Ny_oor'].tolist()
        x_global, x_local, y_global, y_local = map(
            torch.from_numpy, make_pairs(number, count, nx, ny, out_of_range=bool(beyond)))
        queries, candidates = features_of(x_global, x_local), features_of(y_global, y_local)
        logits = torch.cat([model.score(queries[i], candidates[i]) for i in range(count)])
        difference = logits.cpu().numpy() - golden[f'rerank/syn{case}/logits']
        worst = max(worst, float(np.abs(difference).max()))
    return worst


def features_of(descriptors: torch.Tensor, local: torch.Tensor) -> ImageFeatures:
    """Make features of rows of x, y, attention and values."""
    return ImageFeatures(descriptors, local[..., :2], local[..., 2], local[..., 3:].contiguous())


def query_stages(device: str, size: Size) -> Iterator[Row]:
    """Yield every stage of a query, for each weights; local features are on the device."""
    for weights in size.weights:
        settings = ModelConfig(weights=weights, device=device, image_height=size.height,
                               image_width=size.width)
        with TemporaryDirectory() as folder:
            for title, variants in stages(settings, size.places, Path(folder)):
                yield from measured(f'{weights}: {title}', variants, size.repeats)


def search(device: str, size: Size) -> Iterator[Row]:
    """Yield exact search on the CPU and on the device, the same rows in both."""
    rows = np.random.default_rng(0).standard_normal((size.searched, DIM), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    variants: dict[str, Callable[[], object]] = {}
    for where in dict.fromkeys(('cpu', device)):
        index = PlaceIndex(range(size.searched), rows, RetrievalConfig(index='flat'), where)
        variants[f'flat on {where}'] = lambda index=index: index.search(rows[0], 100)
    yield from measured(f'search in {size.searched:,}', variants, size.repeats)


def live(device: str, size: Size) -> Iterator[Row]:
    """Yield the lines of the demo's table: a bag through the live node."""
    program = 'import sys; from r2former_ros.cli import main; sys.exit(main())'
    with TemporaryDirectory() as folder:
        command = [sys.executable, '-c', program, 'demo', '--out', folder, '--device', device,
                   '--frames', str(size.frames)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    if done.returncode:
        raise R2FormerError(done.stderr.strip().splitlines()[-1])
    for line in done.stdout.splitlines():
        yield {'stage': 'demo', 'variant': line, 'value': ''}


def training(device: str, size: Size) -> Iterator[Row]:
    """Yield images per second of training the retrieval stage, forward and backward."""
    recipe = Recipe(batch=size.train_batch)
    for preset in ('tiny', 'small'):
        spec = PRESETS[preset].with_size(size.height, size.width)
        learner = Learner(untrained_model(spec), recipe).to(device).train()
        group = 2 + recipe.negatives
        images = torch.randint(
            0, 256, (recipe.batch, group, spec.image_height, spec.image_width, 3),
            dtype=torch.uint8, device=device)
        for precision in PRECISIONS:
            rate = images_per_s(learner, images, precision, size.train_s, recipe)
            yield {'stage': f'training {preset}, {recipe.batch} queries of {group} images',
                   'variant': precision, 'value': f'{rate:.1f} img/s'}


def images_per_s(
    learner: Learner, images: torch.Tensor, precision: str, seconds: float, recipe: Recipe
) -> float:
    """Take steps for some seconds after one to warm up; return how many images a second."""
    optimizer = make_optimizer(learner, recipe)
    batch, group = images.shape[:2]
    ignored = torch.zeros(batch, batch, group - 1, dtype=torch.bool, device=images.device)
    no_pose = torch.full((batch, 3, 3), torch.nan, device=images.device)
    steps, started = -1, 0.0
    while steps < 1 or time.perf_counter() - started < seconds:
        with torch.autocast(images.device.type, torch.bfloat16, precision == 'bfloat16'):
            loss = learner(images, ignored, no_pose)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for the device
        steps += 1
        started = started or time.perf_counter()
    return steps * batch * group / (time.perf_counter() - started)


PARTS: dict[str, Callable[[str, Size], Iterator[Row]]] = {
    'parity': parity, 'stages': query_stages, 'search': search, 'live': live,
    'training': training,
}


def run_parts(names: list[str], device: str, size: Size) -> dict[str, Any]:
    """Run parts, print their rows, and return them with what failed and how long each took."""
    result: dict[str, Any] = {'rows': [], 'failed': {}, 'seconds': {}}
    print(line(dict(zip(COLUMNS, COLUMNS, strict=True))))
    for name in names:
        started = time.perf_counter()
        try:
            for row in PARTS[name](device, size):
                result['rows'].append({'part': name, **row})
                print(line(result['rows'][-1]), flush=True)
        except Exception as error:  # the other parts still run, whatever this one met
            result['failed'][name] = f'{type(error).__name__}: {error}'
            print(f'{name}: failed: {result["failed"][name]}', flush=True)
        result['seconds'][name] = time.perf_counter() - started
    return result


def line(row: Row) -> str:
    """Return a row of the table."""
    cells = [row.get(column, '') for column in COLUMNS]
    part, stage, variant, *figures = (
        f'{cell:.3g}' if isinstance(cell, float) else str(cell) for cell in cells)
    return f'{part:9s}{stage:44s}{variant:28s}' + ''.join(f'{cell:>14s}' for cell in figures)


def main() -> int:
    """Run the parts and write the result; 1 if a part failed."""
    parser = argparse.ArgumentParser(description='Measure what only a GPU can show.')
    parser.add_argument('parts', nargs='*', metavar='PART', help=f'of {", ".join(PARTS)}')
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--quick', action='store_true', help='a rehearsal: small, means nothing')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all figures here')
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f'{", ".join(sorted(unknown))}: no such part')
    if arguments.device != 'cpu' and not torch.cuda.is_available():
        parser.error(f'--device {arguments.device}: no GPU works here')
    said = machine(arguments.device)
    print(', '.join(f'{name} {value}' for name, value in said.items()))
    size = QUICK if arguments.quick else Size()
    result = run_parts(arguments.parts or list(PARTS), arguments.device, size)
    if arguments.json:
        arguments.json.write_text(json.dumps({'machine': said, **result}, indent=1))
    return 1 if result['failed'] else 0


if __name__ == '__main__':
    sys.exit(main())
