# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ROS parameters made from the configuration's dataclasses, under the same dotted names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from ..config import Config, Option, options, with_values
from ..errors import ConfigError

TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
}
OF_RCLPY = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')
LARGEST_INTEGER = 2**31 - 1


def declare_parameters(node: Node, section: str = '') -> None:
    """
    Declare every setting with its description and range.

    A wrong value is kept, so that ``read_config`` can refuse it and say why.

    :param node: made with ``automatically_declare_parameters_from_overrides``.
    :param section: prefix of the node's settings; those of other nodes, which the same file may
        hold, are undeclared.
    """
    for setting in options():
        value, descriptor = setting.default, _descriptor(setting)
        if node.has_parameter(setting.name):  # came from a file or the command line, untyped
            value = node.get_parameter(setting.name).value
            node.undeclare_parameter(setting.name)
        if not setting.name.startswith(section):
            continue
        try:
            value = setting.checked(value)
        except ConfigError:
            descriptor = ParameterDescriptor(name=setting.name, dynamic_typing=True)
        node.declare_parameter(setting.name, value, descriptor, ignore_override=True)


def read_config(node: Node, section: str = '') -> Config:
    """
    Collect the node's parameters; settings of other sections keep their defaults.

    :raises ConfigError: for an unknown parameter, or a value of the wrong type or range.
    """
    given = node.get_parameters_by_prefix('')
    known = {setting.name for setting in options() if setting.name.startswith(section)}
    unknown = [name for name in given if name not in known and not name.startswith(OF_RCLPY)]
    if unknown:
        raise ConfigError(f'unknown parameters: {", ".join(sorted(unknown))}')
    return with_values(Config(), {name: given[name].value for name in known})


def refuse_changes(parameters: Iterable[Parameter], fixed: str) -> SetParametersResult:
    """
    Check a change of parameters.

    :param fixed: why settings that are not for run time cannot change now; empty if they can.
    """
    settings = {setting.name: setting for setting in options()}
    for parameter in parameters:
        if parameter.name not in settings:
            continue
        if fixed and not settings[parameter.name].runtime:
            reason = f'{parameter.name} {fixed}'
            return SetParametersResult(successful=False, reason=reason)
        try:
            settings[parameter.name].checked(parameter.value)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def _descriptor(setting: Option) -> ParameterDescriptor:
    unit = f' [{setting.unit}]' if setting.unit else ''
    descriptor = ParameterDescriptor(
        name=setting.name, type=TYPES[setting.kind], description=setting.description + unit,
        additional_constraints=' | '.join(setting.choices),
    )
    ranges: Any = None
    if setting.kind is int:
        last = int(min(setting.maximum, LARGEST_INTEGER))
        ranges = IntegerRange(from_value=int(setting.minimum), to_value=last, step=1)
        descriptor.integer_range = [ranges]
    elif setting.kind is float:
        ranges = FloatingPointRange(from_value=setting.minimum, to_value=setting.maximum)
        descriptor.floating_point_range = [ranges]
    return descriptor
