# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start the localizer and, with autostart, drive it to active."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

PACKAGE = 'r2former_ros'
ELSE = 'where empty, as in params_file'
YES = ('true', '1', 'yes', 'on')
OVERRIDES = {
    # Launch arguments that override the parameter file where they are given.
    'map': 'map.path',
    'weights': 'model.weights',
    'device': 'model.device',
    'image_transport': 'node.image_transport',
}


def generate_launch_description():
    """Describe the arguments; the node follows once their values are known."""
    default_file = str(Path(get_package_share_directory(PACKAGE), 'config', 'localize.yaml'))
    return LaunchDescription([
        DeclareLaunchArgument(
            'map', default_value='',
            description=f'The .r2map file, or its address in PostgreSQL; {ELSE}',
        ),
        DeclareLaunchArgument(
            'image', default_value='/camera/image_raw',
            description='Image topic; with image_transport:=compressed, /compressed is appended',
        ),
        DeclareLaunchArgument(
            'odom', default_value='/odom',
            description='Odometry topic (nav_msgs/Odometry) of the camera; optional, and taken '
                        'where somebody publishes it',
        ),
        DeclareLaunchArgument(
            'image_transport', default_value='', description=f'raw or compressed; {ELSE}'),
        DeclareLaunchArgument(
            'weights', default_value='', description=f'Preset or .safetensors file; {ELSE}'),
        DeclareLaunchArgument(
            'device', default_value='', description=f'auto, cpu, cuda or cuda:N; {ELSE}'),
        DeclareLaunchArgument(
            'params_file', default_value=default_file,
            description='Parameter file; the arguments above override it where they are given',
        ),
        DeclareLaunchArgument(
            'autostart', default_value='true', description='Configure and activate the node'),
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='',
            description='true: take the time from /clock; where empty, as in params_file',
        ),
        DeclareLaunchArgument(
            'log_level', default_value='info', description='debug, info, warn or error'),
        OpaqueFunction(function=start),
    ])


def start(context: LaunchContext):
    """Make the node from the arguments' values."""
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    # Typed as text: launch reads a bare value as YAML, and a map may be called 2026 or "a #1".
    given = {
        name: ParameterValue(value(argument), value_type=str)
        for argument, name in OVERRIDES.items() if value(argument)
    }
    if value('use_sim_time'):
        given['use_sim_time'] = value('use_sim_time').lower() in YES
    node = LifecycleNode(
        package=PACKAGE,
        executable='localizer',
        name='localizer',
        namespace=value('namespace'),
        parameters=[value('params_file'), given],
        remappings=[
            ('image', value('image')),
            ('image/compressed', f'{value("image")}/compressed'),
            ('odom', value('odom')),
        ],
        arguments=['--ros-args', '--log-level', value('log_level')],
        output='screen',
    )
    return [node, *(autostart(node) if value('autostart').lower() in YES else [])]


def autostart(node: LifecycleNode):
    """Configure the node, then activate it; a failure ends the launch."""
    def change(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(
            lifecycle_node_matcher=lambda action: action is node, transition_id=transition))

    activate = OnStateTransition(
        target_lifecycle_node=node, start_state='configuring', goal_state='inactive',
        entities=[change(Transition.TRANSITION_ACTIVATE)],
    )
    failed = OnStateTransition(
        target_lifecycle_node=node, start_state='configuring', goal_state='unconfigured',
        entities=[OpaqueFunction(function=fail)],
    )
    return [
        RegisterEventHandler(activate),
        RegisterEventHandler(failed),
        change(Transition.TRANSITION_CONFIGURE),
    ]


def fail(context: LaunchContext):
    """End the launch with exit code 1, which a Shutdown action would not."""
    raise RuntimeError('the localizer could not be configured: see its own line')
