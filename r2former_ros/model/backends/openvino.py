# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The encoder in OpenVINO, which runs on CPUs of Intel, AMD and ARM.

Nothing has to be exported: the network in memory is converted when the first image arrives.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import nn

from ...errors import ImageError, WeightsError
from ..features import ImageFeatures
from ..plain_tensors import EncoderGraph

HINTS = {'float32': 'f32', 'bfloat16': 'bf16', 'float16': 'f16'}
_TRACING = Lock()


class OpenVinoEncoder:
    """The weights as they are when the first image of a size arrives; later changes are missed."""

    name = 'openvino'

    def __init__(self, encoder: nn.Module, precision: str = 'float32') -> None:
        """
        Take an encoder on the CPU.

        :param precision: of ``HINTS``; a CPU without that arithmetic computes in float32.
        """
        self.precision = precision
        self._graph = EncoderGraph(encoder)
        self._hint = HINTS[precision]
        self._threads = torch.get_num_threads()
        self._compiled: dict[tuple[int, int], Any] = {}
        self._lock = Lock()

    def encode(self, images: torch.Tensor) -> ImageFeatures:
        """
        Encode as ``Encoder.encode`` says, image by image.

        :raises WeightsError: if OpenVINO cannot run this encoder.
        """
        network = self._network(int(images.shape[2]), int(images.shape[3]))
        rows = [network.create_infer_request().infer([image[None].contiguous().numpy()]).to_tuple()
                for image in images.cpu()]
        fields = [np.concatenate(field) for field in zip(*rows, strict=True)]
        return ImageFeatures(*map(torch.from_numpy, fields))

    def _network(self, height: int, width: int) -> Any:
        """Return the compiled network for images of one size."""
        with self._lock:
            if (height, width) not in self._compiled:
                image = torch.zeros(1, 3, height, width)
                self._compiled[height, width] = self._compile(image)
            return self._compiled[height, width]

    def _compile(self, image: torch.Tensor) -> Any:
        try:
            from openvino import Core

            return Core().compile_model(_translate(self._graph, image), 'CPU', {
                'INFERENCE_PRECISION_HINT': self._hint,
                'INFERENCE_NUM_THREADS': self._threads,
                'PERFORMANCE_HINT': 'LATENCY',
                'ENABLE_CPU_PINNING': False,  # or two nodes would share the first cores
            })
        except ImageError:
            raise
        except Exception as error:  # OpenVINO's own types share no base
            reason = ' '.join(str(error).split())
            raise WeightsError('OpenVINO cannot run this encoder; choose model.backend numba or '
                               f'torch ({reason})') from error


@torch.no_grad()
def _translate(graph: nn.Module, image: torch.Tensor) -> Any:
    """
    Convert as ``openvino.convert_model`` does, using its parts.

    That takes three to six seconds instead of one, and may send usage statistics to Intel.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with _own_torchscript(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the size is fixed, which is fine here
        traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
            graph, image, check_trace=False)
        decoder = TorchScriptPythonDecoder(traced, example_input=image, shared_memory=False)
        frontend = FrontEndManager().load_by_framework('pytorch')
        network = frontend.convert(frontend.load(decoder))
    del traced, decoder
    gc.collect()  # the trace refers to itself, and to the weights
    network.reshape({0: list(image.shape)})
    return network


@contextmanager
def _own_torchscript() -> Iterator[None]:
    """
    Trace outside of PyTorch's registries, which would keep each trace (7 MB) for good.

    The registries are global: what another thread scripts meanwhile is registered here too.
    """
    from torch.jit import _recursive, _state

    with _TRACING:
        kept = _state._python_cu, _recursive.concrete_type_store
        _state._python_cu = torch._C.CompilationUnit()
        _recursive.concrete_type_store = _recursive.ConcreteTypeStore()
        try:
            yield
        finally:
            _state._python_cu, _recursive.concrete_type_store = kept
