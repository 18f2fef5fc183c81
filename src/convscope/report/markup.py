"""Small pieces of a page. Every text that comes in is escaped; what comes out is HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from convscope.report.wording import clean


def text(value: object) -> str:
    """Any value as harmless text."""
    return html.escape(clean(str(value)))


def paragraph(value: str, *, kind: str = "") -> str:
    """A paragraph, of a class of the style sheet if one is named."""
    return f"<p{_class(kind)}>{text(value)}</p>"


def figure(svg: str, title: str, reading: str, *, kind: str = "") -> str:
    """A card with a heading, a figure and how to read it.

    Args:
        svg: An ``<svg>`` element.
        title: The heading.
        reading: One or two sentences for somebody who sees such a figure for the first time.
        kind: A class of the style sheet.
    """
    return (
        f"<figure{_class(f'card {kind}'.strip())}>\n<h3>{text(title)}</h3>\n"
        f'<div class="scroll">{svg}</div>\n<figcaption>{text(reading)}</figcaption>\n</figure>'
    )


def table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]], *, spare: str = "") -> str:
    """Numbers that scroll inside their own box on a narrow screen; the first column names the row.

    Args:
        caption: What the numbers are.
        headers: One for each column.
        rows: As many texts as there are headers.
        spare: The header of a column that a phone can do without.
    """
    kinds = [_class("spare" if spare and header == spare else "") for header in headers]
    head = "".join(f'<th scope="col"{kind}>{text(header)}</th>' for header, kind in zip(headers, kinds, strict=True))
    body = "\n".join(
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(f"<td{kind}>{text(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(caption)}">\n<table>\n'
        f"<caption>{text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n"
        f"</table>\n</div>"
    )


def facts(title: str, pairs: Iterable[tuple[str, str, str]]) -> str:
    """A card of names and values; the third of each is a remark, and with one the value stands out."""
    lines = []
    for name, value, remark in pairs:
        shown = f"<strong>{text(value)}</strong> <small>{text(remark)}</small>" if remark else text(value)
        lines.append(f"<div><dt>{text(name)}</dt><dd>{shown}</dd></div>")
    return f'<section class="card facts">\n<h3>{text(title)}</h3>\n<dl>\n' + "\n".join(lines) + "\n</dl>\n</section>"


def section(anchor: str, title: str, lead: str, *contents: str) -> str:
    """A part of the page with its heading; empty contents are left out."""
    inside = "\n".join(content for content in contents if content)
    return f'<section id="{anchor}">\n<h2>{text(title)}</h2>\n{paragraph(lead, kind="lead")}\n{inside}\n</section>'


def grid(*cards: str) -> str:
    """Cards side by side where the screen is wide enough."""
    return '<div class="grid">\n' + "\n".join(card for card in cards if card) + "\n</div>"


def details(summary: str, content: str) -> str:
    """Something that opens on request."""
    return f"<details>\n<summary>{text(summary)}</summary>\n{content}\n</details>"


def code(source: str) -> str:
    """Words to type, selected whole with one click."""
    return f'<pre tabindex="0"><code>{text(source)}</code></pre>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
