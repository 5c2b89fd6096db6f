# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Replayed calls: a CPU stands in for the graph, the plain model is the oracle."""

from dataclasses import replace

import pytest
import torch

from r2former_ros.model import load_model
from r2former_ros.model.backends.cuda_graphs import KEPT, Replayed, ReplayedEncoder, ReplayedScorer

SIZE = {'image_height': 96, 'image_width': 128}


class CpuGraph:
    """As a CUDA graph: reads and writes the memory that it was captured with."""

    captured = 0

    def __init__(self, function, inputs):
        CpuGraph.captured += 1
        self.function, self.inputs = function, inputs
        self.outputs = tuple(one.clone() for one in function(*inputs))

    def replay(self):
        for place, one in zip(self.outputs, self.function(*self.inputs), strict=True):
            place.copy_(one)

    @staticmethod
    def capture(function, inputs):
        graph = CpuGraph(function, inputs)
        return graph, graph.outputs


def test_each_shape_is_captured_once_and_the_least_used_is_let_go():
    before = CpuGraph.captured
    double = Replayed(lambda a, b: (a * 2, a + b), CpuGraph.capture)
    first = double(torch.ones(2), torch.ones(2))
    second = double(torch.full((2,), 5.0), torch.ones(2))
    assert CpuGraph.captured == before + 1
    assert [one.tolist() for one in first] == [[2, 2], [2, 2]]  # not overwritten by the second
    assert [one.tolist() for one in second] == [[10, 10], [6, 6]]
    for length in range(3, 3 + KEPT - 1):
        double(torch.ones(length), torch.ones(1))
    double(torch.ones(2), torch.ones(2))
    assert CpuGraph.captured == before + KEPT
    double(torch.ones(9), torch.ones(9))
    double(torch.ones(2), torch.ones(2))  # was used last, so it stayed
    assert CpuGraph.captured == before + KEPT + 1
    double(torch.ones(3), torch.ones(1))
    assert CpuGraph.captured == before + KEPT + 2


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_a_replayed_network_says_what_the_plain_one_says(precision):
    model = load_model('tiny', **SIZE, precision=precision)
    images = torch.randn(6, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    expected = [model.encode(images[row : row + 1]) for row in range(2)]
    candidates = model.encode(images[2:])
    logits = model.score(expected[0], candidates)
    model = replace(
        model,
        encoder=ReplayedEncoder(model.network.encoder, precision, capture=CpuGraph.capture),
        scorer=ReplayedScorer(model.network.reranker, precision, capture=CpuGraph.capture))
    assert model.backend == 'cudagraphs'
    before = CpuGraph.captured
    for row, one in enumerate(expected):
        found = model.encode(images[row : row + 1])
        assert all(map(torch.equal, found.tensors(), one.tensors()))
    torch.testing.assert_close(model.score(expected[0], candidates), logits)
    assert CpuGraph.captured == before + 2
    assert model.score(expected[0], candidates[:0]).shape == (0, 2)
    assert model.encode(images[:2]).xy.shape[0] == 2
    assert CpuGraph.captured == before + 2  # several images run in PyTorch
