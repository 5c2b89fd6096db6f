# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""HTML for a report in a single file that needs no network and no script."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: #202124; margin: 0 auto; max-width: 62rem;
       padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2rem; }
img { max-width: 100%; height: auto; display: block; border-radius: 4px; }
table { border-collapse: collapse; } .wide { overflow-x: auto; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #dadce0; text-align: left;
         font-variant-numeric: tabular-nums; white-space: nowrap; }
td:first-child, th:first-child { position: sticky; left: 0; background: #fff; }
.warning { background: #fff3cd; border-left: 4px solid #e0a800; padding: .6rem 1rem; }
.query { display: grid; grid-template-columns: repeat(4, 1fr); gap: .6rem;
         margin: 1rem 0; padding-bottom: 1rem; border-bottom: 1px solid #dadce0; }
.query img { width: 100%; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
.charts figure { flex: 1 1 20rem; max-width: 30rem; }
figure { margin: 0; } figcaption { font-size: .85rem; color: #3c4043; }
.span { grid-column: 1 / -1; max-width: 46rem; } .wide-span { grid-column: 1 / -1; }
.right img { outline: 3px solid #1b8a3a; } .wrong img { outline: 3px solid #c62828; }
.truth img { outline: 3px dashed #5f7fbf; }
.verdict { font-size: 1.1rem; font-weight: 600; }
.zoom { display: block; cursor: zoom-in; position: relative; }
.zoom input { position: absolute; opacity: 0; }
.zoom input:focus-visible + img { outline: 3px solid #1a73e8; }
.zoom input:checked + img { position: fixed; inset: 0; width: 100vw; height: 100vh; z-index: 9;
       max-width: none; object-fit: contain; background: #000d; cursor: zoom-out; outline: 0;
       border-radius: 0; }
td small { color: #5f6368; }
pre { background: #f1f3f4; padding: .8rem; overflow-x: auto; overflow-wrap: normal;
      font-size: .8rem; }
pre.command { white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  th, td { padding: .3rem .4rem; font-size: .85rem; }
  td:first-child { white-space: normal; overflow-wrap: normal; max-width: 11rem; }
  .query { grid-template-columns: repeat(2, 1fr); }
}
summary { cursor: pointer; font-weight: 600; margin-top: 2rem; }
"""


@dataclass(frozen=True)
class Picture:
    """
    A picture with its caption.

    ``kind`` is empty, right, wrong or truth, which frame it, or span or wide-span.
    """

    data: bytes
    caption: str
    kind: str = ''
    mime: str = 'image/jpeg'


def page(title: str, sections: Sequence[str], warning: str = '') -> str:
    """Join sections of HTML to a page."""
    note = f'<p class="warning">{escape(warning)}</p>' if warning else ''
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><style>{STYLE}</style></head>'
        f'<body><h1>{escape(title)}</h1>{note}{"".join(sections)}</body></html>\n'
    )


def table(heading: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a section with a table; the first row is its head, a second line is small."""
    head, *body = [[_cell(cell) for cell in row] for row in rows]
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
    """Return one picture with its caption; a click or the space bar enlarges it."""
    data = base64.b64encode(picture.data).decode()
    caption = escape(picture.caption)
    return (f'<figure class="{picture.kind}"><label class="zoom"><input type="checkbox" '
            f'aria-label="enlarge"><img alt="{caption}" src="data:{picture.mime};base64,{data}">'
            f'</label><figcaption>{caption}</figcaption></figure>')


def charts(heading: str, pictures: Sequence[Picture]) -> str:
    """Return a section with charts, side by side if there is room."""
    return f'<h2>{escape(heading)}</h2><div class="charts">{"".join(map(figure, pictures))}</div>'


def paragraph(text: str, kind: str = '') -> str:
    """Return a paragraph; ``kind`` is empty or verdict."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f'<p>{escape(text)}</p>'


def command_block(heading: str, text: str) -> str:
    """Return a section with a command, its lines wrapped."""
    return f'<h2>{escape(heading)}</h2><pre class="command">{escape(text)}</pre>'


def folded(heading: str, text: str) -> str:
    """Return preformatted text that a click unfolds."""
    return (f'<details><summary>{escape(heading)}</summary>'
            f'<pre>{escape(text)}</pre></details>')


def _cell(text: str) -> str:
    first, _, second = text.partition('\n')
    return f'{escape(first)}<br><small>{escape(second)}</small>' if second else escape(first)
