# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former weights``: describe, download, convert and export weights."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from ..errors import UsageError, WeightsError
from .checks import require_output, require_output_folder
from .options import progress_bar


def add_parser(commands: Any) -> None:
    """Register the subcommand and its own subcommands."""
    parser = commands.add_parser('weights', help='describe, download, convert, export weights')
    actions = parser.add_subparsers(required=True, metavar='ACTION')
    action = actions.add_parser('list', help='list weights that have a name',
                                description='Print name, licence, size and origin of each.')
    _add_catalogue(action)
    action.set_defaults(run=list_weights)
    action = actions.add_parser(
        'get', help='download weights by name',
        description="Download weights into the user's cache, where model.weights finds them by "
                    'their name. An interrupted download resumes.',
    )
    action.add_argument('name', metavar='NAME', help='as r2former weights list prints it')
    _add_catalogue(action)
    action.add_argument('--half', action='store_true', help='store float16')
    action.set_defaults(run=get)
    action = actions.add_parser('info', help='describe weights',
                                description='Print preset, sizes, fingerprint and origin.')
    action.add_argument('weights', help='preset, .safetensors file or released .pth checkpoint')
    action.set_defaults(run=info)
    action = actions.add_parser(
        'convert', help='convert a checkpoint of the released code',
        description='Turn a checkpoint of bytedance/R2Former, such as '
                    'CVPR23_DeitS_Rerank.pth, into a safetensors file. No pickle is run.',
    )
    action.add_argument('checkpoint', metavar='IN.pth')
    action.add_argument('out', metavar='OUT.safetensors')
    action.add_argument('--size', metavar='HxW', help='training size, if not told by the file')
    action.add_argument('--half', action='store_true', help='store float16')
    action.set_defaults(run=convert)
    action = actions.add_parser(
        'export', help='write ONNX files for onnxruntime or TensorRT',
        description='Write encoder.onnx and reranker.onnx. Without a folder they go into the '
                    "user's cache, where model.backend=onnx finds them.",
    )
    action.add_argument('weights', help='preset, .safetensors file or released .pth checkpoint')
    action.add_argument('folder', metavar='OUT_DIR', nargs='?')
    action.add_argument('--size', metavar='HxW', help="input size (default: that of the weights)")
    action.set_defaults(run=export)


def _add_catalogue(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--catalogue', metavar='FILE', type=Path,
                        help='YAML list of further weights: name, text, licence, address, sha256')


def list_weights(arguments: argparse.Namespace) -> None:
    """List the weights that have a name."""
    from ..model.catalogue import entries, is_here

    for entry in entries(arguments.catalogue).values():
        size = f'{entry.size / 2**20:.0f} MiB' if entry.size else ''
        state = 'here' if is_here(entry) else 'get' if entry.address else 'by hand'
        print(f'{entry.name:32s}{state:9s}{size:9s}{entry.text}; licence: {entry.licence}')


def get(arguments: argparse.Namespace) -> None:
    """Download weights, and convert them."""
    from ..model import load_model
    from ..model.catalogue import entries
    from ..model.catalogue import get as get_weights

    known = entries(arguments.catalogue)
    if arguments.name not in known:
        raise UsageError(f'{arguments.name}: no such weights; there are {", ".join(known)}')
    entry = known[arguments.name]
    with progress_bar(entry.name) as bar:
        bar.unit, bar.unit_scale = 'B', True

        def report(held: int, total: int) -> None:
            bar.total, bar.n = total or None, held
            bar.update(0)

        path = get_weights(entry, report, half=arguments.half)
    model = load_model(path)
    unchecked = '' if entry.sha256 or not entry.address else ' (no SHA-256 known to check it by)'
    print(f'{path}: {model.spec.preset} {model.fingerprint}, {model.origin.text}{unchecked}')


def info(arguments: argparse.Namespace) -> None:
    """Describe weights."""
    from ..model import load_model

    model = load_model(arguments.weights)
    spec, origin = model.spec, model.origin
    count = sum(tensor.numel() for tensor in model.network.state_dict().values())
    rows = {
        'preset': f'{spec.preset} ({spec.backbone})',
        'input': f'{spec.image_height}x{spec.image_width} px',
        'descriptor': str(spec.descriptor_dim),
        'local features': f'{spec.num_local} of {spec.local_dim}',
        'token shift': 'yes, as released' if spec.token_shift else 'no',
        'parameters': f'{count:,}',
        'fingerprint': model.fingerprint,
        'origin': origin.text,
        'reranker': 'can be used' if origin.reranker_trained else 'untrained',
    }
    for name, value in rows.items():
        print(f'{name:15s} {value}')


def convert(arguments: argparse.Namespace) -> None:
    """Convert a released checkpoint."""
    from ..model import save_weights
    from ..model.network import fingerprint_of
    from ..model.official import read_official

    out, size = Path(arguments.out), _size(arguments.size)
    if out.exists():
        raise WeightsError(f'{out}: exists already', 'choose another name or remove it')
    require_output(out)
    model = read_official(Path(arguments.checkpoint), size)
    save_weights(model, out, half=arguments.half)
    print(f'{out}: {model.spec.preset}, {model.origin.text}, fingerprint {fingerprint_of(model)}')


def export(arguments: argparse.Namespace) -> None:
    """Write ONNX files."""
    from ..model import load_model
    from ..model.backends.onnx import export_onnx, exported_folder

    height, width = _size(arguments.size) or (0, 0)
    require_output_folder(arguments.folder)
    model = load_model(arguments.weights, 'cpu', image_height=height, image_width=width)
    folder = arguments.folder or exported_folder(model.fingerprint)
    for path in export_onnx(model, folder):
        print(f'{path}: {path.stat().st_size / 2**20:.1f} MiB')


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r'(\d+)x(\d+)', text)
    if match is None:
        raise UsageError(f'--size {text}: expected HxW in pixels, such as 480x640')
    return int(match.group(1)), int(match.group(2))
