# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A report that one file holds: tables, a plan and pictures, readable without a network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #202124; margin: 0 auto; max-width: 62rem;
       padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
img { max-width: 100%; height: auto; display: block; border-radius: 4px; }
table { border-collapse: collapse; } .wide { overflow-x: auto; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #dadce0; text-align: left;
         font-variant-numeric: tabular-nums; }
.warning { background: #fff3cd; border-left: 4px solid #e0a800; padding: .6rem 1rem; }
.query { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .6rem;
         margin: 1rem 0; padding-bottom: 1rem; border-bottom: 1px solid #dadce0; }
figure { margin: 0; } figcaption { font-size: .85rem; color: #3c4043; }
.right img { outline: 3px solid #1b8a3a; } .wrong img { outline: 3px solid #c62828; }
pre { background: #f1f3f4; padding: .8rem; overflow-x: auto; }
"""


@dataclass(frozen=True)
class Picture:
    """A picture with its caption; ``kind`` is right, wrong or empty and colours the frame."""

    data: bytes
    caption: str
    kind: str = ''
    mime: str = 'image/jpeg'


def page(title: str, sections: Sequence[str], warning: str = '') -> str:
    """Put sections of HTML together to one page."""
    note = f'<p class="warning">{escape(warning)}</p>' if warning else ''
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><style>{STYLE}</style></head>'
        f'<body><h1>{escape(title)}</h1>{note}{"".join(sections)}</body></html>\n'
    )


def table(heading: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a section with a table; the first row is its head."""
    head, *body = [[escape(cell) for cell in row] for row in rows]
    lines = [f'<tr>{"".join(f"<td>{cell}</td>" for cell in row)}</tr>' for row in body]
    return (
        f'<h2>{escape(heading)}</h2><div class="wide"><table><thead><tr>'
        f'{"".join(f"<th>{cell}</th>" for cell in head)}</tr></thead>'
        f'<tbody>{"".join(lines)}</tbody></table></div>'
    )


def gallery(heading: str, rows: Sequence[Sequence[Picture]]) -> str:
    """Return a section with rows of pictures."""
    lines = [f'<div class="query">{"".join(map(figure, row))}</div>' for row in rows]
    return f'<h2>{escape(heading)}</h2>{"".join(lines)}'


def figure(picture: Picture) -> str:
    """Return one picture with its caption."""
    data = base64.b64encode(picture.data).decode()
    caption = escape(picture.caption)
    return (f'<figure class="{picture.kind}"><img alt="{caption}" '
            f'src="data:{picture.mime};base64,{data}"><figcaption>{caption}</figcaption></figure>')


def text_block(heading: str, text: str) -> str:
    """Return a section with preformatted text."""
    return f'<h2>{escape(heading)}</h2><pre>{escape(text)}</pre>'
