# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From settings to a model: the only file that knows every engine.

``ENGINES`` has one row per engine; its keys are the choices of ``model.backend`` beside ``auto``.
A new engine is a file in ``backends`` and a row here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from ..config import Config, ModelConfig
from ..errors import WeightsError
from .backend import Encoder, Model, Scorer
from .backends.cuda_graphs import ReplayedEncoder, ReplayedScorer
from .backends.onnx import OnnxEncoder, OnnxScorer, exported_folder
from .backends.onnx_descriptor import CombinedEncoder, OnnxDescriptor
from .backends.openvino import OpenVinoEncoder
from .backends.pytorch import PRECISIONS, TorchEncoder, TorchScorer
from .checkpoint import load_network
from .network import R2Former, fingerprint_of

Hindrance = Callable[[R2Former, ModelConfig], str]
MakeEncoder = Callable[[R2Former, ModelConfig], Encoder]
MakeScorer = Callable[[R2Former, ModelConfig], Scorer]
AUTO = ('openvino', 'numba', 'torch')
"""``auto`` is the first of these that nothing hinders."""


@dataclass(frozen=True)
class Engine:
    """
    A way to compute a network.

    ``hindrance`` says why it cannot run here, as the end of a sentence, or nothing.
    """

    hindrance: Hindrance
    encoder: MakeEncoder
    scorer: MakeScorer


def load_model(
    weights: str | Path,
    device: str | torch.device = 'cpu',
    *,
    image_height: int = 0,
    image_width: int = 0,
    precision: str = 'float32',
    backend: str = 'torch',
) -> Model:
    """
    Load weights and choose what computes them.

    :param weights: a ``.safetensors`` file, an official ``.pth`` checkpoint, the name of bundled
        weights, or the name of a preset or of a ViT of timm, which gives an untrained network
        with a fixed seed.
    :param device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: CUDA where it works.
    :param image_height: overrides the size in the weights; 0 keeps it. Likewise the width.
    :param precision: ``float32``, ``bfloat16`` or ``float16``.
    :param backend: ``auto`` or a key of ``ENGINES``.
    :raises WeightsError: if the weights cannot be read, or the backend cannot run here.
    """
    settings = ModelConfig(
        weights=str(weights), device=str(device), image_height=image_height,
        image_width=image_width, precision=precision, backend=backend)
    return assemble(configured_network(settings), settings)


def load_configured(config: Config) -> Model:
    """
    Load the weights that a configuration names, and choose what computes them.

    :raises WeightsError: if the weights cannot be read, or the backend cannot run here.
    """
    return assemble(configured_network(config.model), config.model)


def configured_network(settings: ModelConfig) -> R2Former:
    """
    Load the weights that the settings name, without an engine.

    :raises WeightsError: if they cannot be read.
    """
    return load_network(settings.weights, settings.device, image_height=settings.image_height,
                        image_width=settings.image_width)


def assemble(network: R2Former, settings: ModelConfig) -> Model:
    """
    Put a network and the engine that the settings name together.

    :raises WeightsError: if there is no such engine or precision, or something hinders it here.
    """
    engine = engine_for(network, settings)
    model = Model(network, engine.encoder(network, settings), engine.scorer(network, settings),
                  fingerprint_of(network))
    return with_global_descriptor(model, settings) if settings.global_descriptor else model


def with_global_descriptor(model: Model, settings: ModelConfig) -> Model:
    """
    Return a model whose global descriptors come from the network that the settings name.

    It has a fingerprint and a dimension of its own, so a map knows which network it was built
    with.

    :raises WeightsError: if the network is missing or cannot run.
    """
    describe = OnnxDescriptor(settings.global_descriptor, settings.onnx_providers.split(','),
                              model.spec.input)
    network, origin = copy(model.network), model.origin
    network.spec = replace(model.spec, descriptor_dim=describe.dim)
    network.origin = replace(origin, trained=True,
                             text=f'{origin.text}; global descriptor of {describe.path.name}')
    both = hashlib.sha256(f'{model.fingerprint} {describe.digest}'.encode()).hexdigest()
    return Model(network, CombinedEncoder(model.encoder, describe), model.scorer, both[:16])


def compiling(model: Model) -> str:
    """Return what is being compiled in the background, in one line, or nothing."""
    if model.scorer.name != 'numba':
        return ''
    from .backends.numba.scorer import COMPILING, KERNELS

    return COMPILING if KERNELS.compiling else ''


