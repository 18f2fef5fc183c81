"""What all figures share: one width, one palette, names that can be drawn, and how pictures are laid in a mosaic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text
from torch import Tensor
from torch.nn import functional as F

P = ParamSpec("P")
T = TypeVar("T")
Pixels = npt.NDArray[np.uint8]

WIDTH = 3.9  # inches: on a phone the figure is as wide as the screen and its text stays readable

# Every colour is a role. In the page each becomes a CSS variable of the same name, so a figure follows its theme.
INK = "#1b1f24"
MUTED = "#59626c"
GRID = "#dde2e8"
PAPER = "#ffffff"
BLUE = "#0072b2"  # this and the next: Okabe and Ito's palette, told apart with every kind of colour vision
VERMILION = "#d55e00"

# Of a number on a coloured cell: hardly different from each other in a file, but not in a theme.
ON_PALE = "#010101"  # black in the light theme, white in the dark one
ON_STRONG = "#fefefe"  # white in the light theme, black in the dark one
BLACK = "#020202"  # in both
WHITE = "#fdfdfd"  # in both

ROLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "card",
    BLUE: "blue",
    VERMILION: "vermilion",
    ON_PALE: "onpale",
    ON_STRONG: "onstrong",
    BLACK: "black",
    WHITE: "white",
}
DARK = {PAPER: "#181c22", BLUE: "#56b4e9", VERMILION: "#f08a3c"}  # what the dark theme makes of them, as in page.css

TEXT = 9.5  # points
SMALL = 8.5

STYLE: dict[str, object] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so a figure has the same size everywhere
    "font.size": TEXT,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.unicode_minus": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "convscope",  # the same figure gives the same file
}


def in_style(draw: Callable[P, T]) -> Callable[P, T]:
    """Make a function draw in our style, whatever the user's own matplotlib settings are."""

    @wraps(draw)
    def drawing(*args: P.args, **kwargs: P.kwargs) -> T:
        with style.context(["default", STYLE]):
            return draw(*args, **kwargs)

    return drawing


def canvas(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """A figure of this size in inches with one quiet pair of axes.

    The layout is computed; nothing is registered anywhere, so a figure is gone when nobody holds it.
    """
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    axes = figure.add_subplot(facecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(color=MUTED, labelcolor=INK, labelsize=SMALL + 0.5, length=3)
    axes.set_axisbelow(True)
    return figure, axes


def bare(axes: Axes) -> None:
    """Take the frame and the ticks away: pictures need none."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


@cache
def _glyphs() -> frozenset[int]:
    """The characters that the figures' font can draw."""
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def shorten(name: str, most: int = 14) -> str:
    """Cut the middle out of a long name, because its ends tell it from its neighbours.

    Example:
        >>> shorten("African hunting dog, wild", most=12)
        'African…wild'
    """
    name = "".join(" " if ord(character) < 32 or ord(character) == 127 else character for character in name)
    if len(name) <= most:
        return name
    tail = (most - 1) // 3 + 1
    return name[: most - 1 - tail].rstrip() + "…" + name[-tail:].lstrip()


def drawn_names(classes: Sequence[str], most: int = 14) -> list[tuple[str, str]]:
    """For each class what the figure draws, and what it means.

    They differ where the font lacks a character: then the figure says ``class 3``, because boxes would be the same
    for every class, and the page, whose fonts have more characters, puts the name back (see ``mean``).

    Example:
        >>> drawn_names(["chat", "猫"])
        [('chat', 'chat'), ('class 1', '猫')]
    """
    short = [shorten(name, most) for name in classes]
    drawable = [all(ord(character) in _glyphs() for character in name) for name in short]
    return [(name if ok else f"class {i}", name) for i, (name, ok) in enumerate(zip(short, drawable, strict=True))]


MEANT = "meant-"


def mean(text: Text, meant: str) -> None:
    """Note what a text stands for, where it could not be drawn; ``rendering.inline`` reads it."""
    if text.get_text() != meant:
        text.set_gid(MEANT + meant.encode("utf-8", "replace").hex())


def label_size(texts: Sequence[str], width: float) -> float:
    """Points at which the longest text is about ``width`` points wide; never above the usual size."""
    return min(SMALL, width / (0.58 * max(map(len, texts), default=1)))


def thumbnails(images: Tensor, side: int) -> Tensor:
    """Shrink pictures to at most ``side`` pixels; smaller ones stay as they are.

    Args:
        images: ``(N, C, H, W)`` uint8.
        side: The longest side in pixels.

    Returns:
        ``(N, h, w, 3)`` uint8; grey and other channel counts become grey in RGB.
    """
    x = images.float()
    scale = side / max(x.shape[2:])
    if scale < 1:  # N,C,H,W -> N,C,h,w
        size = [max(1, round(length * scale)) for length in x.shape[2:]]
        x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
    x = x if x.shape[1] == 3 else x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    return x.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)  # -> N,h,w,3


def mosaic(
    tiles: Pixels, cells: Sequence[tuple[int, int]], *, rows: int, columns: int, pitch: tuple[int, int]
) -> Pixels:
    """Lay tiles on a transparent sheet.

    Args:
        tiles: ``(N, h, w, 3)`` uint8.
        cells: Row and column of each.
        rows: Of the sheet.
        columns: Of the sheet.
        pitch: Pixels from one cell to the next, down and across, at least ``(h, w)``.

    Returns:
        ``(rows * pitch, columns * pitch, 4)`` uint8.
    """
    height, width = tiles.shape[1:3]
    sheet = np.zeros((rows * pitch[0], columns * pitch[1], 4), np.uint8)
    for tile, (row, column) in zip(tiles, cells, strict=True):
        top, left = row * pitch[0], column * pitch[1]
        sheet[top : top + height, left : left + width, :3] = tile
        sheet[top : top + height, left : left + width, 3] = 255
    return sheet
