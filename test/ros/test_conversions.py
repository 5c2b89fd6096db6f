# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of real ROS packages to records and back."""

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from fakes import picture
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField

from r2former_ros.errors import ImageError, PoseError
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.records import Hypothesis, Place
from r2former_ros.ros.conversions import (
    ADDED_LATER,
    HYPOTHESIS,
    LOOP,
    frame_from,
    header_from,
    hypotheses_from,
    hypotheses_message,
    loops_from,
    pose_message,
    stamp_from,
    stamp_ns_from,
)
from r2former_ros.sources.pictures import thumbnail_jpeg

pytestmark = pytest.mark.ros
STAMP_NS = 1_700_000_000_123_456_789


def over_the_wire(message):
    """Send a message through the serialisation that a publisher uses."""
    return deserialize_message(serialize_message(message), type(message))


def test_stamps_keep_every_nanosecond():
    for stamp_ns in (0, 1, 999_999_999, STAMP_NS):
        assert stamp_ns_from(stamp_from(stamp_ns)) == stamp_ns


def test_hypotheses_round_trip():
    known = Place(7, STAMP_NS, pose_from_yaw(1.5, -2.0, 2.0, 0.25), '')
    unknown = Place(4_000_000_000, 5, None, '')
    sent = [Hypothesis(known, 0.75, 0.875, 42, 0.625), Hypothesis(unknown, -0.25, 0.125)]
    message = over_the_wire(hypotheses_message(sent, 12_345_678_901, 'site'))
    received = hypotheses_from(message)
    assert (received.stamp_ns, received.frame_id) == (12_345_678_901, 'site')
    first, second = received.hypotheses
    assert (first.place.place_id, first.place.stamp_ns) == (7, STAMP_NS)
    assert (first.similarity, first.score, first.inliers) == (0.75, 0.875, 42)
    assert np.allclose(first.place.map_T_camera, known.map_T_camera, atol=1e-6)
    assert (second.place.place_id, second.place.map_T_camera) == (4_000_000_000, None)
    assert second.inliers == -1
    assert first.probability == 0.625 and np.isnan(second.probability)


def test_the_layout_is_one_that_any_reader_of_point_clouds_understands():
    place = Place(7, STAMP_NS, pose_from_yaw(1.5, -2.0, 0.0), '')
    message = hypotheses_message([Hypothesis(place, 0.5, 0.9, 3)] * 2, 0, 'map')
    offsets = {field.name: field.offset for field in message.fields}
    kinds = {field.name: field.datatype for field in message.fields}
    assert list(offsets) == ['x', 'y', 'z', 'qx', 'qy', 'qz', 'qw', 'score', 'similarity',
                             'inliers', 'place_id', 'stamp_sec', 'stamp_nanosec',
                             'x_m', 'y_m', 'z_m', 'probability', 'metric']
    assert (message.width, message.height, message.is_bigendian) == (2, 1, False)
    assert message.row_step == 2 * message.point_step == len(message.data)
    assert kinds['y'] == PointField.FLOAT32 and kinds['place_id'] == PointField.UINT32
    second = bytes(message.data)[message.point_step:]
    assert np.frombuffer(second, '<f4', 1, offsets['y'])[0] == -2.0
    assert np.frombuffer(second, '<i4', 1, offsets['stamp_sec'])[0] == STAMP_NS // 10**9


def test_positions_in_a_projected_frame_are_exact():
    place = Place(7, STAMP_NS, pose_from_yaw(691_608.73, 5_335_887.29, 0.3), '')
    message = over_the_wire(hypotheses_message([Hypothesis(place, 0.5, 0.9)], 0, 'utm'))
    (received,) = hypotheses_from(message).hypotheses
    assert received.place.map_T_camera[:2, 3].tolist() == [691_608.73, 5_335_887.29]


