# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Write the tables of the docs from the code that defines what they say.

    python docs/make_reference.py > docs/settings.md
    python docs/make_reference.py node > docs/node.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from r2former_ros.config import options

if TYPE_CHECKING:
    from r2former_ros.ros.interface import Interface

SETTINGS = """# Settings

ROS parameters of the node `localizer`, keys of a `--config` file, and names for `--set` on the
command line. A configured node takes those marked *run* from the next image on; it refuses the
others, which it reads when it is configured. `pose_graph.*` are read by the node `pose_graph`.
Written by `docs/make_reference.py`.

"""
NODE = """# The node `localizer`

A lifecycle node: configuring loads weights and map, activating subscribes. Names are relative to
the node: `~/pose` of `/localizer` is `/localizer/pose`. Written by `docs/make_reference.py node`;
tests hold it against the nodes. Parameters: [settings.md](settings.md).

"""
STATES = """
## States

- `lost`: nothing is known. Also said once when a localization no longer holds.
- `candidate`: the best score passes `decision.min_score`, but the images so far do not agree.
- `localized`: the places around the best hold `decision.localized_probability`, and the last
  `decision.agreement_frames` images agreed. It ends below `decision.keep_probability`.

`~/pose` is silent unless localized. Its covariance is the spread of the belief over the places,
the spacing of the map and half of `decision.agreement_radius_m`, added as variances. The rotation
has 0.5 rad: a place is recognised within about 30 degrees of the heading it was seen with.
On the laps of the table below, without the jumps, the true position lay inside the 95 % ellipse
in each of 786 localized images (the same command prints it): deviations were mostly 5.5 to 7 m,
errors 3 to 6 m at the ninetieth percentile and 17 m at most. So it claims too little rather than
too much.

## A robot that is carried elsewhere

It is lost when the belief falls below `decision.keep_probability`, or when the most probable place
lies further from the last than the camera can have moved: half of the jumps below were noticed by
the second image, all by the sixth; until then `~/pose` stays on the old path. How soon it is
localized again depends on the images there: each counts by its score against
`decision.min_score`. With `odom` two things more speak: images that name places along the way that
was driven, and the motion itself, which carries the place over images that say little.

Three laps of Gardens Point, an image every 2.5 m: the map is one lap, the images are another; 40
jumps of 50 m and more, 60 images after each. Wrong: localized again more than 20 m off.
(`python benchmarks/kidnap.py --data DATA --out OUT --laps 0 1`, bundled weights, commit 4cd7330)

| map, images | `odom` | found again, median | by image 20 | by 40 | by 60 | wrong |
| --- | --- | --- | --- | --- | --- | --- |
| 0 day left, 1 day right | yes | 6 images | 95 % | 100 % | 100 % | 0 |
| | no | 8 images | 90 % | 100 % | 100 % | 0 |
| 1 day right, 2 night right | yes | 7 images | 100 % | 100 % | 100 % | 0 |
| | no | 9 images | 90 % | 100 % | 100 % | 0 |
| 0 day left, 2 night right | yes | 26 images | 48 % | 70 % | 85 % | 0 |
| | no | more than 60 | 10 % | 18 % | 35 % | 0 |

So count on 20 to 30 images where single images of that light are mostly recognised, and on
nothing where they are not. Images from elsewhere, on the first map: of Corridor (111) and KITTI 00
(151) none was localized, without odometry or with that of a lap; of 4,645 photographs of rooms,
streets and houses, many of them several times the same room, 45 without and 42 with it
(`--foreign`).

`verification.hypotheses: 5` checks the first five places of each image by geometry, 4 ms a
query. Of single images it changes recall@1 by half a point at most, but what misled the filter
is gone: night on the first map, with `odom`, is then found again after 15 images (70, 93 and 100
% by image 20, 40 and 60), the other lines are as good or better. Of the photographs from
elsewhere 45 are localized without odometry and 54 with it; with `1` only 17 and 38, but without
odometry a jump then costs 13 images (first two maps) where it cost 8 and 9. (The same command
with `--set verification.hypotheses=5`.) It is off by default: one site is not enough to choose
by.

A camera that stands still outside the map, before something that scores above
`decision.min_score`, is localized in the end: each image counts as new. Choose `min_score` by
`r2former map calibrate`.
"""

