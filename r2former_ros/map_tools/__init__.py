# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tools for maps that are built already: one a file. None changes the map it reads."""
