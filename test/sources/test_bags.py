# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Real bags of both storages, written and read in a temporary folder."""

import logging
import math
import shutil

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from r2former_ros.errors import BagError, ImageError
from r2former_ros.geometry.poses import pose_from_quaternion, pose_from_yaw, yaw_rad
from r2former_ros.records import Frame, StampedPose
from r2former_ros.sources.bag_writer import STORAGES, BagWriter
from r2former_ros.sources.bags import Bag
from r2former_ros.sources.messages import IMAGE, NAV_SAT_FIX, ODOMETRY
from r2former_ros.sources.pictures import encode_jpeg

SECOND = 1_000_000_000
STAMP = 1_700_000_000_123_456_789
STORE = get_typestore(Stores.ROS2_JAZZY)
EXTENSIONS = {'sqlite3': '.db3', 'mcap': '.mcap'}


def picture(seed=0, shape=(48, 64, 3)):
    return np.random.default_rng(seed).integers(0, 255, shape, np.uint8)


def frames(count=3):
    return [Frame(STAMP + i * SECOND, picture(i), 'camera') for i in range(count)]


def pose_at(index):
    return StampedPose(STAMP + index * SECOND, pose_from_quaternion(
        (index, -2.5, 0.5), (0.1, 0.2 * index, 0.3, 0.9)))


def new(kind, **fields):
    return STORE.types[kind](**fields)


def header(stamp_ns=STAMP, frame_id='x'):
    sec, nanosec = divmod(stamp_ns, SECOND)
    return new('std_msgs/msg/Header', frame_id=frame_id,
               stamp=new('builtin_interfaces/msg/Time', sec=sec, nanosec=nanosec))


def image_message(stamp_ns=STAMP, encoding='mono8'):
    return new(IMAGE, header=header(stamp_ns), height=1, width=4, encoding=encoding,
               is_bigendian=0, step=4, data=np.arange(4, dtype=np.uint8))


def pose_message(x, quaternion=(0.0, 0.0, 0.0, 1.0)):
    xyzw = dict(zip('xyzw', quaternion, strict=True))
    return new('geometry_msgs/msg/Pose',
               position=new('geometry_msgs/msg/Point', x=x, y=0.0, z=0.0),
               orientation=new('geometry_msgs/msg/Quaternion', **xyzw))


def posed(kind, x, **options):
    """Build a PoseStamped or PoseWithCovarianceStamped."""
    pose = pose_message(x, **options)
    if kind.endswith('WithCovarianceStamped'):
        pose = new('geometry_msgs/msg/PoseWithCovariance', pose=pose, covariance=np.zeros(36))
    return new(kind, header=header(), pose=pose)


@pytest.fixture
def raw_bag(tmp_path):
    """Return a function that writes a bag of (topic, type, bag time, message or CDR)."""
    def write(*items, name='raw'):
        path = tmp_path / name
        with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            connections = {}
            for topic, kind, bag_time_ns, message in items:
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
                cdr = message if isinstance(message, bytes) else STORE.serialize_cdr(message, kind)
                writer.write(connections[topic], bag_time_ns, cdr)
        return path
    return write


@pytest.fixture(params=STORAGES)
def full_bag(request, tmp_path):
    """Return a bag with everything in it, in both storages."""
    path = tmp_path / 'full'
    with BagWriter(path, request.param) as bag:
        for index, frame in enumerate(frames()):
            bag.image('/camera', frame)
            bag.compressed_image('/camera/compressed', frame)
            bag.odometry('/odom', pose_at(index), frame_id='map', child_frame_id='base')
            bag.nav_sat_fix('/fix', frame.stamp_ns, latitude_deg=50 + index * 1e-4,
                            longitude_deg=8.0, altitude_m=120.0)
    return path


# Round trips


def test_topics_and_duration(full_bag):
    with Bag(full_bag) as bag:
        assert bag.topics == {
            '/camera': 'sensor_msgs/msg/Image',
            '/camera/compressed': 'sensor_msgs/msg/CompressedImage',
            '/fix': 'sensor_msgs/msg/NavSatFix', '/odom': 'nav_msgs/msg/Odometry',
        }
        assert bag.image_topics == ['/camera', '/camera/compressed']
        assert bag.image_count('/camera') == 3
        assert bag.duration_s == 2.0


