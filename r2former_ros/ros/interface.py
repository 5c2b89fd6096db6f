# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The topics and services of both nodes, in one table from which nodes and docs are made.

``docs/make_reference.py`` writes it into the docs, and tests compare it with the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry, Path
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import String
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

TEN = QoSProfile(depth=10)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True)
class Topic:
    """A topic, named relative to the node. ``qos`` None: set by parameters."""

    name: str
    message: Any
    qos: QoSProfile | None
    rate: str
    meaning: str

    def qos_text(self) -> str:
        """Describe the quality of service in words."""
        if self.qos is None:
            return 'by `node.image_reliability` and `node.image_depth`'
        reliable = self.qos.reliability is not ReliabilityPolicy.BEST_EFFORT
        latched = self.qos.durability is DurabilityPolicy.TRANSIENT_LOCAL
        words = ['reliable' if reliable else 'best effort', f'depth {self.qos.depth}']
        return ', '.join(words + ['latched'] * latched)


@dataclass(frozen=True)
class Service:
    """A service, always ``std_srvs/Trigger``."""

    name: str
    meaning: str
    kind: Any = Trigger


IMAGE = Topic('image', Image, None, 'camera', 'Images, if `node.image_transport` is raw')
COMPRESSED = Topic('image/compressed', CompressedImage, None, 'camera',
                   'JPEG or PNG images, if `node.image_transport` is compressed')
ODOMETRY = Topic('odom', Odometry, QoSProfile(depth=100), 'odometry',
                 'Motion of the camera; optional. The child frame is taken as the camera')

CAMERA_INFO = Topic('camera_info', CameraInfo, QoSProfile(depth=1), 'camera',
                    'Intrinsics; optional. With them, poses and loop closures are measured in '
                    'metres; without them, the camera of the map is assumed')

HYPOTHESES = Topic('~/hypotheses', PointCloud2, TEN, 'each image used',
                   'One point per hypothesis, best first; the fields are listed below')
POSE = Topic('~/pose', PoseWithCovarianceStamped, TEN, 'each image used while localized',
             'Pose measured in metres if one was accepted, otherwise that of the most probable '
             'place; the covariance says how far off it may be')
STATE = Topic('~/state', String, LATCHED, 'on change', '`lost`, `candidate` or `localized`')
STATUS = Topic('~/status', DiagnosticArray, TEN, 'each image, each change of the camera',
               'Whether the image was accepted, why, and the numbers behind it; map revision and '
               'weights')
DIAGNOSTICS = Topic('/diagnostics', DiagnosticArray, TEN, '`node.diagnostics_period_s`',
                    'Level, summary and figures. Latencies are those of the worker; decoding and '
                    'resizing happen before, in another thread, and count towards the age')
MARKERS = Topic('~/markers', MarkerArray, TEN, 'each image used, while subscribed',
                'Hypotheses coloured red to green by score; the state as text; all places in '
                'grey, resent only for a new map or subscriber')
DEBUG_IMAGE = Topic('~/debug_image', Image, TEN, 'each image used, while subscribed',
                    'The query beside its best match, with lines between matched patches')

RELOAD_MAP = Service(
    '~/reload_map',
    'Read `map.path` again, with the same weights; the old map stays if loading fails')
RESET = Service('~/reset', 'Forget the images seen so far; the state becomes lost')
LOCALIZE_ONCE = Service(
    '~/localize_once', 'Answer with the result for the next image, as one line of JSON')

# These exist only with loop_closure.enabled.
LOOP_CLOSURES = Topic(
    '~/loop_closures', PointCloud2, TEN, 'each loop closure',
    'A keyframe taken near an earlier place. The frame is that of the odometry if the place '
    'belongs to this drive, and that of the map if it belongs to the saved map')
SAVE_MAP = Service('~/save_map', 'Copy the map of this drive')

# These belong to the node pose_graph.
PATH = Topic('~/path', Path, LATCHED, '`pose_graph.publish_period_s`, if anything is new',
             'The corrected path, in `pose_graph.frame_id`')
CORRECTION = Topic('~/correction', TransformStamped, LATCHED, 'with `~/path`',
                   "Transform from the odometry's frame to `pose_graph.frame_id`")
GRAPH_ODOMETRY = Topic('odom', Odometry, QoSProfile(depth=100), 'odometry',
                       'The motion to correct; the child frame is taken as the camera')
GRAPH_LOOPS = Topic('loop_closures', PointCloud2, QoSProfile(depth=100), 'each loop closure',
                    '`~/loop_closures` of the localizer')


@dataclass(frozen=True)
class Interface:
    """What a node, or a part of one, publishes, subscribes to and serves."""

    published: tuple[Topic, ...]
    subscribed: tuple[Topic, ...]
    services: tuple[Service, ...] = ()


LOCALIZER = Interface(
    (HYPOTHESES, POSE, STATE, STATUS, MARKERS, DEBUG_IMAGE, DIAGNOSTICS),
    (IMAGE, COMPRESSED, ODOMETRY, CAMERA_INFO),
    (RELOAD_MAP, RESET, LOCALIZE_ONCE))
LOOP_CLOSURE = Interface((LOOP_CLOSURES,), (), (SAVE_MAP,))
POSE_GRAPH = Interface((PATH, CORRECTION), (GRAPH_ODOMETRY, GRAPH_LOOPS))


def create_publisher(node: LifecycleNode, topic: Topic) -> Any:
    """Create the publisher of a topic; it publishes only while the node is active."""
    return node.create_lifecycle_publisher(topic.message, topic.name, topic.qos)
