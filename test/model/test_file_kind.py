# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files that users took for weights, and checkpoints as other training code wraps them."""

import os
import pickle
import stat

import cv2
import numpy as np
import pytest
import torch
from recipe import make_state_dict

from r2former_ros.errors import WeightsError
from r2former_ros.model.checkpoint import load_network, save_weights
from r2former_ros.model.official import read_official

PICTURE = cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes()
OTHERS = {
    'an HTML page': (b'<!DOCTYPE html><html>', 'is a web page'),
    'an HTML page after blanks': (b'\xef\xbb\xbf\n  <html>', 'is a web page'),
    'a pointer': (b'version https://git-lfs.github.com/spec/v1\noid sha256:ab\n', 'git lfs pull'),
    'a photo': (PICTURE, 'is a JPEG picture, not weights'),
    'an archive': (b'\x1f\x8b\x08abc', 'is a gzip archive, not weights; unpack it'),
    'nothing': (b'', 'is empty'),
    'an error of a server': (b'{"error": "not found"}', 'is a JSON file, not weights'),
    'text': (b'Please log in', 'is not a '),
    'bytes': (bytes(range(256)), 'is not a '),
    'numbers': (pickle.dumps([1, 2]), 'is not a |holds no'),
}


@pytest.mark.parametrize('ending', ['.pth', '.safetensors', '.ckpt'])
@pytest.mark.parametrize('name', OTHERS)
def test_a_file_of_another_kind_is_called_by_its_name(tmp_path, name, ending):
    content, match = OTHERS[name]
    path = tmp_path / f'weights{ending}'
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=match) as caught:
        load_network(path)
    assert 'run code' not in str(caught.value)


@pytest.mark.parametrize('content', [{0: torch.zeros(1)}, {'state_dict': {0: torch.zeros(1)}},
                                     [torch.zeros(1)], torch.zeros(1), {'a': 3}, {}])
def test_a_checkpoint_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(WeightsError, match='holds no model_state_dict of named tensors'):
        read_official(tmp_path / 'x.pth')


@pytest.mark.parametrize(('container', 'prefix'), [
    ('model_state_dict', 'module.'), ('state_dict', 'model.'), ('state_dict', 'model._orig_mod.'),
    (None, '_orig_mod.module.'), ('state_dict', 'net.module.'),
])
def test_wrapped_checkpoints_are_unwrapped(tmp_path, container, prefix):
    plain = {key: torch.from_numpy(value) for key, value in make_state_dict('deit').items()}
    wrapped = {f'{prefix}{key}': value for key, value in plain.items()}
    torch.save({container: wrapped, 'epoch': 3} if container else wrapped, tmp_path / 'x.ckpt')
    torch.save(plain, tmp_path / 'plain.pth')
    read, expected = (read_official(tmp_path / name) for name in ('x.ckpt', 'plain.pth'))
    assert all(torch.equal(tensor, expected.state_dict()[key])
               for key, tensor in read.state_dict().items())


def test_weights_are_as_readable_as_any_other_file(tmp_path):
    """The umask decides, not the library that writes them."""
    before = os.umask(0o022)
    try:
        save_weights(load_network('tiny'), tmp_path / 'w.safetensors')
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / 'w.safetensors').stat().st_mode) == 0o644
