# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Markers: a map has many places, so they are not sent with every image."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy')

from fakes import FakeModel, picture, recognizer_on

from r2former_ros.config import Config
from r2former_ros.geometry.drawing import GAP_PX
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.mapping.build import build_map
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.records import Frame, PosedFrame
from r2former_ros.ros import markers
from r2former_ros.ros.seen import Seen

pytestmark = pytest.mark.ros


class FakePublisher:
    """Keep what is published; somebody looks at markers only."""

    def __init__(self, topic):
        self.viewers = topic is markers.MARKERS
        self.messages = []

    def get_subscription_count(self):
        return int(self.viewers)

    def publish(self, message):
        self.messages.append(message)


def test_places_come_for_a_new_map_and_a_new_viewer_only(tmp_path, monkeypatch):
    monkeypatch.setattr(markers, 'create_publisher', lambda node, topic: FakePublisher(topic))
    frames = [PosedFrame(Frame(i, picture(i)), pose_from_yaw(5.0 * i, 0, 0), '') for i in range(6)]
    build_map(FakeModel(), tmp_path / 'm.r2map', frames, Config())
    drawn = markers.Pictures(SimpleNamespace())
    with PlaceMap.open(tmp_path / 'm.r2map') as place_map:
        recognizer = recognizer_on(place_map)
        recognition, features = recognizer.recognize_and_encode(
            recognizer.search.prepare(Frame(7, picture(2))))
        seen = Seen(recognizer, Frame(7, picture(2)), recognition, features, None)

        def places_shown(images, seen=seen):
            """Draw images and say which of them brought all six places."""
            del drawn._markers.messages[:]
            for _ in range(images):
                drawn.publish(seen)
            spaces = [[one.ns for one in sent.markers] for sent in drawn._markers.messages]
            assert all(names[-2:] == ['hypotheses', 'state'] for names in spaces)
            places = [one for sent in drawn._markers.messages for one in sent.markers
                      if one.ns == 'places']
            assert all(len(one.points) == 6 and one.frame_locked for one in places)
            return ['places' in names for names in spaces]

        assert places_shown(6) == [True] * markers.PLACES_REPEATS + [False] * 3
        drawn._markers.viewers = 2
        assert places_shown(5) == [True] * markers.PLACES_REPEATS + [False] * 2
        drawn._markers.viewers = 0
        assert places_shown(1) == []
        drawn._markers.viewers = 1
        assert places_shown(1) == [True]
        reloaded = replace(seen, recognizer=recognizer_on(place_map))
        assert places_shown(4, reloaded) == [True] * markers.PLACES_REPEATS + [False]


def test_the_debug_image_shows_query_and_place_with_lines(tmp_path):
    frames = [PosedFrame(Frame(i, picture(i)), pose_from_yaw(5.0 * i, 0, 0), '') for i in range(3)]
    build_map(FakeModel(), tmp_path / 'm.r2map', frames, Config())
    with PlaceMap.open(tmp_path / 'm.r2map') as place_map:
        recognizer = recognizer_on(place_map)
        frame = Frame(7, picture(2))
        recognition, features = recognizer.recognize_and_encode(recognizer.search.prepare(frame))
        seen = Seen(recognizer, frame, recognition, features, None)
        drawn = markers.debug_picture(seen)
        nothing = replace(seen, recognition=replace(recognition, hypotheses=()))
        bare = markers.debug_picture(nothing)
    assert drawn.shape == (240, 2 * 320 + GAP_PX, 3)
    gap = drawn[30:, 320:320 + GAP_PX]
    assert (gap != 255).any() and (bare[30:, 320:320 + GAP_PX] == 255).all()  # lines cross it
