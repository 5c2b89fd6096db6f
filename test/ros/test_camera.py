# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The watch on the camera: silence, and pictures that show nothing new."""

import numpy as np
from fakes import picture

from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.ros.camera import CameraWatch, Sight

WARNING_S = 5.0


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self):
        self.s = 0.0

    def __call__(self):
        return self.s


def looked(pictures, poses=None, period_s=0.5):
    """Return a watch that has seen pictures, one every half second from second 0."""
    watch = CameraWatch(Clock())
    for i, image in enumerate(pictures):
        watch.clock.s = i * period_s
        watch.arrived()
        watch.look(image, poses[i] if poses else None)
    return watch


def test_pictures_that_change_are_fine():
    watch = looked([picture(seed) for seed in range(4)])
    assert watch.sight(WARNING_S) is Sight.OK
    watch.clock.s += 0.5
    assert watch.blind_s() == 0.5


def test_silence_counts_from_the_last_message_and_ends_with_the_next():
    watch = looked([picture(0)])
    watch.clock.s = WARNING_S
    assert watch.sight(WARNING_S) is Sight.OK
    watch.clock.s = 7.0
    assert watch.sight(WARNING_S) is Sight.SILENT and watch.blind_s() == 7.0
    watch.arrived()
    assert watch.sight(WARNING_S) is Sight.OK


def test_a_picture_that_stays_the_same_is_frozen_after_a_second():
    assert looked([picture(0)] * 2).sight(WARNING_S) is Sight.OK
    watch = looked([picture(1), *[picture(0)] * 5])
    assert watch.sight(WARNING_S) is Sight.FROZEN
    watch.clock.s = 5.0
    assert watch.blind_s() == 4.0  # at 1.0 s it had not lasted yet
    assert watch.look(picture(2), None) is Sight.OK and watch.blind_s() == 0.0


def test_a_robot_that_stands_still_may_render_the_same_picture():
    still = [pose_from_yaw(1.0, 2.0, 0.3)] * 5
    assert looked([picture(0)] * 5, still).sight(WARNING_S) is Sight.OK
    driving = [pose_from_yaw(0.5 * i, 2.0, 0.3) for i in range(5)]
    assert looked([picture(0)] * 5, driving).sight(WARNING_S) is Sight.FROZEN
    turning = [pose_from_yaw(1.0, 2.0, 0.1 * i) for i in range(5)]
    assert looked([picture(0)] * 5, turning).sight(WARNING_S) is Sight.FROZEN


def test_a_covered_lens_shows_only_noise():
    noise = np.random.default_rng(0).normal(8, 1.5, (2, 48, 64, 3)).clip(0, 255).astype(np.uint8)
    watch = looked([picture(0), *noise])
    assert watch.sight(WARNING_S) is Sight.COVERED and watch.blind_s() == 1.0


def test_images_that_cannot_be_decoded_are_a_condition_only_when_they_last():
    watch = looked([picture(0)])
    for _ in range(2):
        watch.clock.s += 1.0
        watch.arrived()
        watch.unusable()
    assert watch.sight(WARNING_S) is Sight.OK
    watch.unusable()
    assert watch.sight(WARNING_S) is Sight.UNUSABLE
    assert watch.look(picture(1), None) is Sight.OK
