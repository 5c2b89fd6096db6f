# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The topics and services of both nodes: the one table that the nodes and the docs are made from.

``docs/make_reference.py`` writes it down, and tests hold it against the nodes.
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
    """A topic, relative to the node as ROS writes it. ``qos`` None: set by parameters."""

    name: str
    message: Any
    qos: QoSProfile | None
    rate: str
    meaning: str

    def qos_text(self) -> str:
        """Write the quality of service for a person."""
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


IMAGE = Topic('image', Image, None, 'camera', 'Images, with `node.image_transport` raw')
COMPRESSED = Topic('image/compressed', CompressedImage, None, 'camera',
                   'JPEG or PNG images, with `node.image_transport` compressed, instead')
ODOMETRY = Topic('odom', Odometry, QoSProfile(depth=100), 'odometry',
                 'Where the camera has moved; optional. Its child frame stands for the camera')

HYPOTHESES = Topic('~/hypotheses', PointCloud2, TEN, 'each image used',
                   'One point a hypothesis, best first; its fields are listed below')
POSE = Topic('~/pose', PoseWithCovarianceStamped, TEN, 'each image used while localized',
             'Pose of the most probable place, and how far from it the camera may be')
STATE = Topic('~/state', String, LATCHED, 'on change', '`lost`, `candidate` or `localized`')
DIAGNOSTICS = Topic('/diagnostics', DiagnosticArray, TEN, '`node.diagnostics_period_s`',
                    'A level, a sentence, and the figures behind it. Latencies are those of the '
                    'worker: an image is decoded and resized before, in another thread, as part '
                    'of its age')
MARKERS = Topic('~/markers', MarkerArray, TEN, 'each image used, while subscribed',
                'Hypotheses red to green by score, the state as text; the places grey, for a new '
                'map or viewer only')
DEBUG_IMAGE = Topic('~/debug_image', Image, TEN, 'each image used, while subscribed',
                    'The query beside its best match, with lines between matched patches')

RELOAD_MAP = Service(
    '~/reload_map', 'Read `map.path` again, with the same weights; a map that fails is not taken')
RESET = Service('~/reset', 'Forget the images seen so far: the state is lost')
LOCALIZE_ONCE = Service(
    '~/localize_once', 'Answer with the result of the next image, as one line of JSON')

# These are there only with loop_closure.enabled.
CAMERA_INFO = Topic('camera_info', CameraInfo, QoSProfile(depth=1), 'camera',
                    'Intrinsics, optional: they give loop closures a rotation')
LOOP_CLOSURES = Topic(
    '~/loop_closures', PointCloud2, TEN, 'each loop closure',
    'A keyframe that was taken near a place. The frame is that of the odometry for a place of '
    'this drive, and that of the map for one of a saved map')
SAVE_MAP = Service('~/save_map', 'Copy the map of this drive')

# These are of the node pose_graph.
PATH = Topic('~/path', Path, LATCHED, '`pose_graph.publish_period_s`, if there is anything new',
             'The corrected path, in `pose_graph.frame_id`')
CORRECTION = Topic('~/correction', TransformStamped, LATCHED, 'with `~/path`',
                   "What takes the odometry's frame to `pose_graph.frame_id`")
GRAPH_ODOMETRY = Topic('odom', Odometry, QoSProfile(depth=100), 'odometry',
                       'What is corrected; its child frame stands for the camera')
GRAPH_LOOPS = Topic('loop_closures', PointCloud2, QoSProfile(depth=100), 'each loop closure',
                    '`~/loop_closures` of the localizer')


@dataclass(frozen=True)
class Interface:
    """What a node, or a part of one, offers and listens to."""

    published: tuple[Topic, ...]
    subscribed: tuple[Topic, ...]
    services: tuple[Service, ...] = ()


LOCALIZER = Interface(
    (HYPOTHESES, POSE, STATE, MARKERS, DEBUG_IMAGE, DIAGNOSTICS), (IMAGE, COMPRESSED, ODOMETRY),
    (RELOAD_MAP, RESET, LOCALIZE_ONCE))
LOOP_CLOSURE = Interface((LOOP_CLOSURES,), (CAMERA_INFO,), (SAVE_MAP,))
POSE_GRAPH = Interface((PATH, CORRECTION), (GRAPH_ODOMETRY, GRAPH_LOOPS))


def create_publisher(node: LifecycleNode, topic: Topic) -> Any:
    """Make the publisher of a topic; it is silent unless the node is active."""
    return node.create_lifecycle_publisher(topic.message, topic.name, topic.qos)
