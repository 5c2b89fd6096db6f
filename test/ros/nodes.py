# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Helpers of the tests that run nodes under real rclpy."""

import time
from dataclasses import replace

import numpy as np
from fakes import picture
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image

from r2former_ros.ros import interface
from r2former_ros.ros.conversions import header_from

TOPIC = '/camera/image_raw'
SETTINGS = {'model.weights': 'tiny', 'model.device': 'cpu', 'model.backend': 'torch',
            'model.image_height': 64, 'model.image_width': 96,
            'node.diagnostics_period_s': 0.2, 'decision.min_score': 0.0,
            'decision.agreement_frames': 1, 'decision.agreement_radius_m': 100.0}
WAIT_S = 60.0
OF_RCLPY = ('/rosout', '/parameter_events', '/clock')
OF_LIFECYCLE = {
    'transition_event', 'change_state', 'get_state', 'get_available_states',
    'get_available_transitions', 'get_transition_graph', 'describe_parameters',
    'get_parameter_types', 'get_parameters', 'list_parameters', 'set_parameters',
    'set_parameters_atomically', 'get_type_description',
}
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


def image_message(seed, stamp_ns, encoding='rgb8'):
    """Make an image message of a picture."""
    image = picture(seed, 96, 128)
    pixels = image if encoding == 'rgb8' else np.ascontiguousarray(image[..., ::-1])
    return Image(header=header_from(stamp_ns, 'left_camera'), height=96, width=128,
                 encoding=encoding, step=384, data=pixels.tobytes())


def work(node, message):
    """Deal with an image as the node's two threads do."""
    return node.active.worker.work(node.active.worker.prepare(message))


def wait_for(condition):
    """Wait until something is true; fail after half a minute."""
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, 'waited in vain'
        time.sleep(0.02)


def assert_offers(node, *parts):
    """Hold a node's topics, their quality of service and its services against the tables."""
    for ends, kind in ((node.publishers, 'published'), (node.subscriptions, 'subscribed')):
        expected = {node.resolve_topic_name(one.name): one
                    for part in parts for one in getattr(part, kind)}
        own = {end.topic_name: end for end in ends if is_ours(end.topic_name)}
        assert set(own) == set(expected)
        for name, topic in expected.items():
            assert own[name].msg_type is topic.message
            if topic.qos is not None:
                assert described(own[name].qos_profile) == described(topic.qos), name
    services = {one.service_name for one in node.services if is_ours(one.service_name)}
    assert services == {node.resolve_service_name(one.name) for part in parts
                        for one in part.services}


def is_ours(name):
    """Say whether a topic or service is not one that each node has."""
    return not name.startswith(OF_RCLPY) and name.rsplit('/', 1)[-1] not in OF_LIFECYCLE


def described(qos):
    """Return what the tables say of a quality of service."""
    return qos.reliability, qos.durability, qos.depth


def of_raw_images(part):
    """Leave out the topic that is listened to in place of another."""
    return replace(part, subscribed=tuple(
        one for one in part.subscribed if one is not interface.COMPRESSED))


def spin_until(node, condition):
    """Let the node work until something is true."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    until = time.monotonic() + WAIT_S
    while not condition():
        executor.spin_once(timeout_sec=0.1)
        assert time.monotonic() < until, 'waited in vain'
    executor.remove_node(node)
    executor.shutdown()
