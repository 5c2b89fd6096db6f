# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What any program needs: files, text for messages, process set-up, progress, worker threads."""
