# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Checkpoints of the released code (bytedance/R2Former), read without running a pickle.

They are dictionaries with ``model_state_dict`` next to training state; keys carry the prefix of
DataParallel. A checkpoint of the first training stage holds only the retrieval network.
"""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import WeightsError
from .file_kind import refuse_other_kinds
from .network import Origin, R2Former
from .spec import PRESETS, ModelSpec

OFFICIAL_SUFFIXES = ('.pth', '.pt', '.tar', '.ckpt')
CONTAINERS = ('model_state_dict', 'state_dict', 'model')
"""Keys under which training code stores the tensors, Lightning's among them."""
WRAPPERS = ('module.', 'model.', 'net.', 'network.')
"""Prefixes that DataParallel and Lightning modules put before every name."""
COMPILED = '_orig_mod.'
"""What torch.compile puts into names."""
UNUSED = ('Reranker.decoder_pos_embed',)
"""Tensors of the released network that its forward pass never reads."""

RERANKER_NAMES = (
    (r'^Reranker\.pair_head\.', 'reranker.pair_embedding.'),
    (r'^Reranker\.pair_head_2\.', 'reranker.pair_projection.'),
    (r'^Reranker\.blocks_2\.', 'reranker.block_1.'),
    (r'^Reranker\.blocks\.', 'reranker.block_2.'),
    (r'^Reranker\.cls_token_2$', 'reranker.class_token_1'),
    (r'^Reranker\.cls_token$', 'reranker.class_token_2'),
    (r'^Reranker\.decoder_norm\.', 'reranker.norm.'),
    (r'^Reranker\.decoder_pred\.', 'reranker.head.'),
    (r'^Reranker\.ratio$', 'reranker.ratio'),
)
ENCODER_NAMES = (
    (r'^backbone\.([0-3])\.', r'encoder.stem.\1.'),
    (r'^backbone\.4\.', 'encoder.layers.0.'),
    (r'^backbone\.5\.', 'encoder.layers.1.'),
    (r'^backbone\.6\.', 'encoder.layers.2.'),
    (r'^backbone\.7\.', 'encoder.layers.3.'),
    (r'^backbone\.', 'encoder.backbone.'),
    (r'^aggregation\.0\.1\.', 'encoder.gem.'),
    (r'^aggregation\.1\.', 'encoder.projection.'),
    (r'^local_head\.', 'encoder.local_head.'),
)
WIDTHS = {192: 'tiny', 384: 'small', 768: 'base'}

StateDict = dict[str, torch.Tensor]


def read_official(path: Path, size: tuple[int, int] | None = None) -> R2Former:
    """
    Read a checkpoint of the released code.

    :param size: training size (height, width) in pixels, needed only if the number of position
        embeddings is ambiguous (it is not for 480x640 and for squares).
    :raises WeightsError: if it is missing, would run code, or lacks or adds tensors.
    """
    refuse_other_kinds(path)
    state = _unpickle_tensors(path)
    whole = any(key.startswith('Reranker.') for key in state)
    try:
        model = model_from_official(state, size)
    except WeightsError as error:
        raise WeightsError(f'{path}: {error.message}', error.remedy) from error
    what = 'released checkpoint' if whole else 'released retrieval checkpoint, reranker untrained'
    model.origin = Origin(f'{what} {path.name}', trained=True, reranker_trained=whole)
    return model


def model_from_official(state: StateDict, size: tuple[int, int] | None = None) -> R2Former:
    """
    Build the model that an official state dict (without prefixes) belongs to.

    :raises WeightsError: listing tensors that are missing or unexpected.
    """
    torch.manual_seed(0)
    model = R2Former(_spec_of(state, size))
    tensors = {rename(key): tensor for key, tensor in state.items() if key not in UNUSED}
    expected = model.state_dict()
    if not any(key.startswith('reranker.') for key in tensors):
        untrained = ('reranker.', 'encoder.local_head.')
        tensors |= {k: v for k, v in expected.items() if k.startswith(untrained)}
    _check_names(set(tensors), set(expected))
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError('tensors of other shapes: ' + ' '.join(str(error).split())) from error
    return model.eval()


def rename(key: str) -> str:
    """Translate an official tensor name into ours; return an unknown name unchanged."""
    for pattern, name in (*RERANKER_NAMES, *ENCODER_NAMES):
        renamed, count = re.subn(pattern, name, key)
        if count:
            return renamed
    return key


