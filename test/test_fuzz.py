# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Every door by which numbers, text and bytes of others come in.

Each gives a value that means something, or one of our errors in one line; never another
exception. ``pytest test/test_fuzz.py --fuzz 100`` tries a hundred times as many inputs.
"""

import contextlib
import functools
import io
import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

hypothesis = pytest.importorskip('hypothesis')

from hypothesis import given
from hypothesis import strategies as st

from r2former_ros.cli import main
from r2former_ros.config import Config, load_yaml
from r2former_ros.config.sections import options, with_values
from r2former_ros.errors import R2FormerError
from r2former_ros.geometry.poses import (
    FARTHEST_M,
    pose_from_quaternion,
    pose_from_yaw,
    require_fix,
)
from r2former_ros.records import Frame, StampedPose
from r2former_ros.sources.bag_writer import BagWriter
from r2former_ros.sources.bags import Bag
from r2former_ros.sources.datasets import read_places
from r2former_ros.sources.encodings import ENCODINGS, decode_compressed, decode_image
from r2former_ros.sources.frames import frames_of_bag, frames_of_folder
from r2former_ros.sources.pictures import encode_jpeg
from r2former_ros.sources.trajectory_files import read_image_poses, read_trajectory

SMOOTH = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8)[..., None].repeat(3, axis=2)
PICTURES = [
    encode_jpeg(SMOOTH),
    cv2.imencode('.jpg', SMOOTH, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
    cv2.imencode('.jpg', SMOOTH, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes(),
    cv2.imencode('.png', SMOOTH)[1].tobytes(),
    cv2.imencode('.png', SMOOTH.astype(np.uint16) * 16)[1].tobytes(),
]
numbers = st.one_of(
    st.floats(), st.integers(-10, 10).map(float),
    st.sampled_from([0.0, -0.0, 1e-300, 1e300, float('nan'), float('inf'), -1e9, 5335887.29]),
)
words = st.one_of(
    numbers.map(str), st.text(max_size=12), st.integers().map(str), st.booleans().map(str),
    st.sampled_from(['', '-1', '1e999', '0x10', 'null', '1_0', 'ï»¿', '\0', '"', "'", '\u2028',
                     '9' * 25, '../..', '.']),
)
damage = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=6)), max_size=4)


def damaged(content, changes, keep=1.0):
    """Overwrite bytes at some places, and cut the end off."""
    data = bytearray(content)
    for where, new in changes:
        at = int(where * len(data))
        data[at:at + len(new)] = new
    return bytes(data[:int(len(data) * keep)])


def value_or_error(door, *arguments):
    """Open a door; return its value, or None where it raised one of our errors in one line."""
    try:
        return door(*arguments)
    except R2FormerError as error:
        assert '\n' not in str(error) and len(str(error)) < 1500
        return None


def written(content, name='file'):
    """Write bytes or text into a new folder."""
    path = Path(tempfile.mkdtemp(dir=FOLDER.name)) / name
    path.write_bytes(content if isinstance(content, bytes)
                     else content.encode('utf-8', 'surrogatepass'))
    return path


FOLDER = tempfile.TemporaryDirectory()


def is_picture(image):
    return image is None or (image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3)


def is_pose(pose):
    return pose is None or (np.isfinite(pose).all() and abs(pose[:3, 3]).max() <= FARTHEST_M)


# Messages


@given(st.one_of(st.sampled_from(ENCODINGS), st.text(max_size=10)), st.integers(-1, 9),
       st.integers(-1, 9), st.integers(-1, 64), st.booleans(), st.binary(max_size=600))
def test_messages_of_images(encoding, width, height, step, is_bigendian, data):
    message = SimpleNamespace(encoding=encoding, width=width, height=height, step=step, data=data,
                              is_bigendian=is_bigendian)
    image = value_or_error(decode_image, message)
    assert is_picture(image) and (image is None or image.shape[:2] == (height, width))


@given(st.sampled_from(PICTURES), damage, st.floats(0, 1), st.binary(max_size=9), st.sampled_from(
    ['jpeg', 'png', '', 'rgb8; jpeg compressed rgb8', '16UC1; compressedDepth png', 'x' * 999]))
def test_messages_of_compressed_images(content, changes, keep, tail, name):
    data = damaged(content, changes, keep) + tail
    assert is_picture(value_or_error(decode_compressed, SimpleNamespace(data=data, format=name)))


@given(st.lists(numbers, min_size=3, max_size=3), st.lists(numbers, min_size=4, max_size=4))
def test_poses_of_messages(xyz, xyzw):
    assert is_pose(value_or_error(pose_from_quaternion, xyz, xyzw))


@given(numbers, numbers, numbers, numbers)
def test_poses_of_files(x, y, yaw, z):
    assert is_pose(value_or_error(pose_from_yaw, x, y, yaw, z))


@given(numbers, numbers, st.integers(-3, 3))
def test_satellite_fixes(latitude, longitude, status):
    fix = value_or_error(require_fix, latitude, longitude, status)
    assert fix is None or (abs(fix[0]) <= 90 and abs(fix[1]) <= 180 and status >= 0)


@given(st.integers(-2**40, 2**63 - 1), numbers, numbers)
def test_odometry_of_the_node(stamp_ns, x, w):
    messages = pytest.importorskip('nav_msgs.msg')
    from r2former_ros.ros.conversions import stamped_pose_from
    message = messages.Odometry()
    message.header.stamp.sec = max(-2**31, min(2**31 - 1, stamp_ns // 10**9))
    message.pose.pose.position.x, message.pose.pose.orientation.w = x, w
    stamped = value_or_error(stamped_pose_from, message)
    assert stamped is None or is_pose(stamped.pose)


# Files of poses


@given(st.lists(st.lists(words, min_size=7, max_size=13).map(' '.join), max_size=4)
       | st.lists(st.lists(numbers.map(str), min_size=8, max_size=8).map(' '.join), max_size=4)
       | st.lists(st.lists(numbers.map(str), min_size=12, max_size=12).map(' '.join), max_size=4))
def test_trajectories(lines):
    path = written('\n'.join(lines))
    path.with_name('times.txt').write_text('0\n1\n2\n3\n'[:2 * len(lines)])
    trajectory = value_or_error(read_trajectory, path)
    assert trajectory is None or (np.diff(trajectory.stamps_ns) > 0).all()
    assert trajectory is None or all(is_pose(one.pose) for one in trajectory)


@given(st.permutations(['file', 't_s', 'x_m', 'y_m', 'yaw_rad', 'z_m']), st.integers(3, 6),
       st.lists(st.lists(words, min_size=6, max_size=6), max_size=3))
def test_csv_files_of_poses(header, columns, rows):
    text = '\n'.join(','.join(row[:columns]) for row in [header, *rows])
    for door in (read_trajectory, read_image_poses):
        value_or_error(door, written(text))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_anything_as_a_file_of_poses(content):
    value_or_error(read_trajectory, written(content))
    value_or_error(read_image_poses, written(content))


@given(st.lists(words, min_size=1, max_size=3))
def test_names_in_a_file_of_poses(names):
    path = written('file,x_m,y_m,yaw_rad\n' + ''.join(f'{name},0,0,0\n' for name in names))
    value_or_error(lambda: list(frames_of_folder(path.parent, path, str)))


# Ground truths


def json_values():
    leaves = st.none() | st.booleans() | st.integers() | numbers | st.text(max_size=5)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(['queries', 'database', 'positives']), inner), max_leaves=6)


@given(json_values())
def test_anything_as_a_ground_truth(content):
    value_or_error(read_places, written(json.dumps(content)))


@given(st.lists(st.text(max_size=4), max_size=3), st.lists(json_values(), max_size=3))
def test_positives_of_a_ground_truth(names, positives):
    truth = {'queries': ['q'] * len(positives), 'database': names, 'positives': positives}
    places = value_or_error(read_places, written(json.dumps(truth)))
    assert places is None or all(
        0 <= row < len(names) for rows in places.positives for row in rows.tolist())


@given(words, words)
def test_names_of_a_vg_dataset(easting, northing):
    name = f'@{easting}@{northing}@.jpg'
    if '/' in name or '\0' in name or len(os.fsencode(name.encode('utf-8', 'replace'))) > 200:
        return
    root = Path(tempfile.mkdtemp(dir=FOLDER.name))
    for part in ('queries', 'database'):
        folder = root / 'images' / 'test' / part
        folder.mkdir(parents=True)
        (folder / name.encode('utf-8', 'replace').decode()).touch()
    value_or_error(read_places, root, 'test')


@given(st.lists(words, min_size=3, max_size=3), st.sampled_from(['key', 'pano', 'k"ey']))
def test_tables_of_msls(row, column):
    root = Path(tempfile.mkdtemp(dir=FOLDER.name))
    for part in ('query', 'database'):
        folder = root / 'train_val' / 'sf' / part
        folder.mkdir(parents=True)
        text = f'{column},easting,northing\n{",".join(row)}\n'
        (folder / 'postprocessed.csv').write_bytes(text.encode('utf-8', 'surrogatepass'))
    value_or_error(read_places, root, 'val')


# Settings


@given(st.text(max_size=80) | st.binary(max_size=80)
       | st.dictionaries(words, words, max_size=3).map(
           lambda values: '/**:\n  ros__parameters:\n' + ''.join(
               f'    {name}: {value}\n' for name, value in values.items())))
def test_parameter_files(content):
    value_or_error(load_yaml, written(content))


@given(st.sampled_from([item.name for item in options()]) | words,
       json_values() | st.dates() | st.binary(max_size=4))
def test_parameters(name, value):
    config = value_or_error(with_values, Config(), {name: value})
    assert config is None or isinstance(config, Config)


# The command line


COMMANDS = [
    ['map', 'info'], ['map', 'check'], ['map', 'prune', '--ids'], ['map', 'export', '--tum'],
    ['map', 'merge'], ['map', 'build', '--bag'], ['map', 'build', '--images'],
    ['map', 'build', '--dataset'], ['localize', '--map'], ['evaluate', '--map'],
    ['evaluate', 'compare'], ['play', '--rate'], ['encode', '--out'], ['weights', 'convert'],
    ['bench', '--repeat'], ['train', '--out'], ['localize', 'x.jpg', '--map', 'y', '--set'],
    ['localize', 'x.jpg', '--map', 'y', '--config'],
]


@given(st.sampled_from(COMMANDS), st.lists(words.filter(lambda word: '\0' not in word),
                                           min_size=1, max_size=4))
def test_words_of_the_command_line(command, arguments):
    said = io.StringIO()
    before = os.getcwd()
    os.chdir(tempfile.mkdtemp(dir=FOLDER.name))
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main([*command, *arguments])
    except SystemExit as end:
        code = end.code
    finally:
        os.chdir(before)
    assert code in (0, 2)
    assert 'Traceback' not in said.getvalue()


# Bags


@functools.cache
def bag_content(storage):
    """Return the bytes of a small bag, and the name of its file."""
    path = Path(tempfile.mkdtemp(dir=FOLDER.name)) / 'bag'
    with BagWriter(path, storage) as bag:
        for index in range(4):
            stamp_ns = 10**18 + index * 10**9
            bag.image('/cam', Frame(stamp_ns, SMOOTH))
            bag.compressed_image('/cam/compressed', Frame(stamp_ns, SMOOTH))
            bag.odometry('/odom', StampedPose(stamp_ns, pose_from_yaw(index, 0, 0)))
            bag.nav_sat_fix('/fix', stamp_ns, latitude_deg=48.0, longitude_deg=11 + index * 1e-4)
    (file,) = [one for one in path.iterdir() if one.suffix != '.yaml']
    return file.read_bytes(), file.name


def read_everything(path):
    with Bag(path) as bag:
        for topic in ('/cam', '/cam/compressed'):
            for pose_topic in ('/odom', '/fix'):
                poses = bag.trajectory(pose_topic)
                for posed in frames_of_bag(bag, topic, poses, str):
                    assert is_picture(posed.frame.image) and is_pose(posed.map_T_camera)
        return list(bag.raw_messages())


@given(st.sampled_from(['sqlite3', 'mcap']), damage, st.sampled_from([1.0, 1.0, 0.9, 0.5, 0.1]))
def test_damaged_bags(storage, changes, keep):
    content, name = bag_content(storage)
    value_or_error(read_everything, written(damaged(content, changes, keep), name))


@given(st.text(max_size=60) | st.dictionaries(
    st.sampled_from(['relative_file_paths', 'message_count', 'version']), json_values()).map(
        lambda bag: json.dumps({'rosbag2_bagfile_information': bag})))
def test_metadata_of_bags(metadata):
    content, name = bag_content('mcap')
    path = written(content, name)
    (path.parent / 'metadata.yaml').write_bytes(metadata.encode('utf-8', 'surrogatepass'))
    value_or_error(read_everything, path.parent)
