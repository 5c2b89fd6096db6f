# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Making and changing maps: build, merge, prune, repair and the other map commands."""
