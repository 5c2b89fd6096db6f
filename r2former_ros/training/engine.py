# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The training loop over Lightning Fabric: one process or many, resumable after any step.

What is drawn depends only on the seed and the step, and a checkpoint holds the mined pairs, so a
run that was killed and resumed equals one that was not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from ..errors import WeightsError
from ..images import preprocess
from ..model import R2Former, save_weights
from ..model.r2former import Origin
from .learner import Learner
from .mining import hardest_negatives, nearest_positive, partial_negatives
from .recipe import Recipe
from .sources import Source, load_batch

CHECKPOINT = 'last.ckpt'
BEST = 'best.safetensors'
FINAL = 'final.safetensors'
CHECKPOINT_EVERY_STEPS = 50
ENCODE_BATCH = 16

Recall = Callable[[R2Former], float]
Report = Callable[[int, float, float], None]


@dataclass
class Progress:
    """Where a run is; all of it goes into the checkpoint."""

    step: int = 0
    best_recall: float = -1.0
    mined_at: int = -1
    queries: list[int] = field(default_factory=list)
    database: list[list[int]] = field(default_factory=list)


class Trainer:
    """Train a model by a recipe on a source; everything is kept in one folder."""

    def __init__(
        self, model: R2Former, source: Source, recipe: Recipe, out: Path, *,
        recall: Recall | None = None, devices: int = 1, accelerator: str = 'auto',
    ) -> None:
        self.recipe, self.source, self.out, self.recall = recipe, source, out, recall
        out.mkdir(parents=True, exist_ok=True)
        self.fabric = Fabric(
            accelerator=accelerator, devices=devices,
            precision=recipe.precision,  # type: ignore[arg-type]
            strategy='ddp' if devices > 1 else 'auto',
        )
        self.model = model
        learner = Learner(model, recipe)
        self.learner, self.optimizer = self.fabric.setup(learner, _optimizer(learner, recipe))
        self.progress = Progress()
        self._before = model.origin

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps for the queries of an epoch."""
        queries = min(self.recipe.queries_per_epoch, len(self.source.places.queries))
        return max(1, queries // self.recipe.batch)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.recipe.epochs * self.steps_per_epoch

    def run(self, report: Report | None = None, stop_after: int | None = None) -> float:
        """
        Train to the end, from the checkpoint in the folder where there is one.

        :param report: called with step, loss and learning rate after each step.
        :param stop_after: end early at this step, as a kill would; for tests.
        :returns: the best recall, or -1 without a way to measure it.
        """
        self._resume()
        while self.progress.step < min(self.steps, stop_after or self.steps):
            loss, rate = self._step()
            if report and self.fabric.is_global_zero:
                report(self.progress.step, loss, rate)
            self._keep()
        if self.fabric.is_global_zero:
            self._save_weights(self.out / FINAL)
        return self.progress.best_recall

    def learning_rate(self, step: int) -> float:
        """Return the rate: a linear warm-up, then constant or half a cosine down to zero."""
        warmup = self.recipe.warmup_epochs * self.steps_per_epoch
        if step < warmup:
            return self.recipe.learning_rate * (step + 1) / warmup
        if self.recipe.schedule == 'constant':
            return self.recipe.learning_rate
        share = (step - warmup) / max(1.0, self.steps - warmup)
        return self.recipe.learning_rate * (1 + math.cos(math.pi * share)) / 2

    def _step(self) -> tuple[float, float]:
        """Take one optimiser step; each process has its share of the batch."""
        step, recipe = self.progress.step, self.recipe
        mining_steps = max(1, min(recipe.queries_per_mining // recipe.batch, self.steps_per_epoch))
        if self.progress.mined_at < 0 or step - self.progress.mined_at >= mining_steps:
            self._mine()
        first = (step - self.progress.mined_at) * recipe.batch
        rows = range(first + self.fabric.global_rank, first + recipe.batch, self.fabric.world_size)
        images = load_batch(
            self.source, self.model.spec.input,
            [self.progress.queries[row] for row in rows],
            [self.progress.database[row] for row in rows], [recipe.seed, step],
        )
        rate = self.learning_rate(step)
        for group in self.optimizer.param_groups:
            group['lr'] = rate
        self.learner.train()
        loss = self.learner(self.fabric.to_device(images))
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        self.progress.step += 1
        mean = self.fabric.all_reduce(loss.detach(), reduce_op='mean')
        return float(mean), rate  # type: ignore[arg-type]

    def _mine(self) -> None:
        """Draw queries for the next steps, and find a positive and hard negatives of each."""
        recipe, places, step = self.recipe, self.source.places, self.progress.step
        rng = np.random.default_rng([recipe.seed, step])
        wanted = min(recipe.queries_per_mining, self.steps_per_epoch * recipe.batch)
        drawn = np.resize(rng.permutation(len(places.queries)), max(wanted, recipe.batch))
        database = self._encode(len(places.database), self.source.database, step)
        queries = self._encode(len(places.queries), self.source.query, step)
        queries = queries[torch.from_numpy(drawn)]
        same = [places.same_place[row] for row in drawn]
        if recipe.mining == 'global':
            hardest = min(recipe.hardest, len(database) - max(map(len, same)))
            pool = hardest_negatives(queries, database, same, hardest)
            picked = rng.permuted(np.tile(np.arange(hardest), (len(drawn), 1)), axis=1)
            negatives = pool.gather(1, torch.from_numpy(picked[:, : recipe.negatives]))
        else:
            negatives = partial_negatives(
                queries, database, same, recipe.negatives, sample=recipe.sample, rng=rng
            )
        self.progress.mined_at = step
        self.progress.queries = drawn.tolist()
        self.progress.database = [
            [nearest_positive(query, database, places.positives[row]), *far.tolist()]
            for row, query, far in zip(drawn, queries, negatives, strict=True)
        ]

    @torch.inference_mode()
    def _encode(self, count: int, read: Callable[..., Any], step: int) -> torch.Tensor:
        """Return the descriptors (count, D) of all images that may be drawn."""
        self.model.eval()
        spec, device = self.model.spec.input, self.fabric.device
        chunks = []
        for start in range(0, count, ENCODE_BATCH):
            rows = range(start, min(start + ENCODE_BATCH, count))
            images = torch.cat([preprocess(read(row, [self.recipe.seed, step]), spec)
                                for row in rows])
            with self.fabric.autocast():
                chunks.append(self.model.encoder(images.to(device)).descriptor.float().cpu())
        return torch.cat(chunks)

    def _keep(self) -> None:
        """Write checkpoints now and then, and the best weights after each epoch."""
        step = self.progress.step
        if step % self.steps_per_epoch == 0 and self.recall and self.fabric.is_global_zero:
            recall = self.recall(self.model)
            if recall > self.progress.best_recall:
                self.progress.best_recall = recall
                self._save_weights(self.out / BEST)
        if step % CHECKPOINT_EVERY_STEPS == 0 or step % self.steps_per_epoch == 0:
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Write the checkpoint beside the old one, then put it in its place."""
        if not self.fabric.is_global_zero:
            return
        content = {
            'model': self.model.state_dict(), 'optimizer': self.optimizer.state_dict(),
            'progress': self.progress.__dict__, 'recipe': self.recipe.to_dict(),
        }
        unfinished = self.out / f'{CHECKPOINT}.unfinished'
        torch.save(content, unfinished)
        os.replace(unfinished, self.out / CHECKPOINT)

    def _resume(self) -> None:
        """
        Take up the checkpoint in the folder.

        :raises WeightsError: if it belongs to another recipe.
        """
        path = self.out / CHECKPOINT
        if not path.exists():
            return
        content = torch.load(path, map_location=self.fabric.device, weights_only=True)
        if content['recipe'] != self.recipe.to_dict():
            raise WeightsError(f'{path}: was written with another recipe; take another --out')
        self.model.load_state_dict(content['model'])
        self.optimizer.load_state_dict(content['optimizer'])
        self.progress = Progress(**content['progress'])

    def _save_weights(self, path: Path) -> None:
        stage = self.recipe.stage
        self.model.origin = Origin(
            f'r2former train {stage}, step {self.progress.step}; before: {self._before.text}',
            trained=True,
            reranker_trained=self._before.reranker_trained or stage != 'retrieval',
        )
        unfinished = path.with_suffix('.unfinished')
        save_weights(self.model, unfinished, config=self.recipe.to_dict(), half=True)
        os.replace(unfinished, path)


def _optimizer(learner: Learner, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [one for one in learner.parameters() if one.requires_grad]
    kind = torch.optim.Adam if recipe.optimizer == 'adam' else torch.optim.AdamW
    return kind(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
