# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training images: datasets, drives, pools of unlabelled pictures, their cache."""
