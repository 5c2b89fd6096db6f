# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Generate the tables of the docs from the code that defines their content.

    python docs/make_reference.py > docs/settings.md
    python docs/make_reference.py node

The second command rewrites the generated blocks of docs/node.md in place and leaves its prose.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from r2former_ros.config import options

if TYPE_CHECKING:
    from r2former_ros.ros.interface import Interface

NODE_PAGE = Path(__file__).with_name('node.md')
SETTINGS = """# Settings

ROS parameters of the node `localizer`, keys of a `--config` file, and names for `--set` on the
command line. A configured node takes those marked *run* from the next image on; it refuses the
others, which it reads when it is configured. `pose_graph.*` are read by the node `pose_graph`.
Written by `docs/make_reference.py`.

"""
BLOCK = re.compile(r'(<!-- generated: (\w+) -->\n).*?(<!-- end -->\n)', re.DOTALL)


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
    """Return ``docs/node.md`` with its generated blocks filled again; the prose stays."""
    from r2former_ros.ros.conversions import HYPOTHESIS, LOOP
    from r2former_ros.ros.interface import LOCALIZER, LOOP_CLOSURE, POSE_GRAPH

    fields, loop_fields = (
        [f'`{name}`' for name in kind.names or ()] for kind in (HYPOTHESIS, LOOP))
    blocks = {
        'localizer': ''.join(interface_tables(LOCALIZER, '##')),
        'loop_closure': ''.join(interface_tables(LOOP_CLOSURE, '###')),
        'hypothesis_fields': ' '.join(fields) + '\n\n',
        'loop_fields': ' '.join(loop_fields[len(fields):]) + '\n\n',
        'pose_graph': ''.join(interface_tables(POSE_GRAPH, '###')),
    }
    page = NODE_PAGE.read_text(encoding='utf-8')
    if set(blocks) != {name for _, name, _ in BLOCK.findall(page)}:
        raise SystemExit(f'{NODE_PAGE.name}: expected the generated blocks {", ".join(blocks)}; '
                         'restore the page from git and run this again')
    return BLOCK.sub(lambda found: f'{found[1]}\n{blocks[found[2]]}{found[3]}', page)


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
    if sys.argv[1:] == ['node']:
        NODE_PAGE.write_text(node_reference(), encoding='utf-8')
    else:
        print(reference(), end='')
