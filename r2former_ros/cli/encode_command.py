# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former encode``: features of images into an .npz file."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from ..common.files import replacing
from ..errors import ImageError
from .checks import require_output, require_pictures
from .options import add_common, config_from, notify, say_what_runs, tracked


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
    config = config_from(arguments)
    require_pictures(arguments.images)
    require_output(arguments.out)
    from ..model.loading import load_configured
    from ..model.preprocess import preprocess
    from ..sources.pictures import read_image

    model = load_configured(config)
    say_what_runs(model)
    names, encoded, bad = [], [], []
    with tracked(arguments.images, 'encode', len(arguments.images)) as paths:
        for path in paths:
            try:
                pixels = preprocess(read_image(path), model.spec.input, model.device)
            except ImageError as error:
                bad.append(str(error))
                continue
            names.append(path)
            encoded.append(model.encode(pixels))
    for line in bad:
        notify(f'left out: {line}')
    if not encoded:
        raise ImageError(f'none of {len(bad)} pictures can be used; the first: {bad[0]}')
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(one, name).cpu().numpy() for one in encoded])
        for name in ('descriptor', 'xy', 'attention', 'descriptors')
    }
    with replacing(arguments.out) as part, part.open('wb') as file:  # savez appends .npz to names
        np.savez(file, names=np.array(names), **arrays)
    left_out = f', {len(bad)} left out' if bad else ''
    print(f'{len(encoded)} images, descriptor {arrays["descriptor"].shape}: '
          f'{arguments.out}{left_out}')
