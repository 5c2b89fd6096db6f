# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What any program needs: process set-up, progress, a queue that keeps the newest only."""
