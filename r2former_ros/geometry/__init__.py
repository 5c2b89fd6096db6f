# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Poses, trajectories and the views between two images; nothing here knows a network."""
