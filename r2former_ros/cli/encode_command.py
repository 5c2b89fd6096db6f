# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former encode``: features of images into an .npz file."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from ..errors import ConfigError
from .options import add_common, config_from, progress, say_what_runs


def add_parser(commands: Any) -> None:
    """Register the subcommand."""
    parser = commands.add_parser(
        'encode', help='write the features of images to an .npz file',
        description='Write names (B,), descriptor (B,D), xy (B,N,2), attention (B,N) and '
                    'descriptors (B,N,C) of images to a numpy file.',
    )
    parser.add_argument('images', metavar='IMAGE', nargs='+')
    parser.add_argument('--out', metavar='F.npz', required=True)
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Encode the images one by one."""
    from ..model.loading import load_configured
    from ..model.preprocess import preprocess
    from ..sources.pictures import read_image

    config = config_from(arguments)
    model = load_configured(config)
    say_what_runs(model)
    with progress(arguments.images, 'encode', len(arguments.images)) as paths:
        encoded = [
            model.encode(preprocess(read_image(path), model.spec.input, model.device))
            for path in paths
        ]
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(one, name).cpu().numpy() for one in encoded])
        for name in ('descriptor', 'xy', 'attention', 'descriptors')
    }
    try:
        with open(arguments.out, 'wb') as file:  # by name, savez would append .npz to it
            np.savez(file, names=np.array(arguments.images), **arrays)
    except OSError as error:
        raise ConfigError(f'--out {arguments.out}: cannot be written ({error.strerror})') \
            from error
    print(f'{len(encoded)} images, descriptor {arrays["descriptor"].shape}: {arguments.out}')
