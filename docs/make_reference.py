# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Write the table of settings from the dataclasses that define them.

    python docs/make_reference.py > docs/settings.md
"""

from r2former_ros.config import options

HEAD = """# Settings

ROS parameters of the node `localizer`, keys of a `--config` file, and names for `--set` on the
command line. The node reads them when it is configured; `pose_graph.*` are read by the node
`pose_graph`. Written by `docs/make_reference.py`.

| name | default | unit | range | meaning |
|---|---|---|---|---|
"""


def reference() -> str:
    """Return the page."""
    rows = []
    for item in options():
        allowed = item.range_text().replace('|', 'or')
        rows.append(
            f'| `{item.name}` | `{item.default!r}` | {item.unit} | {allowed} '
            f'| {item.description} |'
        )
    return HEAD + '\n'.join(rows) + '\n'


if __name__ == '__main__':
    print(reference(), end='')
