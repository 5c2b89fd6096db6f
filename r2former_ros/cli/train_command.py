# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former train``: retrieval, reranker, or both together, as published or on own images."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..common.left_out import LeftOut
from ..errors import ConfigError, UsageError
from .checks import (
    is_given,
    option_of,
    require_at_most_one,
    require_owner,
    require_range,
    require_there,
)
from .options import (
    add_bag_source,
    add_common,
    config_from,
    make_folder,
    parse_setting,
    progress_bar,
    say_left_out,
    say_what_runs,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config import Config
    from ..training.data.sources import Source
    from ..training.engine import Report
    from ..training.recipe import Recipe

EPILOG = """
--dataset takes a ground_truth.json, the folder of a VG / datasets_vg set (UTM in file names), or
the folder of MSLS. --bag takes bags whose poses are in one frame. --images takes folders of
pictures without labels: two views of each are drawn. bootstrap makes a tiny model from --images
(JPEG) alone. Kill it at any time; repeat the command to resume from --out. See docs/training.md.
"""
EFFECTIVE = 'effective.yaml'
SET_NOT_LEARNED = (
    'warning: this reranker was constructed, not learned, and training has only made it worse so '
    'far; --recipe-set hold_reranker=true keeps it as it is'
)


@dataclass(frozen=True)
class Job:
    """What each process of a run gets."""

    config: Config
    recipe: Recipe
    source: Source
    validation: Source | None
    out: Path


def add_parser(commands: Any) -> None:
    """Register the subcommand."""
    parser = commands.add_parser('train', help='train or fine-tune a model', epilog=EPILOG)
    parser.add_argument('stage', choices=('bootstrap', 'retrieval', 'rerank', 'joint'))
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument('--dataset', metavar='PATH', help='labelled places')
    images.add_argument('--bag', action='append', help='a drive; repeat it for several bags')
    images.add_argument('--images', metavar='DIR', nargs='+', help='images without labels')
    bags = parser.add_argument_group('bags')
    add_bag_source(bags, per_bag=True)
    bags.add_argument('--hold-out', metavar='SHARE', type=float,
                      help='hold out the places of this last share of the first bag for '
                           'validation (default: 0, no validation)')
    parser.add_argument('--validation', metavar='PATH',
                        help='labelled places for validation; keeps the weights with the best '
                             'recall@1')
    parser.add_argument('--recipe', metavar='NAME|FILE',
                        help='a recipe of the package or a YAML file (default: site for '
                             'joint --bag, else named as the stage)')
    parser.add_argument('--recipe-set', metavar='NAME=VALUE', action='append', default=[],
                        dest='changes', help='change one setting of the recipe')
    parser.add_argument('--recipe-help', nargs=0, action=_RecipeHelp,
                        help='print every setting of a recipe and of bootstrap, and exit')
    parser.add_argument('--out', metavar='DIR', required=True)
    parser.add_argument('--devices', metavar='N', type=int, default=1,
                        help='number of GPUs, or of CPU processes (default: 1)')
    parser.add_argument('--cache-mb', metavar='N', type=float, default=8192.0,
                        help='cache decoded images of --dataset or --images in --out up to this '
                             'size in MB (default: 8192)')
    add_common(parser)
    parser.set_defaults(run=run)


class _RecipeHelp(argparse.Action):
    """Print the settings that --recipe-set changes."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print, and exit."""
        from ..config import section_to_yaml
        from ..training.bootstrap import BootstrapConfig
        from ..training.recipe import Recipe

        print(f'## retrieval, rerank, joint\n{section_to_yaml(Recipe())}\n'
              f'## bootstrap\n{section_to_yaml(BootstrapConfig())}', end='')
        parser.exit()


def run(arguments: argparse.Namespace) -> None:
    """Train to the end of the recipe."""
    config = config_from(arguments)
    check(arguments)
    try:
        import lightning_fabric
    except ImportError as error:
        raise UsageError(f'train needs lightning-fabric ({error})',
                         'install requirements/train.txt') from error
    if arguments.stage == 'bootstrap':
        _bootstrap(arguments)
        return
    job, accelerator = _prepare(arguments, config)
    from torch.multiprocessing.spawn import ProcessRaisedException

    from ..training.engine import BEST, FINAL

    fabric = lightning_fabric.Fabric(
        accelerator=accelerator, devices=arguments.devices,
        precision=job.recipe.precision,  # type: ignore[arg-type]
        strategy='ddp_spawn' if arguments.devices > 1 else 'auto',
    )
    try:
        steps, best = fabric.launch(partial(_train, job=job))
    except ProcessRaisedException as error:
        mistake = _of_user(error)
        if mistake is None:
            raise
        raise mistake from error
    print(f'{steps} steps: {job.out / FINAL}')
    if best >= 0:
        print(f'best recall@1 {best:.3f}: {job.out / BEST}')


def check(arguments: argparse.Namespace) -> None:
    """
    Refuse options that do not fit together, and files that are not there.

    :raises UsageError: naming the options.
    :raises R2FormerError: naming the file.
    """
    require_owner(arguments, 'bag', ('image_topic', 'pose_topic', 'trajectory', 'hold_out'))
    require_at_most_one(arguments, 'pose_topic', 'trajectory')
    require_at_most_one(arguments, 'hold_out', 'validation')
    for path in (*(arguments.bag or ()), *(arguments.images or ()), arguments.dataset,
                 *(arguments.trajectory or ()), arguments.validation):
        require_there(path)
    require_range('--devices', arguments.devices, at_least=1)
    if arguments.stage == 'bootstrap':
        if not arguments.images:
            raise UsageError('bootstrap needs --images')
        for name in ('validation', 'recipe'):
            if is_given(arguments, name):
                raise UsageError(f'{option_of(name)} does not go with bootstrap')
        return
    if arguments.bag:
        _check_bags(arguments)


def _check_bags(arguments: argparse.Namespace) -> None:
    if not arguments.pose_topic and not arguments.trajectory:
        raise UsageError('--bag needs --pose-topic or --trajectory: places need poses')
    files = arguments.trajectory
    if files and len(files) != len(arguments.bag):
        raise UsageError(f'--trajectory: {len(files)} files for {len(arguments.bag)} bags',
                         'give one per bag, in the same order')
    if arguments.hold_out is not None:
        require_range('--hold-out', arguments.hold_out, at_least=0, below=1)


def _prepare(arguments: argparse.Namespace, config: Config) -> tuple[Job, str]:
    """Read everything once, so that a mistake shows before processes start."""
    from ..config import to_dict, with_values
    from ..model.loading import load_configured
    from ..training.engine import describe_inputs, read_checkpoint
    from ..training.initial.reranker import is_as_set

    recipe, out = _recipe(arguments), Path(arguments.out)
    if recipe.batch % arguments.devices:
        raise UsageError(f'--devices {arguments.devices}: does not divide the batch of '
                         f'{recipe.batch} queries')
    model = load_configured(config)
    say_what_runs(model)
    if recipe.trains_reranker and is_as_set(model.network.reranker):
        print(SET_NOT_LEARNED, file=sys.stderr)
    if recipe.stage != 'retrieval' and recipe.hold_reranker and not model.origin.reranker_trained:
        raise ConfigError('hold_reranker: the reranker of these weights is untrained, and nothing '
                          'can be learned through it; take --recipe joint')
    make_folder(out)
    source, validation = _sources(arguments, config, recipe, model.spec)
    inputs = describe_inputs(model.network, source, recipe)
    print(f'learn from {inputs["places"].rpartition(",")[0]}', file=sys.stderr)
    read_checkpoint(out, inputs)
    effective = {**inputs, 'config': to_dict(config)}
    (out / EFFECTIVE).write_text(yaml.safe_dump(effective, sort_keys=False))
    accelerator = 'cpu' if model.device.type == 'cpu' else 'cuda'
    return Job(with_values(config, {'model.device': 'cpu'}), recipe, source, validation,
               out), accelerator


def _train(fabric: Any, job: Job) -> tuple[int, float]:
    """Train in one of the processes; return the steps taken and the best recall."""
    import torch

    from ..model.loading import configured_network
    from ..training.engine import Trainer
    from ..training.validation import recall_on

    torch.manual_seed(job.recipe.seed)
    recall = None
    if job.validation:
        reranked = 0 if job.recipe.stage == 'retrieval' else job.recipe.validated_candidates
        recall = recall_on(job.validation, reranked)
    network = configured_network(job.config.model)
    trainer = Trainer(fabric, network, job.source, job.recipe, job.out, recall=recall)
    if not fabric.is_global_zero:
        return 0, trainer.run()
    with progress_bar(job.recipe.stage, trainer.steps) as bar:
        bar.unit = ' steps'
        scalars = _scalars(job.out)
        best = trainer.run(_reporter(bar, scalars))
        if scalars:
            scalars.close()
    return trainer.progress.step, best


def _bootstrap(arguments: argparse.Namespace) -> None:
    from ..config import checked_values
    from ..demo.town_shots import shots_of_town
    from ..model import PRESETS
    from ..training.bootstrap import WEIGHTS, BootstrapConfig, bootstrap

    changes = _changes(arguments)
    config = BootstrapConfig(**checked_values(BootstrapConfig, changes))
    out, spec = make_folder(arguments.out), PRESETS['tiny']
    towns = (shots_of_town(seed, (spec.image_height, spec.image_width))
             for seed in range(config.towns))
    with progress_bar('bootstrap') as bar:
        def report(part: str, done: int, total: int) -> None:
            bar.set_description(part)
            bar.total, bar.n = total, done
            bar.update(0)

        bootstrap([Path(folder) for folder in arguments.images], out, config, report, towns)
    print(f'{out / WEIGHTS}')


def _changes(arguments: argparse.Namespace) -> dict[str, Any]:
    return dict(parse_setting(text, '--recipe-set') for text in arguments.changes)


def _recipe(arguments: argparse.Namespace) -> Recipe:
    from ..training.recipe import load_recipe

    changes = _changes(arguments)
    changes.setdefault('stage', arguments.stage)
    if arguments.images:
        changes.setdefault('augment', 'strong')
    usual = 'site' if arguments.bag and arguments.stage == 'joint' else arguments.stage
    return load_recipe(arguments.recipe or usual, **changes)


def _sources(
    arguments: argparse.Namespace, config: Config, recipe: Recipe, spec: Any
) -> tuple[Source, Source | None]:
    """Return what to learn from and, where asked for, what to validate on."""
    from ..sources.datasets import pictures_in, read_places
    from ..training.data.sources import labelled_source, unlabelled_source

    out, size = Path(arguments.out), (spec.image_height, spec.image_width)
    validation = None
    if arguments.bag:
        source, validation = _drive_sources(arguments, config, recipe, size)
    elif arguments.images:
        paths = [path for folder in arguments.images for path in pictures_in(Path(folder))]
        source = unlabelled_source(paths, out, size, augment=recipe.augment,
                                   query_augment=recipe.query_augment,
                                   antialias=recipe.antialias, limit_mb=arguments.cache_mb)
    else:
        source = labelled_source(read_places(arguments.dataset), out, size, augment=recipe.augment,
                                 antialias=recipe.antialias, limit_mb=arguments.cache_mb)
    if arguments.validation:
        # As at run time: neither changed nor smoothed.
        validation = labelled_source(read_places(arguments.validation, 'val'), out, size,
                                     antialias=False, limit_mb=arguments.cache_mb)
    return source, validation


def _drive_sources(
    arguments: argparse.Namespace, config: Config, recipe: Recipe, size: tuple[int, int]
) -> tuple[Source, Source | None]:
    from ..training.data.drives import Drive, drive_sources, read_drives

    files = arguments.trajectory or [None] * len(arguments.bag)
    drives = [Drive(bag, arguments.image_topic, arguments.pose_topic, file)
              for bag, file in zip(arguments.bag, files, strict=True)]
    left_out = LeftOut()
    frames = read_drives(drives, Path(arguments.out), size, config, antialias=recipe.antialias,
                         left_out=left_out)
    say_left_out(left_out)
    return drive_sources(frames, size, recipe, hold_out=arguments.hold_out or 0.0)


def _of_user(error: Exception) -> ConfigError | None:
    """Find the user's mistake in what a process ended with: it is the last line."""
    line = str(error).strip().splitlines()[-1]
    kind, _, text = line.partition(': ')
    return ConfigError(text) if kind.startswith('r2former_ros.errors.') else None


def _scalars(out: Path) -> Any:
    """Open the TensorBoard file of a run; None where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out))  # type: ignore[no-untyped-call]


def _reporter(bar: Any, scalars: Any) -> Report:
    """Show the loss beside the bar, and write all figures as scalars where they are wanted."""
    shown: dict[str, str] = {}

    def report(step: int, figures: Mapping[str, float]) -> None:
        shown.update({name: f'{figures[name]:.3f}' for name in figures
                      if name == 'loss' or name.startswith('recall')})
        bar.n = step
        bar.set_postfix(shown)
        for name, value in figures.items():
            if scalars:
                scalars.add_scalar(name, value, step)

    return report
