# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Our DeiT and blocks against those of timm, bit for bit; and what inference does not import."""

import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn

from r2former_ros.model.deit import BACKBONES, DistilledDeit
from r2former_ros.model.transformer import make_blocks

timm = pytest.importorskip('timm')

from timm.models.vision_transformer import Block

SIZE = (64, 96)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_a_seed_gives_the_weights_of_timm(backbone):
    torch.manual_seed(3)
    ours = DistilledDeit(backbone, SIZE, 256).state_dict()
    torch.manual_seed(3)
    theirs = timm.create_model(backbone, img_size=SIZE, num_classes=256).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize('fused', [True, False])
@torch.no_grad()
def test_a_block_computes_what_timm_computes(fused):
    torch.manual_seed(0)
    (ours,) = make_blocks(1, width=32, heads=4)
    theirs = Block(32, 4, qkv_bias=True, norm_layer=partial(nn.LayerNorm, eps=1e-6))
    theirs.load_state_dict(ours.state_dict())
    ours.attn.fused_attn = theirs.attn.fused_attn = fused
    tokens = torch.randn(2, 7, 32)
    assert torch.equal(ours(tokens), theirs(tokens))


def test_inference_with_the_bundled_weights_imports_no_timm():
    """It would take twice as long as PyTorch, which is most of the time to the first answer."""
    code = ('import sys; from r2former_ros.model import load_model; load_model("r2former-tiny"); '
            'import r2former_ros.recognizer; '
            'print([m for m in ("timm", "torchvision", "torch._dynamo") if m in sys.modules])')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == '[]'
