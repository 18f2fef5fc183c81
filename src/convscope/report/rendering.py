"""From a figure to what a page embeds and what a folder keeps."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from convscope.files import write_bytes
from convscope.report.figures.style import MEANT, ROLES, in_style
from convscope.report.wording import clean

PNG_DPI = 180  # 3.9 inches give 702 pixels
DATELESS = {
    ".png": "Software",
    ".svg": "Date",
    ".pdf": "CreationDate",
}  # what to leave out, so that files are repeatable


@in_style
def settle(figure: Figure) -> None:
    """Compute the layout once; every later drawing keeps it and is quicker."""
    FigureCanvasAgg(figure)  # the layout asks it how large texts are
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")


@in_style
def png(figure: Figure) -> bytes:
    """The figure as a PNG file on white, with nothing in it that depends on the day."""
    buffer, usual = io.BytesIO(), figure.dpi
    figure.dpi = PNG_DPI
    # savefig would draw everything twice
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    figure.dpi = usual
    return buffer.getvalue()


@in_style
def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file, whole or not at all, in the format that the name ends with.

    Args:
        figure: Drawn by ``convscope.report.figures``.
        path: Ends with ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        ValueError: Another ending.
        RunError: It could not be written.
    """
    ending = path.suffix.lower()
    if ending not in DATELESS:
        raise ValueError(f"a figure is written as {', '.join(DATELESS)}; got {str(path)!r}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=ending[1:], dpi=PNG_DPI, metadata={DATELESS[ending]: None})
    write_bytes(path, buffer.getvalue())


@in_style
def inline(figure: Figure, *, prefix: str, label: str) -> str:
    """The figure as an SVG element for the middle of a page.

    Its background is transparent, its colours are the page's CSS variables, its texts are texts in the page's font,
    and its identifiers begin with ``prefix``, so that several figures can share a page.

    Args:
        figure: Drawn by ``convscope.report.figures``.
        prefix: Unique within the page; letters and hyphens.
        label: What a reader who cannot see the figure is told.

    Returns:
        One ``<svg>`` element without any address in it.
    """
    buffer, background = io.StringIO(), figure.get_facecolor()
    figure.set_facecolor("none")
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    figure.set_facecolor(background)
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<g id=") : drawn.rindex("</svg>")]
    drawn = re.sub(r"<!--.*?-->\s*", "", drawn, flags=re.DOTALL)
    drawn = re.sub(rf'(<g id="{MEANT}([0-9a-f]+)">\s*<text[^>]*>)[^<]*', _meant, drawn)
    drawn = re.sub(r'\s*<g id="[^"]*"/>', "", drawn)
    drawn = re.sub(r'<g id="[^"]*">', "<g>", drawn)
    drawn = re.sub(r'\bid="', f'id="{prefix}-', drawn)
    drawn = re.sub(r'xlink:href="#', f'href="#{prefix}-', drawn).replace("xlink:href=", "href=")
    drawn = re.sub(r"url\(#", f"url(#{prefix}-", drawn)
    drawn = re.sub(r' d="[^"]*"', lambda path: _shorter(path[0]), drawn)
    drawn = re.sub(r'style="[^"]*"', lambda style: _themed(style[0]), drawn)
    drawn = re.sub(r">\s+<", ">\n<", drawn)
    width, height = (72 * inches for inches in figure.get_size_inches())
    return (
        f'<svg class="plot" viewBox="0 0 {width:.1f} {height:.1f}" role="img" '
        f'aria-label="{html.escape(label)}">\n{drawn.strip()}\n</svg>'
    )


def _meant(match: re.Match[str]) -> str:
    """Put back a name that the figure's own font could not draw."""
    name = bytes.fromhex(match[2]).decode()
    return match[1] + html.escape(clean(name))


def _shorter(path: str) -> str:
    """Two digits after the point are a hundredth of a point: more than a screen shows."""
    return re.sub(r"(\.\d\d)\d+", r"\1", path.replace("\n", ""))


def _themed(style: str) -> str:
    """Colours by their role, and the page's font instead of the figure's."""
    for color, role in ROLES.items():
        style = style.replace(color, f"var(--{role})")
    style = re.sub(r"font-family:[^;\"]*;?\s*", "", style)
    return re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", style)