def test_images_come_back_exactly(full_bag):
    with Bag(full_bag) as bag:
        read = list(bag.images('/camera'))
    assert [(frame.stamp_ns, frame.frame_id) for frame in read] == [
        (frame.stamp_ns, 'camera') for frame in frames()]
    for frame, original in zip(read, frames(), strict=True):
        assert (frame.image == original.image).all() and frame.image.flags.writeable


@pytest.mark.parametrize('storage', STORAGES)
@pytest.mark.parametrize('encoding', ['bgr8', 'mono8'])
def test_images_in_other_encodings(tmp_path, storage, encoding):
    grey = np.repeat(picture(shape=(8, 6, 1)), 3, axis=2)
    image = grey if encoding == 'mono8' else picture()
    with BagWriter(tmp_path / 'bag', storage) as bag:
        bag.image('/camera', Frame(STAMP, image), encoding)
    with Bag(tmp_path / 'bag') as bag:
        (frame,) = bag.images('/camera')
        (raw,) = bag.raw_messages()
    assert (frame.image == image).all()
    assert STORE.deserialize_cdr(raw.cdr, raw.type).encoding == encoding


def test_compressed_images(full_bag):
    with Bag(full_bag) as bag:
        read = list(bag.images('/camera/compressed'))
        raw = next(iter(bag.raw_messages(['/camera/compressed'])))
    assert [frame.stamp_ns for frame in read] == [frame.stamp_ns for frame in frames()]
    message = STORE.deserialize_cdr(raw.cdr, raw.type)
    assert message.format == 'jpeg' and message.data.tobytes() == encode_jpeg(picture(0), 90)


def test_odometry(full_bag):
    with Bag(full_bag) as bag:
        trajectory = bag.trajectory('/odom')
        raw = next(iter(bag.raw_messages(['/odom'])))
    assert trajectory.stamps_ns.tolist() == [STAMP, STAMP + SECOND, STAMP + 2 * SECOND]
    for index, pose in enumerate(trajectory):
        np.testing.assert_allclose(pose.pose, pose_at(index).pose, atol=1e-12)
    message = STORE.deserialize_cdr(raw.cdr, raw.type)
    assert (message.header.frame_id, message.child_frame_id) == ('map', 'base')


def test_satellite_fixes_become_metres_and_headings(full_bag):
    with Bag(full_bag) as bag:
        trajectory = bag.trajectory('/fix')
    north = trajectory.poses[:, 1, 3]
    np.testing.assert_allclose(north, [0, 11.1229, 22.2459], atol=1e-3)  # 1e-4 degrees at 50 N
    np.testing.assert_allclose(trajectory.poses[:, 0, 3], 0, atol=1e-6)
    assert trajectory.poses[:, 2, 3].tolist() == [0, 0, 0]
    assert [yaw_rad(pose) for pose in trajectory.poses] == pytest.approx([math.pi / 2] * 3)


def test_messages_without_a_fix_are_left_out_and_counted(tmp_path, caplog):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.nav_sat_fix('/fix', STAMP, latitude_deg=0.0, longitude_deg=0.0, has_fix=False)
        bag.nav_sat_fix('/fix', STAMP + 1, latitude_deg=math.nan, longitude_deg=8.0)
        bag.nav_sat_fix('/fix', STAMP + 2, latitude_deg=50.0, longitude_deg=8.0)
        bag.nav_sat_fix('/lost', STAMP, latitude_deg=0.0, longitude_deg=0.0, has_fix=False)
    with Bag(tmp_path / 'bag') as bag, caplog.at_level(logging.WARNING):
        assert bag.trajectory('/fix').stamps_ns.tolist() == [STAMP + 2]
        assert '/fix: left out 2 of 3 messages that hold no pose' in caplog.text
        with pytest.raises(BagError, match='/lost: none of 1 message holds a pose .1: status -1'):
            bag.trajectory('/lost')


