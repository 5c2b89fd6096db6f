# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of images that were left out."""

from r2former_ros.common.left_out import LeftOut


def test_the_commonest_reason_is_told_whatever_its_numbers():
    left_out = LeftOut()
    assert len(left_out) == 0 and left_out.summary() == 'none was left out'
    for line in ('a.png: damaged', 'no pose at stamp 12', 'no pose at stamp 345',
                 'no pose at stamp 12'):
        left_out.add(line)
    assert list(left_out) == ['a.png: damaged', 'no pose at stamp 12', 'no pose at stamp 345']
    assert left_out.summary() == '3 left out, 2 of them like this: no pose at stamp 12'


def test_one_reason_is_that_of_all():
    left_out = LeftOut()
    left_out.add('no pose at stamp 1')
    left_out.add('no pose at stamp 2')
    assert left_out.summary() == '2 left out, all like this: no pose at stamp 1'
