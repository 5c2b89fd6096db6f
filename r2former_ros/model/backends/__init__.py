# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engines that run the network: PyTorch, numba, OpenVINO, ONNX, CUDA graphs, Triton."""
