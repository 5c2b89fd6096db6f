# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Two localizers side by side, an example for several cameras or robots.

A namespace keeps their topics apart: ``/front/localizer/pose`` and ``/rear/localizer/pose``.
Copy this file and change ``CAMERAS``.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir

CAMERAS = ('front', 'rear')


def generate_launch_description():
    """Include localize.launch.py once for each camera."""
    single = PathJoinSubstitution([ThisLaunchFileDir(), 'localize.launch.py'])
    return LaunchDescription([
        DeclareLaunchArgument('map', description='The .r2map file of both cameras'),
        *(
            IncludeLaunchDescription(PythonLaunchDescriptionSource(single), launch_arguments={
                'map': LaunchConfiguration('map'),
                'namespace': camera,
                'image': f'/{camera}/image_raw',
                'odom': f'/{camera}/odom',
            }.items())
            for camera in CAMERAS
        ),
    ])