def wait_for_kernels(model: Model) -> None:
    """Wait until the model computes at full speed, where something is compiled or loaded first."""
    if model.scorer.name == 'numba':
        from .backends.numba.scorer import KERNELS

        KERNELS.wait()


def engine_for(network: R2Former, settings: ModelConfig) -> Engine:
    """
    Return the row of the table that the settings name, where nothing hinders it.

    :raises WeightsError: if there is no such engine or precision, or something hinders it here.
    """
    name, precision = settings.backend, settings.precision
    if precision not in PRECISIONS:
        raise WeightsError(f'{precision}: not a precision; choose from {", ".join(PRECISIONS)}')
    if name == 'auto':
        return next(ENGINES[one] for one in AUTO if not ENGINES[one].hindrance(network, settings))
    if name not in ENGINES:
        raise WeightsError(f'{name}: not a backend; choose from auto, {", ".join(ENGINES)}')
    if hindrance := ENGINES[name].hindrance(network, settings):
        raise WeightsError(f'the {name} backend {hindrance}; choose auto or torch')
    return ENGINES[name]


def _needs(*, device: str = '', package: str = '') -> Hindrance:
    """Make a hindrance: the network is on another type of device, or a package is missing."""
    def hindrance(network: R2Former, settings: ModelConfig) -> str:
        if device and network.device.type != device:
            return f'runs on {"a CPU" if device == "cpu" else "CUDA"} only'
        if package and not find_spec(package):
            return f'needs the package {package} (pip install {package})'
        return ''
    return hindrance


def _hindrance_of_onnx(network: R2Former, settings: ModelConfig) -> str:
    if settings.precision != 'float32':
        return 'computes in float32 only: set model.precision'
    return _needs(package='onnxruntime')(network, settings)


def _hindrance_of_triton(network: R2Former, settings: ModelConfig) -> str:
    if missing := _needs(device='cuda', package='triton')(network, settings):
        return missing
    from .backends.triton_block_1 import OLDEST

    if torch.cuda.get_device_capability(network.device) < OLDEST:
        return 'needs a GPU of compute capability 8.0 or later'
    if settings.precision == 'float32':
        return 'computes in bfloat16 or float16 only: set model.precision'
    return ''


def _torch_encoder(network: R2Former, settings: ModelConfig) -> Encoder:
    return TorchEncoder(network.encoder, settings.precision)


def _torch_scorer(network: R2Former, settings: ModelConfig) -> Scorer:
    return TorchScorer(network.reranker, settings.precision)


def _numba_scorer(network: R2Former, settings: ModelConfig) -> Scorer:
    from .backends.numba.scorer import NumbaScorer

    return NumbaScorer(network.reranker)


def _cpu_scorer(network: R2Former, settings: ModelConfig) -> Scorer:
    """Score with numba where it is installed."""
    hindered = ENGINES['numba'].hindrance(network, settings)
    return (_torch_scorer if hindered else _numba_scorer)(network, settings)


def _onnx_files(network: R2Former, settings: ModelConfig) -> tuple[Path, str, list[str]]:
    """Return folder, fingerprint and providers."""
    fingerprint = fingerprint_of(network)
    folder = Path(settings.onnx_folder or exported_folder(fingerprint))
    return folder, fingerprint, settings.onnx_providers.split(',')


def _replaying(name: str) -> Engine:
    """Make a row whose calls are CUDA graphs; those of ``triton`` fuse Block-1."""
    fused = name == 'triton'
    return Engine(
        _hindrance_of_triton if fused else _needs(device='cuda'),
        lambda network, settings: ReplayedEncoder(network.encoder, settings.precision, name),
        lambda network, settings: ReplayedScorer(
            network.reranker, settings.precision, name, fused=fused),
    )


ENGINES: dict[str, Engine] = {
    'torch': Engine(_needs(), _torch_encoder, _torch_scorer),
    'numba': Engine(_needs(device='cpu', package='numba'), _torch_encoder, _numba_scorer),
    'openvino': Engine(
        _needs(device='cpu', package='openvino'),
        lambda network, settings: OpenVinoEncoder(network.encoder, settings.precision),
        _cpu_scorer,
    ),
    'onnx': Engine(
        _hindrance_of_onnx,
        lambda network, settings: OnnxEncoder(*_onnx_files(network, settings)),
        lambda network, settings: OnnxScorer(*_onnx_files(network, settings)),
    ),
    'cudagraphs': _replaying('cudagraphs'),
    'triton': _replaying('triton'),
}
