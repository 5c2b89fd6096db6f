# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The training loop on Lightning Fabric: one process or many, resumable after any step.

Random draws depend only on the seed and the step, and a checkpoint holds the mined pairs, so a run
that was killed and resumed equals one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any, cast

import torch
from lightning_fabric import Fabric

from ..common.files import digest_of, replacing
from ..errors import ConfigError, WeightsError
from ..model import R2Former, save_weights
from ..model.network import Origin, fingerprint_of
from .data.sources import Batch, Source
from .learner import Learner
from .mining import Miner
from .optimization import attend_plainly, blended, make_optimizer, moving_average
from .recipe import Recipe
from .validation import RERANK, RETRIEVAL, Recall

CHECKPOINT = 'last.ckpt'
BEST = 'best.safetensors'
FINAL = 'final.safetensors'
CHECKPOINT_EVERY_STEPS = 50

Report = Callable[[int, Mapping[str, float]], None]
"""Takes the step and its measurements, by the name of a TensorBoard scalar."""


@dataclass
class Progress:
    """The state of a run, all of which goes into the checkpoint."""

    step: int = 0
    best_recall: float = -1.0
    epochs_without_better: int = 0
    mined_at: int = -1
    queries: list[int] = field(default_factory=list)
    database: list[list[int]] = field(default_factory=list)


