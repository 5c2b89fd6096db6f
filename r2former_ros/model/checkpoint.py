# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Weights files: safetensors with a header that describes them.

A file is self-contained: its header holds the architecture, the origin of the weights and the
effective configuration of their training. No pickle is ever executed (see ``official``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file

from .. import __version__
from ..common.files import replacing
from ..common.process import cache_folder
from ..errors import WeightsError
from .file_kind import refuse_other_kinds
from .network import Origin, R2Former
from .official import OFFICIAL_SUFFIXES, read_official
from .spec import PRESETS, ModelSpec
from .vit_encoder import is_timm_model, timm_spec

FORMAT = 'r2former_ros weights'
FORMAT_VERSION = 1
UNTRAINED_SEED = 0
SUFFIXES = ('.safetensors', *OFFICIAL_SUFFIXES)
BUNDLED = {'r2former-tiny': Path(__file__).parents[1] / 'weights' / 'r2former-tiny.safetensors'}
"""Weights shipped with the package, by name."""


def load_network(
    weights: str | Path,
    device: str | torch.device = 'cpu',
    *,
    image_height: int = 0,
    image_width: int = 0,
) -> R2Former:
    """
    Load a network in evaluation mode.

    :param weights: a ``.safetensors`` file, an official ``.pth`` checkpoint, the name
        of bundled or downloaded weights, or that of a preset or of a ViT of timm, which gives an
        untrained network with a fixed seed.
    :param device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: CUDA where it works.
    :param image_height: overrides the size in the weights; 0 keeps it. Likewise the width.
    :raises WeightsError: if the file is missing, damaged or of another kind.
    """
    name = str(weights)
    if name in PRESETS:
        model = untrained_model(PRESETS[name])
    elif named := _named_weights(name):
        model = _read_file(named)
    elif Path(name).suffix in SUFFIXES or not is_timm_model(name):
        model = _read_file(Path(weights))
    else:
        model = untrained_model(timm_spec(name))
    resized = model.spec.with_size(image_height, image_width)
    if resized != model.spec:
        # Position embeddings are fitted at run time from the size they were trained with.
        model.spec = resized
    return model.to(resolve_device(device)).eval()


def downloaded_weights(name: str) -> Path:
    """Return where ``r2former weights get`` keeps weights of a name."""
    return cache_folder() / 'weights' / f'{name}{SUFFIXES[0]}'


def _named_weights(name: str) -> Path | None:
    """Return the file of bundled or downloaded weights."""
    if name in BUNDLED:
        return BUNDLED[name]
    plain = Path(name).name == name  # not a path
    return downloaded_weights(name) if plain and downloaded_weights(name).is_file() else None


def untrained_model(spec: ModelSpec) -> R2Former:
    """Build a network with random weights from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        return R2Former(spec)


def save_weights(
    model: R2Former, path: str | Path, *, config: dict[str, Any] | None = None, half: bool = False
) -> None:
    """
    Write weights with their description.

    :param config: settings the weights were trained with; stored as they are.
    :param half: store float16, half the size.
    """
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    header = {
        'format': FORMAT,
        'format_version': str(FORMAT_VERSION),
        'package_version': __version__,
        'spec': json.dumps(model.encoder.spec.to_dict()),
        'origin': json.dumps(model.origin.__dict__),
        'config': json.dumps(config or {}),
    }
    with replacing(path) as part:  # safetensors gives its files to their owner alone
        save_file(tensors, str(part), metadata=header)


def read_header(path: str | Path) -> dict[str, Any]:
    """
    Read the description of a weights file without its tensors.

    :raises WeightsError: if the file is missing, not a safetensors file, or not one of ours.
    """
    refuse_other_kinds(Path(path))
    try:
        with safetensors.safe_open(str(path), framework='pt') as file:
            header = file.metadata() or {}
    except FileNotFoundError as error:
        names = ', '.join(PRESETS)
        raise WeightsError(f'{path}: no such weights file, nor a preset ({names})') from error
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f'{path}: is not a readable safetensors file ({error})') from error
    if header.get('format') != FORMAT:
        raise WeightsError(f'{path}: is a safetensors file, but not of r2former_ros; '
                           'r2former weights convert reads official checkpoints')
    if int(header['format_version']) > FORMAT_VERSION:
        raise WeightsError(f'{path}: format version {header["format_version"]} is newer than '
                           f'{FORMAT_VERSION}, which this version reads; update r2former_ros')
    return {**header, **{key: json.loads(header[key]) for key in ('spec', 'origin', 'config')}}


def resolve_device(name: str | torch.device) -> torch.device:
    """
    Turn a device setting into a device; ``auto`` is CUDA if a kernel really runs there.

    :raises WeightsError: if the device does not exist here.
    """
    if name == 'auto':
        return torch.device('cuda' if _works(torch.device('cuda')) else 'cpu')
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise WeightsError(f'device {name}: choose auto, cpu, cuda or cuda:N') from error
    if not _works(device):
        raise WeightsError(f'device {name}: does not work on this machine; choose auto or cpu')
    return device


def _works(device: torch.device) -> bool:
    if device.type == 'cuda' and not torch.cuda.is_available():
        return False
    try:
        return bool(torch.ones(2, device=device).sum().item() == 2)
    except (RuntimeError, AssertionError):
        return False


def _read_file(path: Path) -> R2Former:
    if path.is_dir():
        raise WeightsError(f'{path}: is a folder; give a .safetensors or .pth file')
    if path.suffix in OFFICIAL_SUFFIXES:
        return read_official(path)
    header = read_header(path)
    model = R2Former(ModelSpec.from_dict(header['spec']), Origin(**header['origin']))
    with safetensors.safe_open(str(path), framework='pt') as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = ' '.join(str(error).split())
        raise WeightsError(f'{path}: does not fit its own description ({reason})') from error
    return model
