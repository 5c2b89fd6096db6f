# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 side: the only modules that import rclpy and message packages."""

from ..common.process import prepare_process

prepare_process()  # the modules of this folder import torch
