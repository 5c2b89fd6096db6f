# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former train``: retrieval, reranker, or both together, as published or on own images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DatasetError
from .common import add_common, config_from, progress_bar, say_what_runs

if TYPE_CHECKING:
    from ..model import ModelSpec
    from ..training.engine import Report, Trainer
    from ..training.recipe import Recipe
    from ..training.sources import Source

EPILOG = """
--dataset takes a ground_truth.json, the folder of a VG / datasets_vg set (UTM in file names), or
the folder of MSLS. --images takes folders of pictures without labels: two views of each are drawn.
bootstrap makes a tiny model from --images (JPEG) alone. Kill it at any time; the same command
resumes from --out.
"""


def add_parser(commands: Any) -> None:
    """Register the subcommand."""
    parser = commands.add_parser('train', help='train or fine-tune a model', epilog=EPILOG)
    parser.add_argument('stage', choices=('bootstrap', 'retrieval', 'rerank', 'joint'))
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument('--dataset', metavar='PATH', help='labelled places')
    images.add_argument('--images', metavar='DIR', nargs='+', help='images without labels')
    parser.add_argument('--validation', metavar='PATH',
                        help='labelled places; the weights of best recall@1 there are kept')
    parser.add_argument('--recipe', metavar='NAME|FILE',
                        help='retrieval, rerank, joint, end_to_end or a YAML file; '
                             'default: as the stage')
    parser.add_argument('--recipe-set', metavar='NAME=VALUE', action='append', default=[],
                        dest='changes', help='change one setting of the recipe')
    parser.add_argument('--out', metavar='DIR', required=True)
    parser.add_argument('--processes', metavar='N', type=int, default=1,
                        help='GPUs, or CPU processes')
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Train to the end of the recipe."""
    import torch

    from ..recognizer import load_configured

    config = config_from(arguments)
    try:
        from ..training.engine import FINAL, Trainer
    except ImportError as error:
        raise ConfigError(f'train needs lightning-fabric, see requirements/train.txt '
                          f'({error})') from error
    if arguments.stage == 'bootstrap':
        _bootstrap(arguments)
        return
    recipe = _recipe(arguments)
    model = load_configured(config)
    say_what_runs(model)
    recall = None
    if arguments.validation:
        from ..datasets import read_places
        from ..training.validation import recall_on
        recall = recall_on(read_places(arguments.validation, 'val'))
    torch.manual_seed(recipe.seed)
    trainer = Trainer(
        model, _source(arguments, model.spec), recipe, Path(arguments.out), recall=recall,
        devices=arguments.processes, accelerator='cpu' if model.device.type == 'cpu' else 'cuda',
    )
    best = _run_with_bar(trainer, Path(arguments.out))
    measured = f', best recall@1 {best:.3f}' if best >= 0 else ''
    print(f'{trainer.progress.step} steps{measured}: {Path(arguments.out) / FINAL}')


def _bootstrap(arguments: argparse.Namespace) -> None:
    from ..training.bootstrap import WEIGHTS, BootstrapConfig, bootstrap

    if not arguments.images:
        raise DatasetError('bootstrap: give --images')
    config, out = BootstrapConfig(), Path(arguments.out)
    with progress_bar('reranker', config.pairs.steps) as bar:
        def report(step: int, loss: float) -> None:
            bar.n = step
            bar.set_postfix(loss=f'{loss:.3f}')

        bootstrap([Path(folder) for folder in arguments.images], out, config, report)
    print(f'{config.pairs.steps} steps: {out / WEIGHTS}')


def _recipe(arguments: argparse.Namespace) -> Recipe:
    from ..training.recipe import load_recipe
    from .common import parse_setting

    changes = dict(parse_setting(text) for text in arguments.changes)
    changes.setdefault('stage', arguments.stage)
    return load_recipe(arguments.recipe or arguments.stage, **changes)


def _source(arguments: argparse.Namespace, spec: ModelSpec) -> Source:
    from ..datasets import pictures_in, read_places
    from ..training.sources import LabelledSource, ViewSource

    if arguments.images:
        paths = [path for folder in arguments.images for path in pictures_in(Path(folder))]
        return ViewSource(paths, (spec.image_height, spec.image_width))
    source = LabelledSource(read_places(arguments.dataset))
    if not source.places.queries:
        raise DatasetError(f'{arguments.dataset}: no query has a positive')
    return source


def _run_with_bar(trainer: Trainer, out: Path) -> float:
    """Train under a progress bar, with loss and rate as TensorBoard scalars where installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        scalars = None
    else:
        scalars = SummaryWriter(str(out))  # type: ignore[no-untyped-call]
    with progress_bar(trainer.recipe.stage, trainer.steps) as bar:
        return trainer.run(_reporter(bar, scalars))


def _reporter(bar: Any, scalars: Any) -> Report:
    def report(step: int, loss: float, rate: float) -> None:
        bar.n = step
        bar.set_postfix(loss=f'{loss:.3f}')
        if scalars:
            scalars.add_scalar('loss', loss, step)
            scalars.add_scalar('learning_rate', rate, step)

    return report
