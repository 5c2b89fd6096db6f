# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weights files of our own, and released checkpoints."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from fakes import model_of
from recipe import make_state_dict
from safetensors.torch import save_file

from r2former_ros.errors import WeightsError
from r2former_ros.model import PRESETS, ModelSpec, load_model, read_header, save_weights
from r2former_ros.model.checkpoint import untrained_model
from r2former_ros.model.network import fingerprint_of
from r2former_ros.model.official import read_official, rename

SMALL = ModelSpec('tiny', 'deit_tiny_distilled_patch16_224', 64, 96, num_local=12)


@pytest.fixture(scope='module')
def official_state():
    """The released DeiT-S state dict, as it is saved: with the prefix of DataParallel."""
    state = make_state_dict('deit')
    return OrderedDict((f'module.{key}', torch.from_numpy(v)) for key, v in state.items())


def checkpoint_of(state):
    """Wrap a state dict as the released training code does."""
    return {
        'epoch_num': 12,
        'model_state_dict': state,
        'optimizer_state_dict': {'state': {}, 'param_groups': [{'lr': 1e-5}]},
        'recalls': np.array([79.3, 90.8, 92.6, 93.1]),
        'best_r5': np.float64(90.8),
        'not_improved_num': 0,
    }


def test_round_trip_keeps_every_weight_and_the_description(tmp_path):
    model = untrained_model(SMALL)
    save_weights(model, tmp_path / 'w.safetensors', config={'epochs': 3})
    loaded = load_model(tmp_path / 'w.safetensors')
    assert loaded.spec == SMALL
    assert loaded.fingerprint == fingerprint_of(model)
    assert read_header(tmp_path / 'w.safetensors')['config'] == {'epochs': 3}
    assert loaded.origin == model.origin and not loaded.origin.trained


def test_half_precision_file_is_half_the_size_and_close(tmp_path):
    model = untrained_model(SMALL)
    save_weights(model, tmp_path / 'full.safetensors')
    save_weights(model, tmp_path / 'half.safetensors', half=True)
    sizes = [(tmp_path / f'{name}.safetensors').stat().st_size for name in ('full', 'half')]
    assert 0.49 < sizes[1] / sizes[0] < 0.52
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    full = model_of(model).encode(image).descriptor
    half = load_model(tmp_path / 'half.safetensors').encode(image).descriptor
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(full, half).item() > 0.9999


def test_untrained_weights_are_the_same_every_time_and_leave_the_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = untrained_model(SMALL), untrained_model(SMALL)
    assert fingerprint_of(first) == fingerprint_of(second)
    assert torch.rand(1) == expected


def test_fingerprint_changes_with_a_weight_and_with_the_input_size(tmp_path):
    model = untrained_model(SMALL)
    save_weights(model, tmp_path / 'w.safetensors')
    resized = load_model(tmp_path / 'w.safetensors', image_height=96)
    assert resized.spec.input.height == 96 and resized.spec.input.width == 96
    other = untrained_model(SMALL)
    with torch.no_grad():
        other.reranker.ratio += 1e-3
    assert len({fingerprint_of(model), resized.fingerprint, fingerprint_of(other)}) == 3


@pytest.mark.parametrize(('text', 'match'), [
    ('nowhere.safetensors', 'no such weights file, nor a preset .tiny, small'),
    ('nowhere.pth', 'no such weights file'),
])
def test_missing_file_is_named(tmp_path, text, match):
    with pytest.raises(WeightsError, match=match):
        load_model(tmp_path / text)


def test_foreign_and_damaged_files_are_refused(tmp_path):
    foreign, damaged = tmp_path / 'a.safetensors', tmp_path / 'b.safetensors'
    save_file({'x': torch.zeros(2)}, str(foreign))
    damaged.write_bytes(b'\x10' * 100)
    with pytest.raises(WeightsError, match='not of r2former_ros'):
        load_model(foreign)
    with pytest.raises(WeightsError, match='not a readable safetensors file'):
        load_model(damaged)


def test_truncated_file_is_refused(tmp_path):
    path = tmp_path / 'w.safetensors'
    save_weights(untrained_model(SMALL), path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match='not a readable safetensors file'):
        load_model(path)


def test_unknown_device_is_refused():
    with pytest.raises(WeightsError, match='choose auto, cpu, cuda'):
        load_model('tiny', 'abacus')


