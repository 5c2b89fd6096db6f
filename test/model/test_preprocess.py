# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of any size to the network's input."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from r2former_ros.model.preprocess import InputSpec, preprocess

SPEC = InputSpec(48, 64, mean=(0.1, 0.5, 0.9), std=(0.2, 0.3, 0.4))


@pytest.mark.parametrize('height, width', [
    (48, 64), (480, 640), (1080, 1920), (1217, 1937), (101, 37), (48, 200), (8, 11), (47, 65),
])
def test_resizing_first_gives_what_resizing_last_does(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    scaled = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (SPEC.mean, SPEC.std))
    expected = F.interpolate((scaled - mean) / std, size=(48, 64), mode='bilinear',
                             align_corners=False)
    pixels = preprocess(image, SPEC)
    assert pixels.dtype == torch.float32 and pixels.is_contiguous()
    assert torch.allclose(pixels, expected, atol=1e-3)  # where noise meets a rounded place


def test_a_picture_turned_upside_down_need_not_be_copied_first():
    image = np.random.default_rng(0).integers(0, 256, (100, 90, 3), np.uint8)
    assert torch.equal(preprocess(image[::-1], SPEC), preprocess(image[::-1].copy(), SPEC))