def test_fixes_recorded_out_of_order_start_at_the_earliest(raw_bag):
    def fix(index):
        status = new('sensor_msgs/msg/NavSatStatus', status=0, service=1)
        return new(NAV_SAT_FIX, header=header(STAMP + index), status=status, latitude=0.0,
                   longitude=8 + index * 1e-4, altitude=0.0, position_covariance=np.zeros(9),
                   position_covariance_type=0)

    with Bag(raw_bag(*(('/fix', NAV_SAT_FIX, i, fix(i)) for i in (1, 2)),
                     ('/fix', NAV_SAT_FIX, 3, fix(0)))) as bag:
        trajectory = bag.trajectory('/fix')
    np.testing.assert_allclose(trajectory.poses[:, 0, 3], [0, 11.132, 22.264], atol=1e-3)
    assert [yaw_rad(pose) for pose in trajectory.poses] == pytest.approx([0, 0, 0])


@pytest.mark.parametrize('kind', ['PoseStamped', 'PoseWithCovarianceStamped'])
def test_other_poses(raw_bag, kind, caplog):
    kind = f'geometry_msgs/msg/{kind}'
    path = raw_bag(('/pose', kind, 5, posed(kind, 3.0, quaternion=(0.0, 0.0, 0.6, 0.8))),
                   ('/pose', kind, 6, posed(kind, 4.0, quaternion=(0.0,) * 4)))
    with Bag(path) as bag, caplog.at_level(logging.WARNING):
        (pose,) = bag.trajectory('/pose')
    assert pose.stamp_ns == STAMP
    np.testing.assert_allclose(
        pose.pose, pose_from_yaw(3, 0, 2 * math.asin(0.6)), atol=1e-12)
    assert 'left out 1 of 2' in caplog.text


def test_raw_messages_are_in_the_order_of_recording(full_bag):
    with Bag(full_bag) as bag:
        everything = list(bag.raw_messages())
        some = list(bag.raw_messages(['/odom', '/fix']))
        assert list(bag.raw_messages([])) == []
    times = [message.bag_time_ns for message in everything]
    assert times == sorted(times) and len(times) == 12
    assert {message.topic for message in some} == {'/odom', '/fix'} and len(some) == 6
    assert {message.type for message in some} == {ODOMETRY, NAV_SAT_FIX}


def test_one_file_of_a_bag(full_bag):
    (path,) = [file for file in full_bag.iterdir() if file.suffix in EXTENSIONS.values()]
    with Bag(path) as bag:
        assert bag.image_count('/camera') == len(list(bag.images('/camera'))) == 3


def test_images_are_read_one_by_one(full_bag):
    with Bag(full_bag) as bag:
        images = bag.images('/camera')
        first = next(images)
        assert (first.image == picture(0)).all()
        assert (next(bag.images('/camera')).image == picture(0)).all()
        assert (next(images).image == picture(1)).all()


# The same bytes as ROS


@pytest.mark.parametrize('topic', ['/camera', '/camera/compressed', '/odom', '/fix'])
def test_rclpy_reads_what_is_written(tmp_path, topic):
    pytest.importorskip('rclpy')
    from rclpy.serialization import deserialize_message, serialize_message
    path = tmp_path / 'bag'
    with BagWriter(path) as bag:
        bag.image('/camera', frames()[1])
        bag.compressed_image('/camera/compressed', frames()[1])
        bag.odometry('/odom', pose_at(1), frame_id='map', child_frame_id='base')
        bag.nav_sat_fix('/fix', STAMP, latitude_deg=50.5, longitude_deg=-8.25, altitude_m=3.0)
    with Bag(path) as bag:
        (raw,) = bag.raw_messages([topic])
    package, _, name = raw.type.split('/')
    kind = getattr(pytest.importorskip(f'{package}.msg'), name)
    message = deserialize_message(raw.cdr, kind)
    assert_same(message, STORE.deserialize_cdr(raw.cdr, raw.type))
    assert_same(message, STORE.deserialize_cdr(serialize_message(message), raw.type))


