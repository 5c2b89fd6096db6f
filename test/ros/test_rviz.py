# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The RViz configuration shows what the node publishes."""

from pathlib import Path

import pytest
import yaml

pytest.importorskip('rclpy')

from r2former_ros.config import Config
from r2former_ros.ros.conversions import HYPOTHESIS
from r2former_ros.ros.interface import DEBUG_IMAGE, HYPOTHESES, MARKERS, POSE

pytestmark = pytest.mark.ros
RVIZ = Path(__file__).parents[2] / 'config' / 'localize.rviz'
SHOWN = {'MarkerArray': MARKERS, 'PoseWithCovariance': POSE, 'PointCloud2': HYPOTHESES,
         'Image': DEBUG_IMAGE}


def test_every_display_shows_a_topic_of_its_type_as_it_is_published():
    manager = yaml.safe_load(RVIZ.read_text())['Visualization Manager']
    assert manager['Global Options']['Fixed Frame'] == Config().map.frame_id
    displays = {one['Class'].removeprefix('rviz_default_plugins/'): one
                for one in manager['Displays']}
    assert set(displays) == {*SHOWN, 'Grid'}
    for kind, topic in SHOWN.items():
        shown = displays[kind]['Topic']
        assert shown['Value'] == topic.name.replace('~', '/localizer')
        assert topic.message.__name__.startswith(kind)
        assert topic.qos_text().startswith(shown['Reliability Policy'].lower())
        assert shown['Durability Policy'] == 'Volatile'
    assert displays['PointCloud2']['Channel Name'] in HYPOTHESIS.names