def test_released_checkpoint_converts(tmp_path, official_state):
    torch.save(checkpoint_of(official_state), tmp_path / 'CVPR23_DeitS_Rerank.pth')
    model = read_official(tmp_path / 'CVPR23_DeitS_Rerank.pth')
    assert model.spec == PRESETS['small']
    assert model.origin.trained and model.origin.reranker_trained
    save_weights(model, tmp_path / 'small.safetensors')
    loaded = load_model(tmp_path / 'small.safetensors')
    assert loaded.fingerprint == fingerprint_of(model)
    assert loaded.origin.text == 'released checkpoint CVPR23_DeitS_Rerank.pth'
    key = 'module.Reranker.blocks_2.1.mlp.fc1.weight'
    assert torch.equal(loaded.network.reranker.block_1[1].mlp.fc1.weight, official_state[key])


def test_checkpoint_of_numpy_1_converts(tmp_path, official_state):
    """Numpy 1 pickled its arrays by the module name numpy.core."""
    whole = tmp_path / 'new.pth'
    torch.save(checkpoint_of(official_state), whole, pickle_module=_Numpy1Pickle)
    assert read_official(whole).origin.trained


def test_retrieval_checkpoint_converts_and_says_that_the_reranker_is_untrained(
    tmp_path, official_state
):
    bare = OrderedDict(
        (key.replace('module.backbone.', 'module.'), value)
        for key, value in official_state.items() if key.startswith('module.backbone.')
    )
    torch.save(checkpoint_of(bare), tmp_path / 'stage1.pth')
    model = read_official(tmp_path / 'stage1.pth')
    assert model.origin.trained and not model.origin.reranker_trained
    assert 'reranker untrained' in model.origin.text
    assert torch.equal(
        model.encoder.backbone.head.weight, official_state['module.backbone.head.weight']
    )


def test_missing_and_unexpected_tensors_are_listed(tmp_path, official_state):
    state = OrderedDict(official_state)
    del state['module.Reranker.pair_head.bias']
    state['module.extra.weight'] = torch.zeros(1)
    torch.save(checkpoint_of(state), tmp_path / 'w.pth')
    expected = r'missing reranker.pair_embedding.bias; unexpected extra.weight'
    with pytest.raises(WeightsError, match=expected):
        read_official(tmp_path / 'w.pth')


def test_checkpoint_that_would_run_code_is_refused_and_not_run(tmp_path, official_state):
    marker = tmp_path / 'ran'
    state = checkpoint_of(official_state)
    state['surprise'] = _Surprise(marker)
    torch.save(state, tmp_path / 'w.pth')
    with pytest.raises(WeightsError, match='would run code'):
        read_official(tmp_path / 'w.pth')
    assert not marker.exists()


def test_resnet50_checkpoint_converts(tmp_path):
    state = {f'module.{k}': torch.from_numpy(v) for k, v in make_state_dict('resnet50').items()}
    torch.save(checkpoint_of(state), tmp_path / 'w.pth')
    model = read_official(tmp_path / 'w.pth')
    assert model.spec == PRESETS['resnet50']
    assert torch.equal(model.encoder.projection.weight, state['module.aggregation.1.weight'])


def test_every_official_name_has_a_name_of_ours(official_state):
    ours = [rename(key.removeprefix('module.')) for key in official_state]
    assert len(set(ours)) == len(ours)
    assert sum(name.startswith(('encoder.', 'reranker.')) for name in ours) == len(ours) - 1


class _Surprise:
    """An object whose pickle writes a file when it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), 'w'))


class _Numpy1Pickle:
    """The pickle module, writing the old home of numpy's functions."""

    __name__ = 'pickle'

    class Pickler(pickle._Pickler):
        """A Python pickler whose globals can be renamed."""

        def save_global(self, obj, name=None):
            """Write numpy.core for numpy._core."""
            module = getattr(obj, '__module__', None) or ''
            if not module.startswith('numpy._core'):
                return super().save_global(obj, name)
            old = module.replace('numpy._core', 'numpy.core')
            self.write(pickle.GLOBAL + f'{old}\n{name or obj.__qualname__}\n'.encode())
            self.memoize(obj)
            return None

        dispatch = dict(pickle._Pickler.dispatch)
        dispatch[type(len)] = save_global
        dispatch[type(lambda: 0)] = save_global

    dump = pickle.dump
