# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The network as two ONNX files, for machines that run onnxruntime or TensorRT.

``encoder.onnx`` takes one image of the weights' input size, ``reranker.onnx`` one query and any
number of candidates. Both store the fingerprint of their weights
as metadata.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...common.files import make_folder, replacing
from ...common.process import cache_folder
from ...errors import WeightsError
from ..backend import Model
from ..features import ImageFeatures
from ..plain_tensors import FEATURES, PAIR, EncoderGraph, RerankerGraph

ENCODER, RERANKER = 'encoder.onnx', 'reranker.onnx'
FINGERPRINT = 'r2former_fingerprint'
EXAMPLE_CANDIDATES = 3


class OnnxEncoder:
    """The encoder in onnxruntime, which takes images from host memory on any device."""

    name, precision = 'onnx', 'float32'

    def __init__(self, folder: str | Path, fingerprint: str, providers: Sequence[str]) -> None:
        """
        Open the file.

        :param providers: onnxruntime execution providers, such as ``CUDAExecutionProvider``,
            preferred first.
        :raises WeightsError: if onnxruntime, a provider or the file is missing, or the file was
            made from other weights.
        """
        self._session = _open(Path(folder) / ENCODER, fingerprint, providers)

    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """
        Encode as ``Encoder.encode`` says, image by image.

        :raises WeightsError: if their size is not the one that was exported.
        """
        expected = self._session.get_inputs()[0].shape[2:]
        if list(images.shape[2:]) != expected:
            raise WeightsError(f'images of {tuple(images.shape[2:])}: the ONNX encoder takes '
                               f'{tuple(expected)} only; export it at that size')
        rows = [self._session.run(None, {'images': _array(image[None])}) for image in images]
        fields = [np.concatenate(field) for field in zip(*rows, strict=True)]
        return ImageFeatures(*map(torch.from_numpy, fields))


class OnnxScorer:
    """The reranker in onnxruntime, which takes features from host memory on any device."""

    name, precision = 'onnx', 'float32'

    def __init__(self, folder: str | Path, fingerprint: str, providers: Sequence[str]) -> None:
        """Open the file; parameters and errors as for ``OnnxEncoder``."""
        self._session = _open(Path(folder) / RERANKER, fingerprint, providers)

    def score(
        self, query: ImageFeatures, candidates: ImageFeatures, batch: int
    ) -> torch.Tensor:
        """Score as ``Scorer.score`` says, all candidates at once."""
        arrays = map(_array, (*query.local(), *candidates.local()))
        inputs = dict(zip(PAIR, arrays, strict=True))
        return torch.from_numpy(self._session.run(None, inputs)[0])


def exported_folder(fingerprint: str) -> Path:
    """Return the default folder of the files of some weights."""
    return cache_folder() / 'onnx' / fingerprint


def export_onnx(model: Model, folder: str | Path) -> list[Path]:
    """
    Write both files and return their paths.

    :raises WeightsError: if the packages that write ONNX are missing, or the folder cannot be
        written.
    """
    folder, network = Path(folder), model.network
    image = torch.zeros(1, 3, model.spec.image_height, model.spec.image_width)
    features = model.encode(image)
    query = [tensor.clone() for tensor in features.local()]
    candidates = [one.repeat(EXAMPLE_CANDIDATES, 1, *[1] * (one.dim() - 2)) for one in query]
    count = torch.export.Dim('candidates')
    dynamic = [(None,) * 3 + ({0: count},) * 3]
    try:
        make_folder(folder)
        return [
            _export(EncoderGraph(network.encoder), (image,), folder / ENCODER, model.fingerprint,
                    input_names=['images'], output_names=list(FEATURES)),
            _export(RerankerGraph(network.reranker), (*query, *candidates), folder / RERANKER,
                    model.fingerprint, input_names=list(PAIR), output_names=['logits'],
                    dynamic_shapes=dynamic),
        ]
    except ImportError as error:
        raise WeightsError('writing ONNX needs the packages onnx and onnxscript '
                           f'(pip install onnx onnxscript): {error}') from error


def _export(
    graph: nn.Module, arguments: tuple[torch.Tensor, ...], path: Path, fingerprint: str,
    **names: Any,
) -> Path:
    with warnings.catch_warnings():
        # It warns about inputs that share an axis, which is intended.
        warnings.filterwarnings('ignore', message='.*The axis name')
        program = torch.onnx.export(
            graph.eval(), arguments, dynamo=True, verbose=False, **names
        )
    assert program is not None  # with dynamo, a program always comes back
    program.model.metadata_props[FINGERPRINT] = fingerprint
    with replacing(path) as part:
        program.save(part, external_data=False)
    return path


def _array(tensor: torch.Tensor) -> Any:
    """Copy a tensor to host memory, unless it is there."""
    return tensor.detach().cpu().contiguous().numpy()


def _open(path: Path, fingerprint: str, providers: Sequence[str]) -> Any:
    session = open_session(path, providers)
    found = session.get_modelmeta().custom_metadata_map.get(FINGERPRINT, 'unknown weights')
    if found != fingerprint:
        raise WeightsError(f'{path}: was made from weights {found}, not {fingerprint}; '
                           'export it again')
    return session


def open_session(path: Path, providers: Sequence[str]) -> Any:
    """
    Open an ONNX file in onnxruntime.

    :raises WeightsError: if onnxruntime, a provider or the file is missing, or it cannot run.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise WeightsError(f'{path}: needs the package onnxruntime '
                           '(pip install onnxruntime)') from error
    known = onnxruntime.get_available_providers()
    missing = [name for name in providers if name not in known]
    if missing:
        raise WeightsError(f'{", ".join(missing)}: onnxruntime has only {", ".join(known)}')
    if not path.is_file():
        raise WeightsError(f'{path}: no such file; r2former weights export writes it')
    try:
        return onnxruntime.InferenceSession(path, _options(), providers=list(providers))
    except Exception as error:  # onnxruntime's own types share no base
        raise WeightsError(f'{path}: is not an ONNX file that can run ({error})') from error


def _options() -> Any:
    """Use PyTorch's number of threads, without spinning, which would slow the next stage."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    return options
