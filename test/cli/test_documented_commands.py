# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The ``r2former`` lines of README and docs: all are understood, those of the first pages run.

A line is not run if it trains (minutes), draws the demo's town (``make demo`` does), needs the
network or ROS tools, or stands on a page of reference, where its inputs are only names.
"""

import re
import shlex
import shutil
from pathlib import Path

import cv2
import pytest
from fakes import picture

from r2former_ros.cli import main, make_parser
from r2former_ros.geometry.poses import pose_from_yaw
from r2former_ros.records import Frame, StampedPose
from r2former_ros.sources.bag_writer import BagWriter

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', ROOT / 'MODEL_CARD.md', *sorted((ROOT / 'docs').rglob('*.md'))]
RUN = [ROOT / 'README.md', ROOT / 'docs' / 'tutorial.md']
NOT_RUN = re.compile('r2former (train|demo|play|weights (get|convert))')
STAMP_NS = 1_700_000_000_000_000_000


def commands(page):
    """Return the lines of a page's blocks that start with r2former, continuations joined."""
    blocks = re.findall(r'```\w*\n(.*?)```', page.read_text().replace('\\\n', ' '), re.S)
    return re.findall(r'^ *(r2former .*)', '\n'.join(blocks), re.M)


def words_of(line):
    """Split a line as a shell does; comments go."""
    return shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize(
    'line', [pytest.param(line, id=f'{page.stem}: {line[:60]}')
             for page in PAGES for line in commands(page)])
def test_a_documented_command_is_understood(line):
    assert callable(make_parser().parse_args(words_of(line)).run)


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """Two laps as bags, the first as a trajectory and as pictures with poses too."""
    folder = tmp_path_factory.mktemp('site')
    (folder / 'photos').mkdir()
    poses, tum = ['file,x_m,y_m,yaw_rad'], []
    for lap in (1, 2):
        with BagWriter(folder / f'lap_{lap}') as bag:
            for i in range(6):
                stamp_ns, image = STAMP_NS + i * 10**9, picture(i, 96, 128, brightness=lap)
                bag.image('/camera/image_raw', Frame(stamp_ns, image, 'camera'))
                bag.odometry('/odom', StampedPose(stamp_ns, pose_from_yaw(10.0 * i, 0.0, 0.0)))
                if lap == 1:
                    cv2.imwrite(str(folder / 'photos' / f'{i}.jpg'), image[..., ::-1])
                    poses.append(f'{i}.jpg,{10 * i},0,0')
                    tum.append(f'{stamp_ns / 1e9:.9f} {10 * i} 0 0 0 0 0 1')
    (folder / 'poses.csv').write_text('\n'.join(poses))
    (folder / 'slam.tum').write_text('\n'.join(tum))
    shutil.copy(folder / 'photos' / '3.jpg', folder / 'photo.jpg')
    return folder


@pytest.mark.parametrize('page', RUN, ids=lambda page: page.stem)
def test_the_commands_of_a_first_page_run(page, site, monkeypatch, capsys):
    """In their order; a map that a page builds again is removed first."""
    monkeypatch.chdir(site)
    for line in [line for line in commands(page) if not NOT_RUN.match(line)]:
        if 'map build' in line:
            (site / 'site.r2map').unlink(missing_ok=True)
        assert main(words_of(line)) == 0, f'{line}: {capsys.readouterr().err}'
