# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags and pictures as recorders, tools and cameras leave them."""

import shutil
import struct
import zlib

import numpy as np
import yaml
from rosbags.rosbag2 import Writer

from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.records import Frame, StampedPose
from r2former_ros.sources.bag_writer import STORAGES, BagWriter
from r2former_ros.sources.bags import Bag
from r2former_ros.sources.frames import frames_of_bag
from r2former_ros.sources.messages import IMAGE, NAV_SAT_FIX, ODOMETRY, TYPES, make_message

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
IMAGE_ROWS = 8


def drive(path, stamps_s, *, storage='sqlite3', x=0.0):
    """Write a picture and an odometry pose, at x + stamp, per stamp."""
    with BagWriter(path, storage) as bag:
        for stamp in stamps_s:
            picture = np.full((IMAGE_ROWS, 8, 3), stamp % 250, np.uint8)
            bag.image('/cam', Frame(T0 + stamp * SECOND, picture))
            bag.odometry('/odom', StampedPose(T0 + stamp * SECOND, pose_from_yaw(x + stamp, 0, 0)))
    return path


def positions(path):
    """Return the x coordinate of each frame of a bag, and what was left out."""
    left_out = []
    with Bag(path) as bag:
        poses = bag.trajectory('/odom')
        return [round(float(posed.map_T_camera[0, 3]), 3)
                for posed in frames_of_bag(bag, '/cam', poses, left_out.append)], left_out


def split(tmp_path, names, *, count=3, storage='sqlite3'):
    """Write a bag of several files of three pictures each; without metadata.yaml."""
    folder = tmp_path / 'split'
    folder.mkdir()
    for part, name in enumerate(names):
        whole = drive(tmp_path / f'part{part}', range(part * count, (part + 1) * count),
                      storage=storage)
        (file,) = [one for one in whole.iterdir() if one.suffix != '.yaml']
        shutil.move(file, folder / name)
    return folder


def metadata_of(path):
    return yaml.safe_load((path / 'metadata.yaml').read_text())


def edit_metadata(path, change):
    content = metadata_of(path)
    change(content['rosbag2_bagfile_information'])
    (path / 'metadata.yaml').write_text(yaml.safe_dump(content))


def image_message(stamp_ns, value):
    return make_message(
        IMAGE, header=header(stamp_ns), height=IMAGE_ROWS, width=8, encoding='mono8',
        is_bigendian=0, step=8, data=np.full(IMAGE_ROWS * 8, value, np.uint8))


def header(stamp_ns):
    sec, nanosec = divmod(stamp_ns, SECOND)
    return make_message('std_msgs/msg/Header', frame_id='x', stamp=make_message(
        'builtin_interfaces/msg/Time', sec=sec, nanosec=nanosec))


def odometry_message(stamp_ns, x):
    numbers = np.zeros(36)
    vector = make_message('geometry_msgs/msg/Vector3', x=0.0, y=0.0, z=0.0)
    pose = make_message(
        'geometry_msgs/msg/Pose',
        position=make_message('geometry_msgs/msg/Point', x=x, y=0., z=0.),
        orientation=make_message('geometry_msgs/msg/Quaternion', x=0., y=0., z=0., w=1.))
    return make_message(
        ODOMETRY, header=header(stamp_ns), child_frame_id='base',
        pose=make_message('geometry_msgs/msg/PoseWithCovariance', pose=pose, covariance=numbers),
        twist=make_message(
            'geometry_msgs/msg/TwistWithCovariance', covariance=numbers,
            twist=make_message('geometry_msgs/msg/Twist', linear=vector, angular=vector)))


def write_messages(path, items, storage):
    """Write (topic, recording time, message) in this order."""
    with Writer(path, version=8, storage_plugin=STORAGES[storage]) as writer:
        topics = {}
        for topic, time_ns, message in items:
            kind = message.__msgtype__
            if topic not in topics:
                topics[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            writer.write(topics[topic], time_ns, TYPES.serialize_cdr(message, kind))
    return path


def two_runs(*, recorder_too, offset_s=0, images_only=False):
    """Return six images at x 0..5, then six at x 90..95 whose stamps begin again."""
    for run in (0, 1):
        for step in range(6):
            stamp_ns = (10 + step + offset_s * run) * SECOND
            time_ns = stamp_ns + (0 if recorder_too else T0 + 100 * SECOND * run)
            if not (images_only and run):
                yield '/odom', time_ns, odometry_message(stamp_ns, 90.0 * run + step)
            yield '/cam', time_ns + 10**7, image_message(stamp_ns + 10**6, step)


def fix(stamp_ns, latitude, longitude, status=0):
    return make_message(
        NAV_SAT_FIX, header=header(stamp_ns), latitude=latitude, longitude=longitude,
        status=make_message('sensor_msgs/msg/NavSatStatus', status=status, service=1),
        altitude=float('nan'), position_covariance=np.zeros(9), position_covariance_type=0)


def huge_png(width, height):
    """Return a PNG of a few bytes that claims to be huge."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack(
            '>I', zlib.crc32(kind + data))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0,
                                                              0, 0))
            + chunk(b'IDAT', zlib.compress(bytes(99))) + chunk(b'IEND', b''))