LAUNCHING = """
## Namespaces, several cameras, compressed images, bags

`namespace:=` moves the node and what it publishes: `/front/localizer/pose`. A topic that begins
with `/` stays where it is, so give those of camera and odometry in full. Nodes may share a map
file, and `/diagnostics`, where the name of each tells them apart. For other cameras than `front`
and `rear`, copy [two_cameras.launch.py](../launch/two_cameras.launch.py) and change its list.

```sh
ros2 launch r2former_ros localize.launch.py map:=site.r2map namespace:=front \\
  image:=/front/image_raw odom:=/front/odom
ros2 launch r2former_ros two_cameras.launch.py map:=site.r2map  # /front, /rear
ros2 launch r2former_ros slam.launch.py namespace:=robot1 image:=/robot1/camera/image_raw \\
  camera_info:=/robot1/camera/camera_info odom:=/robot1/odom tum:=robot1.tum
```

`image_transport:=compressed image:=/camera/image_raw` listens to `/camera/image_raw/compressed`.

For a bag, start the node with the bag's clock. Stamps of results are those of the images in either
case; the clock stamps `/diagnostics`. The node's timers run by the computer's own clock.

```sh
ros2 launch r2former_ros localize.launch.py map:=site.r2map use_sim_time:=true
ros2 bag play lap --clock
```
"""
BACK_END = """
## The node `pose_graph`

Corrects odometry by loop closures; [slam.md](slam.md) says how. It is no lifecycle node, and reads
its parameters, `pose_graph.*`, when it starts. Names are relative to it: `/pose_graph/path`.

"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ['---'] * len(head), *rows]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def reference() -> str:
    """Return the page of settings."""
    rows = [
        (f'`{item.name}`', f'`{item.default!r}`', item.unit,
         item.range_text().replace('|', 'or'), 'run' if item.runtime else '', item.description)
        for item in options()
    ]
    return SETTINGS + table(('name', 'default', 'unit', 'range', 'when', 'meaning'), rows)


def node_reference() -> str:
    """Return the page of topics and services."""
    from r2former_ros.ros.conversions import HYPOTHESIS, LOOP
    from r2former_ros.ros.interface import LOCALIZER, LOOP_CLOSURE, POSE_GRAPH

    parts = [NODE, *interface_tables(LOCALIZER, '##'),
             '## With `loop_closure.enabled`\n\n', *interface_tables(LOOP_CLOSURE, '###')]
    fields, loop_fields = (
        [f'`{name}`' for name in kind.names or ()] for kind in (HYPOTHESIS, LOOP))
    parts += ['## Fields of a hypothesis\n\n', ' '.join(fields), '\n\n',
              'Position and rotation are NaN where a place has no pose; `inliers` is -1 where no '
              'geometric\ncheck was made; the stamp is the place\'s own.\n',
              f'\nA loop closure has more: {" ".join(loop_fields[len(fields):])},\n'
              'the rotation of `place_T_query` and the unit vector from the place to the query; '
              'NaN where they are\nnot known.\n', STATES,
              LAUNCHING, BACK_END, *interface_tables(POSE_GRAPH, '###')]
    return ''.join(parts).rstrip('\n') + '\n'


def interface_tables(interface: Interface, level: str) -> Iterator[str]:
    """Yield headings and tables of what a node publishes, subscribes to and serves."""
    both = (('Publishes', interface.published), ('Subscribes', interface.subscribed))
    for title, topics in both:
        rows = [(f'`{one.name}`', type_name(one.message), one.qos_text(), one.rate, one.meaning)
                for one in topics]
        head = ('topic', 'type', 'QoS', 'rate', 'meaning')
        yield f'{level} {title}\n\n{table(head, rows)}\n'
    if interface.services:
        rows = [(f'`{one.name}`', type_name(one.kind), one.meaning) for one in interface.services]
        yield f'{level} Services\n\n{table(("service", "type", "meaning"), rows)}\n'


def type_name(kind: type) -> str:
    """Return the name of a message or service type as ROS writes it."""
    return f'{kind.__module__.split(".")[0]}/{kind.__name__}'


if __name__ == '__main__':
    print(node_reference() if sys.argv[1:] == ['node'] else reference(), end='')
