# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A small map, and nodes on it in this process. rclpy is imported only by who uses them."""

import pytest
from fakes import picture

from r2former_ros.config import Config, with_values
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.build import build_map
from r2former_ros.model import load_configured
from r2former_ros.records import Frame, PosedFrame


@pytest.fixture(scope='session')
def config(tmp_path_factory):
    """Settings of a node with a map of six places, seen by the untrained tiny network."""
    from nodes import SETTINGS

    path = tmp_path_factory.mktemp('map') / 'site.r2map'
    config = with_values(Config(), {**SETTINGS, 'map.path': str(path), 'map.frame_id': 'site'})
    frames = [PosedFrame(Frame(i, picture(i, 96, 128)), pose_from_yaw(5.0 * i, 0, 0), f'{i}')
              for i in range(6)]
    build_map(load_configured(config), path, frames, config)
    return config


@pytest.fixture
def make_node(config):
    """Make a localizer in this process, with parameters changed by dotted name."""
    from nodes import SETTINGS

    from r2former_ros.ros.localizer import Localizer
    from r2former_ros.ros.replay.live import own_domain

    nodes, contexts = [], []

    def make(**changes):
        values = {**SETTINGS, 'map.path': config.map.path, **changes}
        arguments = ['--ros-args']
        for name, value in values.items():
            arguments += ['-p', f'{name}:={value}']
        contexts.append(own_domain(arguments))
        contexts[-1].__enter__()
        nodes.append(Localizer())
        return nodes[-1]

    yield make
    for node in nodes:
        node.close()
        node.destroy_node()
    for context in contexts:
        context.__exit__(None, None, None)
