# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch

from r2former_ros.training.data.partners import (
    UNKNOWN,
    is_true_partner,
    partners_by_homography,
    patch_centres,
)
from r2former_ros.training.data.shots import group_of, shots_of_pictures

SIZE = (48, 64)  # 3 x 4 patches


def test_a_shift_by_a_patch_moves_every_partner_and_loses_the_last_column():
    shift = np.array([[1.0, 0, 16], [0, 1, 0], [0, 0, 1]])
    partners = partners_by_homography(np.eye(3), shift, SIZE, SIZE).reshape(3, 4, 2)
    assert partners[1, :3].tolist() == [[1, 1], [2, 1], [3, 1]]
    assert np.isnan(partners[:, 3]).all()


def test_what_a_view_mirrors_beyond_the_picture_has_no_partner():
    shift = np.array([[1.0, 0, 32], [0, 1, 0], [0, 0, 1]])  # the left half of both is mirrored
    partners = partners_by_homography(shift, shift, SIZE, SIZE).reshape(3, 4, 2)
    assert np.isnan(partners[:, :2]).all()
    assert partners[2, 2:].tolist() == [[2, 2], [3, 2]]


def test_a_best_partner_is_true_near_the_true_one():
    centres = (torch.from_numpy(patch_centres(SIZE)).float() + 0.5) / 64
    pairs = torch.zeros(1, 24, 5, 7)
    pairs[:, :12, 0, 3:5] = centres  # every patch has found its own place
    pairs[:, 12:, 0, :2] = centres
    own = torch.tensor([[x, y] for y in range(3) for x in range(4)]).float().repeat(2, 1)
    partners = own + torch.tensor([1.2, 0.0])
    partners[1] += 0.2
    partners[2], partners[3], partners[20] = torch.nan, torch.inf, torch.inf
    labels = is_true_partner(pairs, partners[None], SIZE)[0]
    assert labels[1:4].tolist() == [0.0, 0.0, UNKNOWN]
    assert labels[20] == UNKNOWN
    assert labels[[0, *range(4, 20), 21, 22, 23]].eq(1).all()


def test_shots_of_pictures_know_where_their_patches_are():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (40, 96, 128, 3), dtype=np.uint8)
    shots = list(shots_of_pictures(pictures, [str(row) for row in range(40)], SIZE, seed=1))
    queries = [shot for shot in shots if shot.positive is not None]
    assert 24 <= len(queries) <= 38
    own = np.array([[x, y] for y in range(3) for x in range(4)] * 2)
    moved = []
    for shot in queries:
        assert shots[shot.positive].group == shot.group
        assert shots[shot.positive].positive is None
        moved.append(np.nanmean(np.abs(shot.partners - own)))
    still = np.array(moved) < 0.3
    assert 5 <= still.sum() <= 20  # a third from the same view
    mirrored = [row for row, shot in enumerate(shots) if 'mirrored' in shot.group]
    place = shots[int(shots[mirrored[0]].group.split()[-1])]
    assert (shots[mirrored[0]].image == place.image[:, ::-1]).all()


def test_shots_repeat_themselves():
    pictures = np.random.default_rng(0).integers(0, 255, (5, 96, 128, 3), dtype=np.uint8)
    runs = [list(shots_of_pictures(pictures, 'abcde', SIZE, seed=3)) for _ in range(2)]
    assert all((one.image == two.image).all() for one, two in zip(*runs, strict=True))


@pytest.mark.parametrize(('name', 'group'), [
    ('tower__floor3__hall_a_frame_000009.jpg', 'floor3'),
    ('floor3__hall_b_frame_000001.jpg', 'floor3'),
    ('walk_frame_12.jpg', 'walk'),
    ('kitti__seq00__000060.jpg', 'kitti__seq00__'),
    ('houses__kitchen__12_kitchen.jpg', 'houses__kitchen__12_kitchen'),
])
def test_pictures_of_a_group_may_show_one_place(name, group):
    assert group_of(Path(name)) == group
