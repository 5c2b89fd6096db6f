# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Time the authors' released code on the CPU, which `r2former bench` is compared with.

    git clone https://github.com/bytedance/R2Former released
    pip install --no-deps --target timm timm==0.5.4
    python benchmarks/released.py --code released --timm timm

Random weights; one image of 640x480, and 100 pairs with 500 local features each, as published,
which take 16 GB. Memory is handled as by our programs; --default leaves glibc as it is.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from r2former_ros.common.process import prepare_process

UNUSED = {'transformers': 'ViTModel', 'google_drive_downloader': 'GoogleDriveDownloader',
          'einops': 'rearrange'}
"""What the released modules import for other networks, and the name they take from it."""


def main() -> None:
    """Print the median time of both parts."""
    parser = argparse.ArgumentParser(description='Time the released code on the CPU.')
    parser.add_argument('--code', type=Path, required=True, help='clone of bytedance/R2Former')
    parser.add_argument('--timm', type=Path, required=True, help='folder with timm 0.5.4')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--default', action='store_true', help="keep glibc's memory settings")
    arguments = parser.parse_args()
    if not arguments.default:
        prepare_process()
    import torch

    network = released_network(arguments.code, arguments.timm)
    with torch.no_grad():
        image = torch.randn(1, 3, 480, 640)
        print(f'encode      {median_s(partial(network, image), arguments.repeats):.3f} s')
        descriptors = torch.nn.functional.normalize(torch.randn(101, 256), dim=1)
        features = torch.cat([torch.rand(101, 500, 3), torch.randn(101, 500, 128)], dim=2)
        query = [one[:1].repeat_interleave(100, dim=0) for one in (descriptors, features)]
        pairs = partial(network.Reranker, *query, descriptors[1:], features[1:])
        print(f'rerank 100  {median_s(pairs, arguments.repeats):.3f} s')


def released_network(code: Path, timm: Path) -> Any:
    """Return the network of the released evaluation, untrained and on the CPU."""
    import torch

    def stay(tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    torch.Tensor.cuda = stay  # type: ignore[assignment, method-assign]
    for module, name in UNUSED.items():
        sys.modules[module] = ModuleType(module)
        setattr(sys.modules[module], name, None)
    sys.path[:0] = [str(timm), str(code)]
    from model import network  # type: ignore[import-not-found]

    network.deit_small_distilled_patch16_224 = partial(
        network.deit_small_distilled_patch16_224, pretrained=False)
    return network.GeoLocalizationNetRerank(SimpleNamespace(
        backbone='deit', resize=[480, 640], fc_output_dim=256, local_dim=128, num_local=500,
        hypercolumn=0, finetune=True, rerank_model='r2former')).eval()


def median_s(run: Callable[[], object], repeats: int) -> float:
    """Run after a warm-up; return the median time in seconds."""
    run()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


if __name__ == '__main__':
    main()
