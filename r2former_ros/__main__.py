# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m r2former_ros``: the command line, where ``r2former`` is not on the path."""

import sys

from .cli import main

if __name__ == '__main__':
    sys.exit(main())
