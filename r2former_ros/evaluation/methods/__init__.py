# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The methods an evaluation compares: ours, RANSAC, and classical baselines."""
