# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Where images and poses come from: picture files, image messages, bags, trajectory files, datasets.

Import ``Bag``, ``read_image``, ``frames_of_bag`` and ``frames_of_folder``, ``read_places`` and
``read_trajectory`` from their modules; the other modules serve these.
"""
