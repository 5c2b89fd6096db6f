# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is stored and how it is searched: stores, codec, index, sessions, calibration."""