def _unpickle_tensors(path: Path) -> StateDict:
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f'{path}: no such weights file') from error
    except pickle.UnpicklingError as error:
        wanted = re.search(r'GLOBAL (\S+)', str(error))
        if wanted is None:  # not even a pickle
            raise WeightsError(f'{path}: is not a PyTorch checkpoint') from error
        raise WeightsError(f'{path}: refused, because reading it would run code '
                           f'({wanted.group(1)}); only tensors and numpy scalars are accepted') \
            from error
    except Exception as error:  # whatever the reader of pickles meets in other files
        reason = ' '.join(str(error).split())
        raise WeightsError(f'{path}: is not a PyTorch checkpoint ({reason})') from error
    return _strip(checkpoint, path)


def _strip(checkpoint: Any, path: Path) -> StateDict:
    """Extract the tensors of a checkpoint, under the same names for both stages."""
    state = checkpoint
    if isinstance(checkpoint, dict):
        state = next((checkpoint[key] for key in CONTAINERS
                      if isinstance(checkpoint.get(key), dict)), checkpoint)
    if not isinstance(state, dict) or not state \
            or not all(isinstance(key, str) for key in state) \
            or not all(map(torch.is_tensor, state.values())):
        raise WeightsError(f'{path}: holds no model_state_dict of named tensors')
    tensors = _unwrapped(state)
    if 'cls_token' in tensors:  # stage one saves the bare backbone
        tensors = {f'backbone.{key}': value for key, value in tensors.items()}
    return tensors


def _unwrapped(state: StateDict) -> StateDict:
    """Remove what training code puts before names, however often it was wrapped."""
    state = {key.replace(COMPILED, ''): value for key, value in state.items()}
    while wrapper := next((one for one in WRAPPERS if all(key.startswith(one) for key in state)),
                          None):
        state = {key.removeprefix(wrapper): value for key, value in state.items()}
    return {key.removeprefix('module.'): value for key, value in state.items()}


def _spec_of(state: StateDict, size: tuple[int, int] | None) -> ModelSpec:
    """Infer the architecture from the shapes of the tensors."""
    unused = state.get('Reranker.decoder_pos_embed')
    num_local = 500 if unused is None else (unused.shape[1] - 1) // 2
    if 'aggregation.1.weight' in state:
        spec = replace(PRESETS['resnet50'], descriptor_dim=len(state['aggregation.1.weight']))
        height, width = size or (spec.image_height, spec.image_width)
    elif 'backbone.pos_embed' in state and 'backbone.head.weight' in state:
        embedding = state['backbone.pos_embed']
        spec = _vit_spec(int(embedding.shape[2]))
        spec = replace(spec, descriptor_dim=len(state['backbone.head.weight']))
        height, width = size or _trained_size(embedding.shape[1] - 2)
    else:
        raise WeightsError('neither a DeiT nor a ResNet50 checkpoint of the released code')
    if 'local_head.weight' in state:
        spec = replace(spec, local_dim=len(state['local_head.weight']))
    return replace(spec, image_height=height, image_width=width, num_local=num_local)


def _vit_spec(width: int) -> ModelSpec:
    if width not in WIDTHS:
        raise WeightsError(f'a ViT of width {width}; known are {", ".join(map(str, WIDTHS))}')
    name = WIDTHS[width]
    backbone = f'deit_{name}_distilled_patch16_224'
    # Every released checkpoint has the shift and DeiT's patches, whatever our presets do.
    return replace(PRESETS['small'], preset=name, backbone=backbone)


def _trained_size(patches: int) -> tuple[int, int]:
    if patches == 30 * 40:
        return 480, 640
    side = isqrt(patches)
    if side * side != patches:
        raise WeightsError(f'{patches} position embeddings do not tell the training size',
                           'give height and width')
    return side * 16, side * 16


def _check_names(found: set[str], expected: set[str]) -> None:
    missing, unexpected = sorted(expected - found), sorted(found - expected)
    if missing or unexpected:
        parts = [f'missing {", ".join(missing)}'] if missing else []
        parts += [f'unexpected {", ".join(unexpected)}'] if unexpected else []
        raise WeightsError('; '.join(parts))


def _numpy_scalars() -> list[Any]:
    """List the numpy types in which the released code stores recalls: data, not code."""
    from numpy._core.multiarray import _reconstruct, scalar

    named = [(function, f'numpy.{core}.multiarray.{function.__name__}')
             for function in (_reconstruct, scalar) for core in ('core', '_core')]
    return [np.ndarray, np.dtype, np.dtypes.Float64DType, *named]
