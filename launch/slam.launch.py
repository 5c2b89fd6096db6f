# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start the localizer with loop closure, and the pose graph that uses its loop closures."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = 'r2former_ros'
YES = ('true', '1', 'yes', 'on')
ARGUMENTS = {
    'map': ('', 'A saved .r2map to close loops on as well; empty: this drive only'),
    'image': ('/camera/image_raw', 'Image topic'),
    'camera_info': (
        '/camera/camera_info', 'Intrinsics of the camera, for loop closures in metres; optional'),
    'odom': ('/odom', 'Odometry topic'),
    'image_transport': ('', 'raw or compressed; if empty, as in params_file'),
    'weights': ('', 'Preset or .safetensors file; if empty, as in params_file'),
    'device': ('', 'auto, cpu, cuda or cuda:N; if empty, as in params_file'),
    'tum': ('', 'File the corrected trajectory is written to; empty: none'),
    'autostart': ('true', 'Configure and activate the localizer'),
    'namespace': ('', 'Namespace of both nodes'),
    'use_sim_time': ('', 'true: take the time from /clock; if empty, as in params_file'),
    'log_level': ('info', 'debug, info, warn or error'),
    'respawn': (
        'false', 'true: start the localizer again if it crashes, and take it to active again'),
    'required': ('true', 'true: end the whole launch, with an error, when one of the nodes ends'),
    'initialpose': (
        '', 'Topic for the first pose after each loss, such as /initialpose; empty: none'),
}
NOT_OF_LOCALIZER = ('tum',)


def generate_launch_description():
    """Describe the arguments; the nodes follow once their values are known."""
    parameters = str(Path(get_package_share_directory(PACKAGE), 'config', 'slam.yaml'))
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, (default, description) in ARGUMENTS.items()),
        DeclareLaunchArgument(
            'params_file', default_value=parameters,
            description='Parameter file of both nodes; the arguments above override it'),
        OpaqueFunction(function=start),
    ])


def start(context: LaunchContext):
    """Make both nodes from the arguments' values."""
    given = {name: LaunchConfiguration(name).perform(context)
             for name in (*ARGUMENTS, 'params_file')}
    localize = PathJoinSubstitution([FindPackageShare(PACKAGE), 'launch', 'localize.launch.py'])
    localizer = GroupAction([
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(localize),
            launch_arguments=[(name, value) for name, value in given.items()
                              if name not in NOT_OF_LOCALIZER],
        ),
    ])
    return [localizer, pose_graph(given)]


def pose_graph(given: dict[str, str]) -> Node:
    """Make the back end, which listens to the localizer of its own namespace."""
    overrides = {}
    if given['tum']:
        overrides['pose_graph.tum_path'] = ParameterValue(given['tum'], value_type=str)
    if given['use_sim_time']:
        overrides['use_sim_time'] = given['use_sim_time'].lower() in YES
    return Node(
        package=PACKAGE,
        executable='pose_graph',
        name='pose_graph',
        namespace=given['namespace'],
        parameters=[given['params_file'], overrides],
        remappings=[('odom', given['odom']), ('loop_closures', 'localizer/loop_closures')],
        arguments=['--ros-args', '--log-level', given['log_level']],
        output='screen',
        on_exit=[OpaqueFunction(function=end)] if given['required'].lower() in YES else None,
    )


def end(context: LaunchContext):
    """End the launch because the pose graph has ended, unless the launch is ending anyway."""
    if not context.is_shutdown:
        raise RuntimeError('pose_graph has ended: see its own lines')
