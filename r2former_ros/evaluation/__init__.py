# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How well places are recognised: queries, outcomes, measures, comparison, speed."""