class Trainer:
    """Train a model on a source as a recipe says; all files go into one folder."""

    def __init__(
        self, fabric: Fabric, model: R2Former, source: Source, recipe: Recipe, out: Path, *,
        recall: Recall | None = None,
    ) -> None:
        """
        Prepare, in each process of a launched fabric.

        :raises ConfigError: if the batch cannot be shared evenly.
        """
        if recipe.batch % fabric.world_size:
            raise ConfigError(f'batch: {recipe.batch} cannot be shared by {fabric.world_size} '
                              'processes')
        self.fabric, self.recipe, self.source, self.out = fabric, recipe, source, out
        self.recall = recall
        out.mkdir(parents=True, exist_ok=True)
        self.model, self._before = model, model.origin
        self.inputs = describe_inputs(model, source, recipe)
        if fabric.device.type == 'cpu':
            attend_plainly(model)
        learner = Learner(model, recipe)
        self.learner, self.optimizer = fabric.setup(learner, make_optimizer(learner, recipe))
        self.average = moving_average(model, recipe)
        self._start = {name: value.clone() for name, value in model.state_dict().items()}
        self.miner = Miner(fabric, model, source, recipe)
        self.progress = Progress()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix='batches')
        self._ahead: dict[int, Future[Batch]] = {}
        self._report: Report | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch."""
        return steps_per_epoch(self.recipe, self.source)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run, unless it ends early."""
        return self.recipe.epochs * self.steps_per_epoch

    def run(self, report: Report | None = None, stop_after: int | None = None) -> float:
        """
        Train to the end, resuming from the checkpoint in the folder if there is one.

        :param report: called in the first process.
        :param stop_after: end early at this step, as a kill would; for tests.
        :returns: the best recall, or -1 if none is measured.
        """
        self._report = report if self.fabric.is_global_zero else None
        if not self._resume():
            self._validate()  # the initial weights are the first to beat
        while not self._ended(stop_after):
            self._tell(self._step())
            if self.progress.step % self.steps_per_epoch == 0:
                self._validate()
                self._checkpoint()
            elif self.progress.step % CHECKPOINT_EVERY_STEPS == 0:
                self._checkpoint()
        if self.fabric.is_global_zero:
            self._save_weights(self.out / FINAL)
        self.fabric.barrier()
        return self.progress.best_recall

    @property
    def kept_model(self) -> R2Former:
        """The model to measure and save: averaged and blended as the recipe says."""
        model = cast('R2Former', self.average.module) if self.average else self.model
        if self.recipe.blend == 1:
            return model
        return blended(self._start, model, self.recipe.blend)

    def learning_rate(self, step: int) -> float:
        """
        Return the learning rate, which changes per epoch as in the released code.

        It warms up linearly from a tenth, then stays constant or follows a half cosine that
        starts at epoch 0.
        """
        recipe, epoch = self.recipe, step // self.steps_per_epoch
        if epoch < recipe.warmup_epochs:
            return recipe.learning_rate * (0.1 + 0.9 * epoch / recipe.warmup_epochs)
        if recipe.schedule == 'constant':
            return recipe.learning_rate
        return recipe.learning_rate * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2

    def _ended(self, stop_after: int | None) -> bool:
        progress, patience = self.progress, self.recipe.patience
        if patience and self.recall and progress.epochs_without_better >= patience:
            return True
        return progress.step >= (self.steps if stop_after is None else stop_after)

    def _step(self) -> dict[str, float]:
        """Take one optimizer step; each process computes its share of the batch."""
        start_s = time.perf_counter()
        step, recipe = self.progress.step, self.recipe
        batch = self._batch()
        rate = self.learning_rate(step)
        for group in self.optimizer.param_groups:
            group['lr'] = rate * group['share']
        self.learner.train()
        self.optimizer.zero_grad()
        loss = self._backward(batch)
        if recipe.clip_norm:
            self.fabric.clip_gradients(self.learner, self.optimizer, max_norm=recipe.clip_norm)
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.model)
        self.progress.step += 1
        mean: Any = self.fabric.all_reduce(loss, reduce_op='mean')
        images = recipe.batch * batch.images.shape[1]
        return {'loss': float(mean), 'learning_rate': rate,
                'images_per_s': images / (time.perf_counter() - start_s), **self._memory_mb()}

    def _backward(self, batch: Batch) -> torch.Tensor:
        """Accumulate the gradients over the parts of a batch, and return its mean loss."""
        count = len(batch.images)
        size = self.recipe.micro_batch or count
        total = torch.zeros((), device=self.fabric.device)
        for first in range(0, count, size):
            part = batch.part(slice(first, first + size))
            with self.fabric.no_backward_sync(self.learner, enabled=first + size < count):
                tensors = part.images, part.ignored, part.positive_T_query
                loss = self.learner(*self.fabric.to_device(tensors))
                loss = loss * (len(part.images) / count)
                self.fabric.backward(loss)
            total += loss.detach()
        return total

    def _batch(self) -> Batch:
        """Load this process's share of the next queries; mine when no pairs are left."""
        recipe, progress, step = self.recipe, self.progress, self.progress.step
        period = max(1, recipe.queries_per_mining // recipe.batch)
        if progress.mined_at < 0 or step - progress.mined_at >= period:
            self._mine(min(period, self.steps - step) * recipe.batch)
        ready = self._ahead.pop(step, None) or self._load(step)
        if (step + 1 - progress.mined_at) * recipe.batch < len(progress.queries):
            self._ahead[step + 1] = self._load(step + 1)
        return ready.result()

    def _load(self, step: int) -> Future[Batch]:
        """Load the queries of a step while others are trained on."""
        recipe, progress = self.recipe, self.progress
        first = (step - progress.mined_at) * recipe.batch
        rows = range(first + self.fabric.global_rank, first + recipe.batch, self.fabric.world_size)
        return self._loader.submit(
            self.source.batch, [progress.queries[row] for row in rows],
            [progress.database[row] for row in rows], [recipe.seed, step],
        )

    def _mine(self, count: int) -> None:
        step = self.progress.step
        mined = self.fabric.broadcast(self.miner.mine(step, count))
        self.progress.mined_at = step
        self.progress.queries, self.progress.database = mined.queries, mined.database
        self._tell({'mining/queries': len(mined.queries), 'mining/hard_share': mined.hard_share})

    def _validate(self) -> None:
        """Measure recall in the first process, and keep the weights if they are the best."""
        if self.recall is None:
            return
        progress = self.progress
        if self.fabric.is_global_zero:
            figures = self.recall(self.kept_model)
            self._tell(figures)
            recall = figures[RETRIEVAL if self.recipe.stage == 'retrieval' else RERANK]
            progress.epochs_without_better += 1
            if recall > progress.best_recall:
                progress.best_recall, progress.epochs_without_better = recall, 0
                self._save_weights(self.out / BEST)
        progress.best_recall, progress.epochs_without_better = self.fabric.broadcast(
            (progress.best_recall, progress.epochs_without_better))

    def _tell(self, figures: Mapping[str, float]) -> None:
        if self._report:
            self._report(self.progress.step, figures)

    def _memory_mb(self) -> dict[str, float]:
        """Return the peak memory of this process, and of its GPU if it has one."""
        figures = {'memory_mb/cpu': getrusage(RUSAGE_SELF).ru_maxrss / 1024}
        if self.fabric.device.type == 'cuda':
            figures['memory_mb/gpu'] = torch.cuda.max_memory_allocated() / 2**20
        return figures

    def _checkpoint(self) -> None:
        """Write the checkpoint beside the old one, then put it in its place."""
        if not self.fabric.is_global_zero:
            return
        content = {
            'model': self.model.state_dict(),
            'average': self.average.state_dict() if self.average else None,
            'optimizer': self.optimizer.state_dict(), 'progress': asdict(self.progress),
            'inputs': self.inputs,
        }
        with replacing(self.out / CHECKPOINT) as part:
            torch.save(content, part)

    def _resume(self) -> bool:
        """Resume from the checkpoint in the folder; return whether there is one."""
        content = read_checkpoint(self.out, self.inputs)
        if content is None:
            return False
        self.model.load_state_dict(content['model'])
        self.optimizer.load_state_dict(content['optimizer'])
        if self.average:
            self.average.load_state_dict(content['average'])
        self.progress = Progress(**content['progress'])
        return True

    def _save_weights(self, path: Path) -> None:
        stage, model = self.recipe.stage, self.kept_model
        if self.progress.step:
            model.origin = Origin(
                f'r2former train {stage}, step {self.progress.step}; before: {self._before.text}',
                trained=True,
                reranker_trained=self._before.reranker_trained or self.recipe.trains_reranker,
            )
        with replacing(path) as part:
            save_weights(model, part, config=self.inputs, half=True)


def describe_inputs(model: R2Former, source: Source, recipe: Recipe) -> dict[str, Any]:
    """Describe what a run starts from: recipe, weights, and a digest of the data."""
    places = source.places
    return {
        'recipe': recipe.to_dict(), 'weights': f'{model.spec.preset} {fingerprint_of(model)}',
        'places': f'{len(places.queries)} queries, {len(places.database)} database images, '
                  + digest_of(*places.queries, *places.database,
                              *(rows.tolist() for rows in places.positives)),
    }


def read_checkpoint(out: Path, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """
    Read the checkpoint in a folder; None if there is none.

    :raises WeightsError: if it was written for other inputs, naming which.
    """
    path = out / CHECKPOINT
    if not path.exists():
        return None
    content: dict[str, Any] = torch.load(path, map_location='cpu', weights_only=True)
    saved = content.get('inputs', {})
    other = [name for name in inputs if saved.get(name) != inputs[name]]
    if other:
        raise WeightsError(f'{path}: was written with different {" and ".join(other)}',
                           'choose another output folder')
    return content


def steps_per_epoch(recipe: Recipe, source: Source) -> int:
    """Return the optimizer steps per epoch, at least one."""
    return max(1, min(recipe.queries_per_epoch, len(source.places.queries)) // recipe.batch)
