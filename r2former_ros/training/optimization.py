# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Optimizer, moving average and blending of weights, and attention for a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..model import R2Former
from .recipe import Recipe


def make_optimizer(learner: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make the recipe's optimizer; ``share`` scales the learning rate of a group."""
    trained = {name: one for name, one in learner.named_parameters() if one.requires_grad}
    stem = [one for name, one in trained.items() if '.patch_embed.' in name]
    rest = [one for name, one in trained.items() if '.patch_embed.' not in name]
    groups = [{'params': part, 'share': share}
              for part, share in ((rest, 1.0), (stem, recipe.stem_rate)) if part]
    kind = torch.optim.Adam if recipe.optimizer == 'adam' else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def moving_average(model: R2Former, recipe: Recipe) -> AveragedModel | None:
    """Return an exponential moving average of a model, where the recipe wants one."""
    if not recipe.average:
        return None
    decay = get_ema_multi_avg_fn(recipe.average)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=decay)


def blended(start: Mapping[str, torch.Tensor], model: R2Former, share: float) -> R2Former:
    """
    Return a model between two, ``share`` of the way from the start to what was learned.

    This keeps more of the generality of the initial weights (WiSE-FT, arXiv 2109.01903).
    """
    mixed = deepcopy(model)
    mixed.load_state_dict({
        name: torch.lerp(start[name].to(value), value, share) if value.is_floating_point()
        else value for name, value in model.state_dict().items()
    })
    return mixed


def attend_plainly(model: nn.Module) -> None:
    """Turn fused attention off, whose backward pass is slow on a CPU."""
    for module in model.modules():
        if hasattr(module, 'fused_attn'):
            setattr(module, 'fused_attn', False)  # noqa: B010