def cloud(points, step=None):
    """Make a point cloud of a structured array, as any other node might."""
    kinds = {'<f4': PointField.FLOAT32, '<f8': PointField.FLOAT64, '<i4': PointField.INT32,
             '<u4': PointField.UINT32}
    fields = [PointField(name=name, offset=offset, datatype=kinds[kind.str], count=1)
              for name, (kind, offset) in points.dtype.fields.items()]
    step = step or points.dtype.itemsize
    return PointCloud2(height=1, width=len(points), fields=fields, point_step=step,
                       row_step=step * len(points), data=points.tobytes())


def test_recordings_of_earlier_versions_are_read():
    earlier = np.dtype([one for one in HYPOTHESIS.descr if one[0] not in ADDED_LATER])
    points = np.zeros(1, earlier)
    points['x'], points['qw'], points['place_id'] = 3.5, 1.0, 9
    (received,) = hypotheses_from(cloud(points)).hypotheses
    assert received.place.place_id == 9 and received.place.map_T_camera[0, 3] == 3.5


def foreign():
    """Yield messages that other nodes may send to the same topic, or that are damaged."""
    yield cloud(np.zeros(3, [('x', '<f4'), ('y', '<f4'), ('z', '<f4')]))
    yield cloud(np.zeros(2, HYPOTHESIS))  # hypotheses where loop closures are expected
    yield cloud(np.zeros(2, [(name, '<f8') for name in LOOP.names]))
    cut = cloud(np.zeros(2, LOOP))
    cut.data = cut.data[:-1]
    yield cut
    yield cloud(np.zeros(1, LOOP), step=8)
    big = cloud(np.zeros(1, LOOP))
    big.is_bigendian = True
    yield big
    yield cloud(np.zeros(1, LOOP))  # a quaternion of zeros
    yield cloud(np.zeros(0, [('x', '<f4')]))


@pytest.mark.parametrize('message', list(foreign()))
def test_messages_of_another_kind_are_refused(message):
    with pytest.raises(PoseError, match='not a message of|is not a rotation|outside the point'):
        loops_from(over_the_wire(message))


def test_no_hypotheses_are_an_empty_cloud():
    message = over_the_wire(hypotheses_message([], 5, 'map'))
    assert isinstance(message, PointCloud2) and message.width == 0
    assert hypotheses_from(message).hypotheses == ()


def test_raw_and_compressed_images_become_frames():
    image = picture(3)
    header = header_from(STAMP_NS, 'camera')
    raw = Image(header=header, height=48, width=64, encoding='bgr8', step=192,
                data=np.ascontiguousarray(image[..., ::-1]).tobytes())
    frame = frame_from(over_the_wire(raw))
    assert (frame.stamp_ns, frame.frame_id) == (STAMP_NS, 'camera')
    assert np.array_equal(frame.image, image)
    jpeg = CompressedImage(header=header, format='jpeg', data=thumbnail_jpeg(image, 64, 95))
    decoded = frame_from(over_the_wire(jpeg)).image.astype(int)
    assert decoded.shape == image.shape and np.abs(decoded - image).mean() < 12


def test_bad_pixels_are_an_image_error():
    with pytest.raises(ImageError, match='made_up8'):
        frame_from(Image(height=4, width=4, encoding='made_up8', step=4, data=bytes(16)))
    cut = thumbnail_jpeg(picture(1), 64)[:-40]
    with pytest.raises(ImageError, match='truncated|end'):
        frame_from(CompressedImage(format='jpeg', data=cut))


def test_pose_message_carries_pose_and_covariance():
    covariance = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    message = over_the_wire(
        pose_message(pose_from_yaw(3.0, 4.0, np.pi / 2), covariance, STAMP_NS, 'map')
    )
    pose = message.pose.pose
    assert (pose.position.x, pose.position.y) == (3.0, 4.0)
    assert (pose.orientation.z, pose.orientation.w) == pytest.approx((0.5**0.5, 0.5**0.5))
    assert np.array_equal(np.reshape(message.pose.covariance, (6, 6)), covariance)
    assert message.header.frame_id == 'map' and stamp_ns_from(message.header.stamp) == STAMP_NS
