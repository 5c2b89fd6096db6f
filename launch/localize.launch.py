# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start the localizer and, with autostart, take it to active. Only the map must be given."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessStart
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

PACKAGE = 'r2former_ros'
ELSE = 'if empty, as in params_file'
YES = ('true', '1', 'yes', 'on')
RESPAWN_DELAY_S = 2.0
OVERRIDES = {
    # Launch arguments that override the parameter file if they are given.
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
            description='Odometry topic (nav_msgs/Odometry) of the camera; optional, used if '
                        'anything publishes it',
        ),
        DeclareLaunchArgument(
            'camera_info', default_value='/camera/camera_info',
            description='Intrinsics (sensor_msgs/CameraInfo), for poses in metres; optional, '
                        'used if anything publishes them',
        ),
        DeclareLaunchArgument(
            'image_transport', default_value='', description=f'raw or compressed; {ELSE}'),
        DeclareLaunchArgument(
            'weights', default_value='', description=f'Preset or .safetensors file; {ELSE}'),
        DeclareLaunchArgument(
            'device', default_value='', description=f'auto, cpu, cuda or cuda:N; {ELSE}'),
        DeclareLaunchArgument(
            'params_file', default_value=default_file,
            description='Parameter file; the arguments above override it if they are given',
        ),
        DeclareLaunchArgument(
            'autostart', default_value='true', description='Configure and activate the node'),
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='',
            description=f'true: take the time from /clock; {ELSE}',
        ),
        DeclareLaunchArgument(
            'log_level', default_value='info', description='debug, info, warn or error'),
        DeclareLaunchArgument(
            'respawn', default_value='false',
            description='true: start the node again if it crashes, and take it to active again',
        ),
        DeclareLaunchArgument(
            'required', default_value='false',
            description='true: end the whole launch, with an error, when the node ends',
        ),
        DeclareLaunchArgument(
            'initialpose', default_value='',
            description='Topic for the first pose after each loss, such as /initialpose for AMCL '
                        'and slam_toolbox; empty: none',
        ),
        OpaqueFunction(function=start),
    ])


def start(context: LaunchContext):
    """Make the nodes from the arguments' values."""
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    def is_set(name: str) -> bool:
        return value(name).lower() in YES

    # Typed as text: launch reads a bare value as YAML, and a map may be called 2026 or "a #1".
    given = {
        name: ParameterValue(value(argument), value_type=str)
        for argument, name in OVERRIDES.items() if value(argument)
    }
    if value('use_sim_time'):
        given['use_sim_time'] = is_set('use_sim_time')
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
            ('camera_info', value('camera_info')),
        ],
        arguments=['--ros-args', '--log-level', value('log_level')],
        output='screen',
        respawn=is_set('respawn'),
        respawn_delay=RESPAWN_DELAY_S,
        on_exit=[OpaqueFunction(function=end)] if is_set('required') else None,
    )
    handlers = autostart(node) if is_set('autostart') else []
    bridge = initial_pose(value) if value('initialpose') else []
    return [*handlers, node, *bridge]


def autostart(node: LifecycleNode):
    """Configure the node whenever it has started, then activate it; a failure ends the launch."""
    def change(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(
            lifecycle_node_matcher=lambda action: action is node, transition_id=transition))

    started = OnProcessStart(
        target_action=node, on_start=[change(Transition.TRANSITION_CONFIGURE)])
    activate = OnStateTransition(
        target_lifecycle_node=node, start_state='configuring', goal_state='inactive',
        entities=[change(Transition.TRANSITION_ACTIVATE)],
    )
    failed = OnStateTransition(
        target_lifecycle_node=node, start_state='configuring', goal_state='unconfigured',
        entities=[OpaqueFunction(function=fail)],
    )
    return [RegisterEventHandler(one) for one in (started, activate, failed)]


def initial_pose(value):
    """Make the node that hands the first pose after each loss to other localizers."""
    return [Node(
        package=PACKAGE,
        executable='initial_pose',
        name='initial_pose',
        namespace=value('namespace'),
        remappings=[('initialpose', value('initialpose'))],
        output='screen',
    )]


def fail(context: LaunchContext):
    """End the launch with exit code 1, which a Shutdown action would not."""
    raise RuntimeError('the localizer could not be configured: see its own line')


def end(context: LaunchContext):
    """End the launch because a node has ended, unless the launch is ending anyway."""
    if not context.is_shutdown:
        raise RuntimeError('a node that is required has ended: see its own lines')
