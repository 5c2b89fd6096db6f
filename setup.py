# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Packaging for pip and for colcon (ament_python)."""

import re
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = 'r2former_ros'
# Resolved, because colcon build --symlink-install runs a link to this file in its build folder.
SOURCE = Path(__file__).resolve().parent
VERSION = re.search(r"__version__ = '(.+)'", (SOURCE / NAME / '__init__.py').read_text()).group(1)

setup(
    name=NAME,
    version=VERSION,
    description='Visual place recognition with R2Former, for ROS 2',
    long_description=(SOURCE / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    maintainer='The r2former_ros maintainers',
    maintainer_email='maintainers@r2former-ros.invalid',
    python_requires='>=3.10',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['weights/*.safetensors', 'training/*.yaml', 'training/*/*.yaml']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/launch', glob('launch/*.launch.py')),
        (f'share/{NAME}/config', glob('config/*')),
        # ros2 run and ros2 launch look here. Console scripts would end up in bin/ with pip.
        (f'lib/{NAME}', glob('scripts/*')),
    ],
    entry_points={'console_scripts': [f'r2former = {NAME}.cli:main']},
    install_requires=[
        'faiss-cpu>=1.8',
        'matplotlib>=3.5',
        'numpy>=1.23',
        'opencv-python-headless>=4.8,<5',  # 5 breaks ROS's cv_bridge, which shares it
        'PyYAML>=5.4',
        'rosbags>=0.10',
        'safetensors>=0.4',
        'scipy>=1.10',
        'timm>=1.0.9',
        'torch>=2.4',
        'tqdm>=4.60',
    ],
    extras_require={
        'fast': ['numba>=0.60', 'openvino>=2025.0'],
        'onnx': ['onnx>=1.17', 'onnxruntime>=1.20', 'onnxscript>=0.3'],
        'postgres': ['psycopg[binary]>=3.1'],
        'rerun': ['rerun-sdk>=0.23'],
        'slam': ['gtsam>=4.2'],
        'test': ['pytest', 'scikit-learn>=1.2'],
        'train': ['lightning-fabric>=2.4', 'tensorboard>=2.15'],
    },
    zip_safe=True,
)