def assert_same(message, expected):
    """Compare a message of rclpy with one of rosbags, field by field."""
    for name in message.get_fields_and_field_types():
        value, other = getattr(message, name), getattr(expected, name)
        if hasattr(value, 'get_fields_and_field_types'):
            assert_same(value, other)
        elif isinstance(other, np.ndarray):
            assert np.asarray(value).tolist() == other.tolist(), name
        else:
            assert value == other, name


# Bad frames


def test_a_header_without_time_takes_the_time_of_recording(raw_bag):
    with Bag(raw_bag(('/camera', IMAGE, 77, image_message(0)))) as bag:
        assert [frame.stamp_ns for frame in bag.images('/camera')] == [77]


@pytest.fixture
def damaged(raw_bag):
    """Return a bag of four images: the second of an unknown encoding, the third cut off."""
    cut = bytes(STORE.serialize_cdr(image_message(STAMP), IMAGE))[:30]
    return raw_bag(('/camera', IMAGE, 1, image_message(STAMP + 1)),
                   ('/camera', IMAGE, 2, image_message(STAMP + 2, 'secret')),
                   ('/camera', IMAGE, 3, cut),
                   ('/camera', IMAGE, 4, image_message(STAMP + 4)))


def test_bad_frames_are_left_out_and_told(damaged):
    errors = []
    with Bag(damaged) as bag:
        stamps = [frame.stamp_ns for frame in bag.images('/camera', on_bad_frame=errors.append)]
    assert stamps == [STAMP + 1, STAMP + 4]
    assert [type(error) for error in errors] == [ImageError, ImageError]
    assert str(errors[0]).startswith(f"/camera at {STAMP + 2} ns: encoding 'secret'")
    assert str(errors[1]).startswith('/camera at 3 ns: ')


def test_bad_frames_raise_by_default(damaged):
    with Bag(damaged) as bag, pytest.raises(ImageError, match="/camera at .*: encoding 'secret'"):
        list(bag.images('/camera'))


def test_what_the_caller_raises_passes_through(damaged):
    def stop(error):
        raise KeyError('mine')

    with Bag(damaged) as bag, pytest.raises(KeyError, match='mine'):
        list(bag.images('/camera', on_bad_frame=stop))


# Errors of the user


def test_wrong_topics_raise_at_once(full_bag):
    offers = 'its image topics: /camera, /camera/compressed'
    with Bag(full_bag) as bag:
        with pytest.raises(BagError, match=f'full: has no topic /cam; {offers}'):
            bag.images('/cam')
        with pytest.raises(BagError, match='/odom is a nav_msgs/msg/Odometry, expected sensor'):
            bag.images('/odom')
        with pytest.raises(BagError, match=f'has no topic /cam; {offers}'):
            bag.image_count('/cam')
        with pytest.raises(BagError, match='/camera is a .*Image.*; its pose topics: /fix, /odom'):
            bag.trajectory('/camera')
        with pytest.raises(BagError, match='has no topic /tf; its topics: /camera, .*, /odom'):
            bag.raw_messages(['/odom', '/tf'])


def test_default_image_topic(tmp_path, full_bag, raw_bag):
    one = raw_bag(
        ('/camera', IMAGE, 1, image_message()),
        ('/depth/compressedDepth', 'sensor_msgs/msg/CompressedImage', 1, b'\x00\x01\x00\x00'),
    )
    with Bag(one) as bag:
        assert bag.default_image_topic() == '/camera'
    with Bag(full_bag) as bag, pytest.raises(
            BagError, match='several image topics, choose one: /camera, /camera/compressed'):
        bag.default_image_topic()
    with BagWriter(tmp_path / 'blind') as writer:
        writer.odometry('/odom', pose_at(0))
    with Bag(tmp_path / 'blind') as bag, pytest.raises(
            BagError, match='has no image topic; its topics: /odom'):
        bag.default_image_topic()


def opened(path):
    with Bag(path):
        pass


def test_paths_that_are_no_bag(tmp_path):
    with pytest.raises(BagError, match='nowhere: does not exist; give a bag directory'):
        opened(tmp_path / 'nowhere')
    with pytest.raises(BagError, match='is not a bag directory, it holds no .mcap or .db3 file'):
        opened(tmp_path)
    (tmp_path / 'old.bag').write_bytes(b'#ROSBAG V2.0')
    with pytest.raises(BagError, match='old.bag: is not a ROS 2 bag .*; rosbags-convert'):
        opened(tmp_path / 'old.bag')
    (tmp_path / 'metadata.yaml').write_text('hello: world')
    with pytest.raises(BagError, match='metadata.yaml: cannot be read as the metadata of a bag'):
        opened(tmp_path)


