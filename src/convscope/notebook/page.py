"""An executed notebook as one HTML file that needs no network and runs no script."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

from convscope.notebook.prose import Prose, data_uri
from convscope.notebook.terminal import plain

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
$style
</style>
</head>
<body>
<main>
$cells
</main>
</body>
</html>
""")
_STYLE = """:root { color-scheme: light dark; }
:root { --page: #fff; --ink: #1b1f24; --muted: #59626c; --code: #f4f6f8; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0f1216; --ink: #e8ebef; --muted: #a2abb6; --code: #181c22; --bad: #ff8a80; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 56rem; margin-inline: auto; padding: 1rem clamp(1rem, 4vw, 2.5rem) 4rem; }
pre { margin: .3rem 0; overflow-x: auto; font: .875rem/1.45 ui-monospace, monospace; }
.source { padding: .6rem .8rem; border-radius: .4rem; background: var(--code); }
.output { padding-inline: .8rem; }
.bad { color: var(--bad); }
.number { color: var(--muted); font-size: .75rem; }
img { max-width: 100%; background: #fff; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .25rem .6rem; border: 1px solid var(--muted); }
"""


def as_page(notebook: Any, title: str, *, folder: Path | None = None) -> str:
    """The page of a notebook: prose with its pictures, code, and what each cell showed.

    Args:
        notebook: An ``nbformat.NotebookNode``.
        title: For the window.
        folder: Where the pictures lie that its prose names; None leaves them as they are named.
    """
    from pygments import highlight  # type: ignore[import-untyped]
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
    from pygments.lexers import PythonLexer  # type: ignore[import-untyped]

    prose, look = Prose(folder), HtmlFormatter(nowrap=True)
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cells.append(f"<section>\n{prose(cell.source, cell.get('attachments'))}</section>")
        elif cell.cell_type == "code":
            cells.append(_code(cell, highlight(cell.source, PythonLexer(), look), prose))
        else:
            cells.append(f"<section>\n<pre>{html.escape(cell.source)}</pre>\n</section>")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".source")
    style = f"{_STYLE}{look.get_style_defs('.source')}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
    return _PAGE.substitute(title=html.escape(title), style=style, cells="\n".join(cells))


def _code(cell: Any, source: str, prose: Callable[[str], str]) -> str:
    number = f"[{cell.execution_count}]" if cell.execution_count else "[ ]"
    shown = "\n".join(_output(output, prose) for output in cell.outputs)
    return (
        f'<section>\n<div class="number">{number}</div>\n<pre class="source">{source}</pre>\n'
        f'<div class="output">\n{shown}\n</div>\n</section>'
    )


def _output(output: Any, prose: Callable[[str], str]) -> str:
    """One output in the richest form that a page without scripts can show."""
    if output.output_type == "stream":
        return _words(output.text, "bad" if output.name == "stderr" else "")
    if output.output_type == "error":
        return _words("\n".join(output.traceback) or f"{output.ename}: {output.evalue}", "bad")
    data = output.data
    if "image/svg+xml" in data:
        return _picture("image/svg+xml", base64.b64encode(data["image/svg+xml"].encode()).decode())
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return _picture(kind, data[kind])
    if "text/html" in data:
        return str(data["text/html"])
    if "text/markdown" in data:
        return prose(data["text/markdown"])
    return _words(str(data.get("text/plain", "")))


def _words(text: str, kind: str = "") -> str:
    return f'<pre class="{kind}">{html.escape(plain(text))}</pre>' if text else ""


def _picture(kind: str, content: str) -> str:
    return f'<img alt="a figure" src="{data_uri(kind, content)}">'
