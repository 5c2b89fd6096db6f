# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a setting is: its default, text, unit and range, declared on a dataclass field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, get_type_hints

from ..errors import ConfigError

Scalar = bool | int | float | str


def option(
    default: Scalar,
    description: str,
    *,
    unit: str = '',
    minimum: float = -math.inf,
    maximum: float = math.inf,
    choices: tuple[str, ...] = (),
    runtime: bool = False,
) -> Any:
    """
    Declare a setting: its default, one line of text, unit and range (ends included).

    :param runtime: a configured node takes another value from the next image on.
    """
    metadata = {
        'description': description,
        'unit': unit,
        'minimum': minimum,
        'maximum': maximum,
        'choices': choices,
        'runtime': runtime,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Option:
    """One setting as the parameter table shows it."""

    name: str
    kind: type
    default: Scalar
    description: str
    unit: str
    minimum: float
    maximum: float
    choices: tuple[str, ...]
    runtime: bool

    def checked(self, value: object) -> Scalar:
        """
        Return the value in the setting's type.

        :raises ConfigError: naming the key, the value and what is allowed.
        """
        scalar = self._typed(value)
        if self.choices and scalar not in self.choices:
            raise ConfigError(f'{self.name}: {value!r} is not one of {", ".join(self.choices)}')
        if isinstance(scalar, (int, float)) and not self.minimum <= scalar <= self.maximum:
            raise ConfigError(f'{self.name}: {value!r} is outside {self.range_text()}')
        return scalar

    def range_text(self) -> str:
        """Write the allowed values for a person."""
        if self.choices:
            return ' | '.join(self.choices)
        if self.minimum == -math.inf and self.maximum == math.inf:
            return ''
        return f'[{self.minimum:g}, {self.maximum:g}]'

    def comment(self) -> str:
        """Write description, unit and range in one line."""
        facts = ' '.join(filter(None, [self.unit, self.range_text()]))
        return f'{self.description} ({facts})' if facts else self.description

    def _typed(self, value: object) -> Scalar:
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, self.kind) and not (self.kind is int and isinstance(value, bool)):
            if isinstance(value, float) and math.isnan(value):
                raise ConfigError(f'{self.name}: nan is not a number')
            return value  # type: ignore[return-value]
        wanted = self.kind.__name__
        raise ConfigError(f'{self.name}: {value!r} is a {type(value).__name__}, not a {wanted}')


def options_of(section: Any, prefix: str = '') -> Iterator[Option]:
    """Walk over every setting of a dataclass, in order; nested dataclasses are sections."""
    hints = get_type_hints(section)
    for item in fields(section):
        kind: Any = hints[item.name]
        if is_dataclass(kind):
            yield from options_of(kind, f'{prefix}{item.name}.')
        else:
            default: Any = item.default
            yield Option(prefix + item.name, kind, default, **item.metadata)


def checked_values(section: Any, values: Mapping[str, object]) -> dict[str, Any]:
    """
    Check values for a dataclass of settings.

    :raises ConfigError: for an unknown name, or a value of the wrong type or range.
    """
    known = {item.name: item for item in options_of(section)}
    for name in values:
        if name not in known:
            raise ConfigError(f'{name}: no such setting; known are {", ".join(known)}')
    return {name: known[name].checked(value) for name, value in values.items()}


def flatten(tree: Mapping[str, Any], prefix: str = '') -> dict[str, object]:
    """Turn nested mappings into dotted names: ``{'a': {'b': 1}}`` gives ``{'a.b': 1}``."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f'{prefix}{key}.'))
        else:
            flat[f'{prefix}{key}'] = value
    return flat