@pytest.mark.parametrize('extension', EXTENSIONS.values())
@pytest.mark.parametrize('content', [b'', b'no bag at all', b'\x89MCAP0\r\n'])
def test_files_that_are_no_bag(tmp_path, extension, content):
    path = tmp_path / f'file{extension}'
    path.write_bytes(content)
    with pytest.raises(BagError, match=f'file{extension}: cannot be read') as caught:
        opened(path)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('storage', STORAGES)
def test_an_empty_bag(tmp_path, storage):
    with BagWriter(tmp_path / 'bag', storage):
        pass
    bag = Bag(tmp_path / 'bag')
    with pytest.raises(BagError, match='bag: the bag is empty, expected messages'):
        bag.__enter__()
    with pytest.raises(BagError, match='the bag is not open'):
        bag.default_image_topic()


def test_a_bag_damaged_in_the_middle(full_bag):
    (path,) = [file for file in full_bag.iterdir() if file.suffix in EXTENSIONS.values()]
    data = bytearray(path.read_bytes())
    start, end = len(data) // 10, len(data) * 6 // 10
    data[start:end] = b'\xff' * (end - start)
    path.write_bytes(data)
    with pytest.raises((BagError, ImageError), match='cannot be read|/camera at'), \
            Bag(full_bag) as bag:
        list(bag.images('/camera'))
        list(bag.raw_messages())


def test_outside_its_block_a_bag_says_so(full_bag):
    bag = Bag(full_bag)
    with pytest.raises(BagError, match='the bag is not open'):
        list(bag.topics)
    with bag:
        images = bag.images('/camera')
    with pytest.raises(BagError, match='the bag is not open'):
        next(images)
    bag.close()


def test_a_bag_may_be_deleted_and_written_again_after_an_error(full_bag):
    with pytest.raises(KeyError, match='mine'), Bag(full_bag) as bag:
        next(bag.images('/camera'))
        raise KeyError('mine')
    shutil.rmtree(full_bag)
    with BagWriter(full_bag) as writer:
        writer.odometry('/odom', pose_at(0))


# Writing


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / 'bag').mkdir()
    with pytest.raises(BagError, match='bag: exists already; remove it or choose another path'):
        BagWriter(tmp_path / 'bag')
    assert list((tmp_path / 'bag').iterdir()) == []


def test_unknown_storage(tmp_path):
    with pytest.raises(BagError, match="'zip' is not one of sqlite3, mcap"):
        BagWriter(tmp_path / 'bag', 'zip')


@pytest.mark.parametrize('storage', STORAGES)
def test_an_error_leaves_an_unfinished_bag(tmp_path, storage):
    with pytest.raises(ImageError, match="'rgb16' is not written"), \
            BagWriter(tmp_path / 'bag', storage) as bag:
        bag.image('/camera', frames()[0])
        bag.image('/camera', frames()[1], 'rgb16')
    with pytest.raises(BagError, match='the bag is empty|if it was cut off, mcap recover'):
        opened(tmp_path / 'bag')


def test_a_topic_has_one_type(tmp_path):
    with pytest.raises(BagError, match='/camera is a .*/Image, cannot append .*/Odometry'), \
            BagWriter(tmp_path / 'bag') as bag:
        bag.image('/camera', frames()[0])
        bag.odometry('/camera', pose_at(0))


def test_writing_needs_the_block(tmp_path):
    with pytest.raises(BagError, match='Bag was not opened'):
        BagWriter(tmp_path / 'bag').odometry('/odom', pose_at(0))


def test_a_stamp_that_ros_cannot_hold(tmp_path):
    with pytest.raises(BagError, match='bag: cannot be written'), \
            BagWriter(tmp_path / 'bag') as bag:
        bag.image('/camera', Frame(2**31 * SECOND, picture()))
