# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an installation leaves where ROS looks for it."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

import r2former_ros
from r2former_ros import __version__

ROOT = Path(__file__).parents[1]


def test_one_version_everywhere():
    package = ET.parse(ROOT / 'package.xml').getroot()
    assert package.findtext('version') == __version__
    assert package.findtext('name') == 'r2former_ros'
    assert f'{__version__} ' in (ROOT / 'CHANGELOG.rst').read_text()


def test_every_message_package_that_is_imported_is_a_dependency():
    package = ET.parse(ROOT / 'package.xml').getroot()
    depends = {item.text for item in package.findall('exec_depend')}
    imported = set()
    for path in [*(ROOT / 'r2former_ros' / 'ros').rglob('*.py'), *(ROOT / 'launch').glob('*.py')]:
        imported |= set(re.findall(r'^(?:from|import) (\w+)', path.read_text(), re.M))
    ros = {name for name in imported
           if name.endswith(('_msgs', '_srvs', '_interfaces')) or name in (
               'rclpy', 'launch', 'launch_ros')}
    assert len(ros) > 8
    assert ros <= depends


def test_the_manifest_is_valid_and_every_key_in_it_is_known_to_rosdep():
    catkin_pkg = pytest.importorskip('catkin_pkg.package')
    warnings = []
    package = catkin_pkg.parse_package(ROOT / 'package.xml', warnings=warnings)
    package.validate(warnings=warnings)
    assert not warnings
    known = yaml.safe_load((ROOT / 'test' / 'rosdep_keys.yaml').read_text())
    used = {item.name for item in (*package.exec_depends, *package.test_depends)}
    assert used <= {*known['packages'], *known['rosdep']}


def test_what_pip_installs_is_named_for_rosdep_too():
    """Of install_requires only safetensors has no key; timm brings it."""
    requires = {re.match(r'[\w-]+', line)[0].lower() for line in re.findall(
        r"^        '([^']+)',", (ROOT / 'setup.py').read_text(), re.M)}
    keys = {'faiss-cpu': 'python3-faiss', 'opencv-python-headless': 'python3-opencv',
            'pyyaml': 'python3-yaml', 'rosbags': 'python3-rosbags-pip',
            'timm': 'python3-timm-pip'}
    manifest = (ROOT / 'package.xml').read_text()
    missing = {name for name in requires if keys.get(name, f'python3-{name}') not in manifest}
    assert missing == {'safetensors'}


def test_setup_runs_as_a_link_elsewhere(tmp_path):
    """As colcon build --symlink-install runs it, with links to few files beside it."""
    for name in ('setup.py', 'r2former_ros', 'package.xml'):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, 'setup.py', '--version']
    out = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert out.stdout.split()[-1] == __version__


@pytest.fixture(scope='module')
def prefix(tmp_path_factory):
    """Install the project, without its needs, into a folder of its own."""
    pytest.importorskip('setuptools', minversion='64')
    folder = tmp_path_factory.mktemp('install')
    command = [sys.executable, 'setup.py', '-q', 'build', '-b', str(folder / 'build'),
               'egg_info', '-e', str(folder), 'install', '--root', str(folder), '--prefix',
               '/opt/site', '--single-version-externally-managed']
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder / 'opt' / 'site'


def test_ros_finds_marker_launch_config_and_executables(prefix):
    share = prefix / 'share' / 'r2former_ros'
    assert (prefix / 'share/ament_index/resource_index/packages/r2former_ros').is_file()
    assert (share / 'package.xml').is_file()
    for name in ('localize', 'slam'):
        assert (share / 'launch' / f'{name}.launch.py').is_file()
        assert (share / 'config' / f'{name}.yaml').is_file()
    for name in ('localizer', 'pose_graph', 'r2former'):
        script = prefix / 'lib' / 'r2former_ros' / name
        assert os.access(script, os.X_OK)
        assert script.read_text().startswith('#!/usr/bin/env python3\n')


def test_the_installed_code_is_complete(prefix):
    (package,) = prefix.glob('lib/python*/site-packages/r2former_ros')
    installed = {path.relative_to(package) for path in package.rglob('*.py')}
    source = ROOT / 'r2former_ros'
    assert installed == {path.relative_to(source) for path in source.rglob('*.py')}
    weights = {path.name for path in (source / 'weights').glob('*.safetensors')}
    assert {path.name for path in package.glob('weights/*')} == weights


@pytest.mark.parametrize('name', r2former_ros.__all__)
def test_every_public_name_can_be_imported_from_the_package(name):
    assert getattr(r2former_ros, name)
