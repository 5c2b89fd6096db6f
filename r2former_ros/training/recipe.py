# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a run learns: the settings of one stage, from a named YAML file of this package or any."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError

FOLDER = Path(__file__).parent / 'recipes'
STAGES = ('retrieval', 'rerank', 'joint')
CHOICES = {
    'stage': STAGES,
    'mining': ('partial', 'global'),
    'optimizer': ('adam', 'adamw'),
    'schedule': ('constant', 'cosine'),
    'precision': ('32-true', 'bf16-mixed', '16-mixed'),
}


@dataclass(frozen=True)
class Recipe:
    """
    One stage of training.

    An epoch learns ``queries_per_epoch`` queries; after every ``queries_per_mining`` all images
    that may be drawn are encoded anew and pairs are mined. ``sample`` is the part of the database
    that partial mining looks at, ``hardest`` how many global mining draws from.
    """

    stage: str = 'retrieval'
    mining: str = 'partial'
    epochs: int = 50
    batch: int = 16
    negatives: int = 2
    queries_per_epoch: int = 50_000
    queries_per_mining: int = 10_000
    sample: int = 1000
    hardest: int = 100
    margin: float = 0.1
    optimizer: str = 'adamw'
    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    schedule: str = 'constant'
    warmup_epochs: float = 0.0
    precision: str = '32-true'
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f'{name}: {getattr(self, name)!r} is not one of '
                                  f'{", ".join(choices)}')
        for name in ('epochs', 'batch', 'negatives', 'queries_per_epoch', 'queries_per_mining',
                     'sample', 'hardest'):
            if getattr(self, name) < 1:
                raise ConfigError(f'{name}: {getattr(self, name)!r} is not at least 1')

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return asdict(self)


def load_recipe(name: str | Path, **changes: Any) -> Recipe:
    """
    Read a recipe by the name of a file in this package, or by path.

    :param changes: settings that take precedence over the file.
    :raises ConfigError: for a missing or malformed file, an unknown setting, or a bad value.
    """
    path = FOLDER / f'{name}.yaml'
    path = path if path.exists() else Path(name)
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8')) or {}
    except OSError as error:
        names = ', '.join(sorted(file.stem for file in FOLDER.glob('*.yaml')))
        raise ConfigError(f'{name}: no such recipe; there are {names}, or give a file') from error
    except yaml.YAMLError as error:
        raise ConfigError(f'{path}: is not YAML ({" ".join(str(error).split())})') from error
    return recipe_from({**values, **changes})


def recipe_from(values: dict[str, Any]) -> Recipe:
    """
    Make a recipe of plain values; whole numbers will do for fractions.

    :raises ConfigError: for an unknown setting, or a value of another type.
    """
    kinds = {item.name: type(item.default) for item in fields(Recipe)}
    for name, value in values.items():
        if name not in kinds:
            raise ConfigError(f'{name}: no such setting of a recipe; known are {", ".join(kinds)}')
        accepted = (int, float) if kinds[name] is float else kinds[name]
        if isinstance(value, bool) or not isinstance(value, accepted):
            raise ConfigError(f'{name}: {value!r} is no {kinds[name].__name__}')
    return Recipe(**values)
