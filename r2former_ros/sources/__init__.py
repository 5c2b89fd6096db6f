# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where images and poses come from: pictures, encodings, bags, datasets."""
