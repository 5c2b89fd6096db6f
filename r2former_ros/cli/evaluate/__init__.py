# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""``r2former evaluate``: run, compare, ablate."""

from .run import add_parser

__all__ = ['add_parser']
