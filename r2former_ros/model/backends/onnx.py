# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The network as two ONNX files, for machines that run onnxruntime or TensorRT.

``encoder.onnx`` takes one image of the weights' input size; ``reranker.onnx`` takes one query
and any number of candidates. Both name in their metadata the weights they were made from.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ...common.files import make_folder, replacing
from ...common.process import cache_folder
from ...errors import WeightsError
from ..features import ImageFeatures
from ..reranker import Through, go_through

if TYPE_CHECKING:
    from ..network import R2Former

ENCODER, RERANKER = 'encoder.onnx', 'reranker.onnx'
FEATURES = ('descriptor', 'xy', 'attention', 'descriptors')
PAIR = ('query_xy', 'query_attention', 'query_descriptors',
        'candidates_xy', 'candidates_attention', 'candidates_descriptors')
FINGERPRINT = 'r2former_fingerprint'
EXAMPLE_CANDIDATES = 3


class EncoderGraph(nn.Module):
    """The encoder with plain tensors as its result."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the fields of the image's features in the order of ``FEATURES``."""
        features = self.encoder(images)
        return tuple(getattr(features, name) for name in FEATURES)


class RerankerGraph(nn.Module):
    """The reranker with plain tensors as its arguments, in the order of ``PAIR``."""

    def __init__(self, reranker: nn.Module, through: Through = go_through) -> None:
        super().__init__()
        self.reranker = reranker
        self.through = through

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Return logits (K, 2)."""
        unused = tensors[0].new_zeros(1, 1)  # the reranker reads no global descriptor
        query = ImageFeatures(unused, *tensors[:3])
        candidates = ImageFeatures(unused, *tensors[3:])
        logits: torch.Tensor = self.reranker(query, candidates, through=self.through)
        return logits


class OnnxEncoder:
    """The encoder in onnxruntime."""

    def __init__(self, folder: str | Path, fingerprint: str, providers: Sequence[str]) -> None:
        """
        Open the file.

        :param providers: names of onnxruntime, such as ``CUDAExecutionProvider``; the first
            that can run an operation does.
        :raises WeightsError: if onnxruntime, a provider or the file is missing, or the file was
            made from other weights.
        """
        self._session = _open(Path(folder) / ENCODER, fingerprint, providers)

    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """
        Encode normalised images, float32 (B, 3, H, W), one by one.

        :raises WeightsError: if their size is not the one that was exported.
        """
        expected = self._session.get_inputs()[0].shape[2:]
        if list(images.shape[2:]) != expected:
            raise WeightsError(f'images of {tuple(images.shape[2:])}: the ONNX encoder takes '
                               f'{tuple(expected)} only; export it at that size')
        rows = [self._session.run(None, {'images': image[None].numpy()}) for image in images]
        fields = [np.concatenate(field) for field in zip(*rows, strict=True)]
        return ImageFeatures(*map(torch.from_numpy, fields))


class OnnxReranker:
    """The reranker in onnxruntime."""

    def __init__(self, folder: str | Path, fingerprint: str, providers: Sequence[str]) -> None:
        """Open the file; parameters and errors as for ``OnnxEncoder``."""
        self._session = _open(Path(folder) / RERANKER, fingerprint, providers)

    def score(self, query: ImageFeatures, candidates: ImageFeatures) -> torch.Tensor:
        """Return logits (K, 2) of one query against K candidates."""
        tensors = [getattr(features, name)
                   for features in (query, candidates) for name in FEATURES[1:]]
        arrays = {name: tensor.numpy() for name, tensor in zip(PAIR, tensors, strict=True)}
        return torch.from_numpy(self._session.run(None, arrays)[0])


def exported_folder(fingerprint: str) -> Path:
    """Return where files of these weights are looked for when no folder is named."""
    return cache_folder() / 'onnx' / fingerprint


def export_onnx(model: R2Former, folder: str | Path) -> list[Path]:
    """
    Write both files and return their paths.

    :raises WeightsError: if the packages that write ONNX are missing, or the folder cannot be
        written.
    """
    folder = Path(folder)
    image = torch.zeros(1, 3, model.spec.image_height, model.spec.image_width)
    features = model.encode(image)
    query = [getattr(features, name).clone() for name in FEATURES[1:]]
    candidates = [one.repeat(EXAMPLE_CANDIDATES, 1, *[1] * (one.dim() - 2)) for one in query]
    count = torch.export.Dim('candidates')
    dynamic = [(None,) * 3 + ({0: count},) * 3]
    try:
        make_folder(folder)
        return [
            _export(EncoderGraph(model.encoder), (image,), folder / ENCODER, model.fingerprint,
                    input_names=['images'], output_names=list(FEATURES)),
            _export(RerankerGraph(model.reranker), (*query, *candidates), folder / RERANKER,
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
        # It warns that inputs share the axis that is meant to be shared.
        warnings.filterwarnings('ignore', message='.*The axis name')
        program = torch.onnx.export(
            graph.eval(), arguments, dynamo=True, verbose=False, **names
        )
    assert program is not None  # with dynamo, a program always comes back
    program.model.metadata_props[FINGERPRINT] = fingerprint
    with replacing(path) as part:
        program.save(part, external_data=False)
    return path


def _open(path: Path, fingerprint: str, providers: Sequence[str]) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise WeightsError('the onnx backend needs the package onnxruntime '
                           '(pip install onnxruntime)') from error
    known = onnxruntime.get_available_providers()
    missing = [name for name in providers if name not in known]
    if missing:
        raise WeightsError(f'{", ".join(missing)}: onnxruntime has only {", ".join(known)}')
    if not path.is_file():
        raise WeightsError(f'{path}: no such file; r2former weights export writes it')
    try:
        session = onnxruntime.InferenceSession(path, _options(), providers=list(providers))
    except Exception as error:  # onnxruntime's own types share no base
        raise WeightsError(f'{path}: is no ONNX file that can run ({error})') from error
    found = session.get_modelmeta().custom_metadata_map.get(FINGERPRINT, 'unknown weights')
    if found != fingerprint:
        raise WeightsError(f'{path}: was made from weights {found}, not {fingerprint}; '
                           'export it again')
    return session


def _options() -> Any:
    """Use PyTorch's number of threads; they must not spin, or they slow what comes next."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    return options
