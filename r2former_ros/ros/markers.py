# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a person sees in RViz: markers and a debug image, made only while subscribed."""

from __future__ import annotations

from weakref import ref

import cv2
import numpy as np
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMessage
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from ..config import Config
from ..geometry.drawing import draw_matches, side_by_side
from ..recognizer import Recognizer
from ..records import Hypothesis, Image, Recognition, State
from ..sources.encodings import decode_compressed
from .conversions import header_from
from .interface import DEBUG_IMAGE, MARKERS, create_publisher
from .seen import Seen

GREY = ColorRGBA(r=0.6, g=0.6, b=0.6, a=0.8)
COLOURS = {
    State.LOST: ColorRGBA(r=0.9, g=0.2, b=0.2, a=1.0),
    State.CANDIDATE: ColorRGBA(r=0.95, g=0.7, b=0.1, a=1.0),
    State.LOCALIZED: ColorRGBA(r=0.2, g=0.8, b=0.3, a=1.0),
}
PLACES_REPEATS = 3
"""Number of images sent with the places: the first may be lost while a viewer connects."""
PICTURE_HEIGHT = 240
WHITE, FONT = (255, 255, 255), cv2.FONT_HERSHEY_SIMPLEX


class Pictures:
    """The publishers of markers and the debug image."""

    def __init__(self, node: LifecycleNode) -> None:
        self.config = Config()
        self._shown: ref[Recognizer] | None = None  # weak: a map that is closed can be freed
        self._places: Marker | None = None
        self._places_due = 0
        self._viewers = 0
        self._markers = create_publisher(node, MARKERS)
        self._debug_image = create_publisher(node, DEBUG_IMAGE)

    def publish(self, seen: Seen) -> None:
        """Draw one image's result for the topics that have subscribers."""
        if self._shown is None or self._shown() is not seen.recognizer:
            self._shown, self._places = ref(seen.recognizer), None
            self._places_due = PLACES_REPEATS
        before, self._viewers = self._viewers, self._markers.get_subscription_count()
        if self._viewers > before:
            self._places_due = PLACES_REPEATS
        if self._viewers:
            self._markers.publish(self._marker_array(seen.recognizer, seen.recognition))
        if self._debug_image.get_subscription_count():
            self._debug_image.publish(image_message(
                debug_picture(seen), seen.recognition.stamp_ns, seen.frame.frame_id))

    def _marker_array(self, recognizer: Recognizer, recognition: Recognition) -> MarkerArray:
        """Return the markers of one image, with the places for a new map or subscriber."""
        first = recognition.hypotheses[: self.config.node.hypotheses]
        markers = [hypotheses_marker(first), state_marker(recognition)]
        if self._places_due:
            self._places_due -= 1
            if self._places is None:
                self._places = places_marker(recognizer)
            markers.insert(0, self._places)
        header = header_from(recognition.stamp_ns, self.config.map.frame_id)
        for marker in markers:
            marker.header = header
        return MarkerArray(markers=markers)


def places_marker(recognizer: Recognizer) -> Marker:
    """Return all places of known pose as grey points, which move with the map's frame."""
    marker = _marker('places', Marker.POINTS, 0.5)
    marker.frame_locked = True
    marker.color = GREY
    places = recognizer.search.places
    marker.points = [_point(one) for one in places.positions[places.with_pose()]]
    return marker


def hypotheses_marker(hypotheses: tuple[Hypothesis, ...]) -> Marker:
    """Return hypotheses as spheres, red for score 0 to green for 1."""
    marker = _marker('hypotheses', Marker.SPHERE_LIST, 1.0)
    for one in hypotheses:
        if one.place.map_T_camera is not None:
            marker.points.append(_point(one.place.map_T_camera[:3, 3]))
            marker.colors.append(
                ColorRGBA(r=1 - one.score, g=one.score, b=0.1, a=0.4 + 0.6 * one.score))
    if not marker.points:
        marker.action = Marker.DELETE
    return marker


def state_marker(recognition: Recognition) -> Marker:
    """Return the state as text above the most probable place."""
    marker = _marker('state', Marker.TEXT_VIEW_FACING, 2.0)
    marker.color = COLOURS[recognition.state]
    marker.text = recognition.state.value
    belief = recognition.belief
    if belief is not None:
        marker.text += f' {belief.probability:.2f}'
        if belief.place.map_T_camera is not None:
            marker.pose.position = _point(belief.place.map_T_camera[:3, 3] + [0, 0, 3.0])
    return marker


def debug_picture(seen: Seen) -> Image:
    """Draw the query beside its best match, (H, W, 3) RGB, with lines between matched patches."""
    search, best = seen.recognizer.search, seen.recognition.best
    place = _thumbnail(seen.recognizer, best)
    if best is None:
        picture = side_by_side(seen.frame.image, place, PICTURE_HEIGHT)[0]
    else:
        spec = search.model.spec
        picture = draw_matches(
            seen.frame.image, seen.features.local_features_of(0),
            place, search.local_features(best.place.place_id),
            input_px=(spec.image_height, spec.image_width), height_px=PICTURE_HEIGHT,
        ).picture
    cv2.putText(picture, _caption(seen.recognition), (6, 18), FONT, 0.5, WHITE, 1, cv2.LINE_AA)
    return picture


def image_message(image: Image, stamp_ns: int, frame_id: str) -> ImageMessage:
    """Return an RGB image (H, W, 3) as a message."""
    height, width = image.shape[:2]
    return ImageMessage(
        header=header_from(stamp_ns, frame_id), height=height, width=width, encoding='rgb8',
        step=3 * width, data=image.tobytes(),
    )


def _caption(recognition: Recognition) -> str:
    best = recognition.best
    if best is None:
        return f'{recognition.state.value}, no place'
    return f'{recognition.state.value}, place {best.place.place_id}, score {best.score:.2f}'


def _thumbnail(recognizer: Recognizer, best: Hypothesis | None) -> Image:
    """Return the picture of a place, black if the map holds none."""
    jpeg = recognizer.search.place_map.thumbnail(best.place.place_id) if best else b''
    if not jpeg:
        return np.zeros((PICTURE_HEIGHT, PICTURE_HEIGHT * 4 // 3, 3), np.uint8)
    return decode_compressed(CompressedImage(format='jpeg', data=jpeg))


def _marker(namespace: str, kind: int, size_m: float) -> Marker:
    marker = Marker(ns=namespace, type=kind, action=Marker.ADD)
    marker.scale.x = marker.scale.y = marker.scale.z = size_m
    marker.pose.orientation.w = 1.0
    return marker


def _point(xyz: NDArray[np.float64]) -> Point:
    x, y, z = map(float, xyz)
    return Point(x=x, y=y, z=z)
