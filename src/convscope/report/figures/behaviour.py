"""What becomes of an answer when the image is moved or changed, and what the border is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter

from convscope.measure import BorderEffect, LayerEquivariance, Response, ShiftConsistency
from convscope.report.figures.contrast import contrast, rgb
from convscope.report.figures.style import (
    BLUE,
    GRID,
    INK,
    MUTED,
    PAPER,
    SMALL,
    TEXT,
    VERMILION,
    WIDTH,
    canvas,
    in_style,
    shorten,
)
from convscope.report.wording import plural

SEQUENTIAL = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#9ecae8", BLUE, "#003a5c"])
WRITTEN = 11  # cells on a side up to which each has room for its number


def _readable_on(share: float) -> str:
    """White or dark, whichever stands out more on the colour of that share."""
    red, green, blue, _ = SEQUENTIAL(share)
    cell = (float(red), float(green), float(blue))
    return max((PAPER, INK), key=lambda ink: contrast(rgb(ink), cell))


def _ticks(k: int, step: int) -> list[int]:
    """The shifts that were tried, every second, third ... when they are many; 0 is among them."""
    every = step * math.ceil((2 * k // step + 1) / 9)
    return [*range(-(k // every) * every, k + 1, every)]


@in_style
def shift_table(result: ShiftConsistency) -> Figure:
    """For each shift, the share of images whose class stays.

    Returns:
        A figure 3.9 inches wide: a table of ``2k+1`` rows (pixels down) and columns (pixels to the right).
    """
    figure, axes = canvas(WIDTH * 1.12)
    k, step, shares = result.max_shift, result.step, result.agreement.numpy()
    end = k + step / 2
    image = axes.imshow(shares, cmap=SEQUENTIAL, norm=Normalize(0, 1), extent=(-end, end, end, -end))
    if len(shares) <= WRITTEN:
        for (row, column), share in np.ndenumerate(shares):
            axes.text(
                step * column - k, step * row - k, f"{100 * share:.0f}", ha="center", va="center_baseline",
                color=_readable_on(share), fontsize=min(TEXT, 82 / len(shares)),
            )  # fmt: skip
    axes.spines[:].set_visible(False)
    axes.set_xlabel("moved to the right by (pixels of the input)", fontsize=TEXT)
    axes.set_ylabel("moved down by (pixels)", fontsize=TEXT)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(_ticks(k, step)))
    low, high = result.unchanged.interval
    border = "what leaves on one side comes in opposite" if result.mode == "circular" else "black comes in"
    axes.set_title(
        f"{100 * result.unchanged.value:.1f} % of {plural(result.unchanged.total, 'image')} keep their class\n"
        f"through all {plural(shares.size - 1, 'shift')} ({100 * low:.1f} to {100 * high:.1f} %);\n{border}",
        fontsize=SMALL + 0.5, color=INK, loc="left",
    )  # fmt: skip
    bar = figure.colorbar(image, ax=axes, location="bottom", aspect=40, pad=0.02, fraction=0.05)
    bar.set_label("images whose class stays (%)", fontsize=SMALL + 0.5, color=INK)
    bar.ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    bar.ax.tick_params(labelsize=SMALL, labelcolor=INK, color=MUTED)
    bar.outline.set_visible(False)
    return figure


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    """Names down the left side, the first at the top."""
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GRID, linewidth=0.8)


@in_style
def responses(rows: Sequence[Response]) -> Figure:
    """For each change, the share of images whose class stays, and of those called right where labels are known.

    Returns:
        A figure 3.9 inches wide; whiskers are Wilson's 95 % intervals.
    """
    figure, axes = canvas(1.1 + 0.27 * len(rows))
    for place, row in enumerate(rows):
        axes.plot(row.unchanged.interval, (place, place), color=BLUE, linewidth=1.4, alpha=0.6)
    axes.plot(
        [row.unchanged.value for row in rows], range(len(rows)), "o", color=BLUE, markersize=6, label="class stays"
    )
    if all(row.right is not None for row in rows):
        right = [row.right.value for row in rows if row.right is not None]
        axes.plot(
            right, range(len(rows)), "D", color=VERMILION, markersize=5.5, markerfacecolor="none", markeredgewidth=1.6,
            label="called right",
        )  # fmt: skip
        figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=SMALL + 0.5, labelcolor=INK)
    _rows(axes, [row.label for row in rows])
    axes.set_xlim(-0.04, 1.04)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.set_xlabel(f"share of {plural(rows[0].unchanged.total, 'image')} (%)", fontsize=TEXT)
    return figure


@in_style
def equivariance(rows: Sequence[LayerEquivariance]) -> Figure:
    """How far each layer's output is from moving along with the image.

    Returns:
        A figure 3.9 inches wide, the first layer at the top; whiskers are Student's 95 % intervals.
    """
    figure, axes = canvas(0.95 + 0.24 * len(rows))
    for place, row in enumerate(rows):
        axes.barh(place, row.error.value, height=0.62, color=BLUE, alpha=0.85)
        axes.plot(row.error.interval, (place, place), color=INK, linewidth=1.2)
    _rows(axes, [shorten(row.layer, 20) for row in rows])
    axes.set_xlim(left=0)
    counted = plural(rows[0].error.total, "image")
    axes.set_xlabel(f"what moving leaves over\n(share of output; mean of {counted})", fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    return figure


@in_style
def border_map(effect: BorderEffect, *, paths: Sequence[float] = (), depth: int = 0) -> Figure:
    """How strongly the winning score hangs on each pixel, and on each ring of pixels around the image.

    Args:
        effect: Measured by gradients.
        paths: For comparison, the ring means of ``measure.path_counts`` relative to the whole image.
        depth: How many layers ``paths`` was counted for.

    Returns:
        A figure 3.9 inches wide: the map above, the rings below.
    """
    figure, axes = canvas(6.2)
    axes.remove()
    above, below = figure.subfigures(2, 1, height_ratios=(1.65, 1), squeeze=False)[:, 0]
    upper, lower = above.add_subplot(), below.add_subplot(facecolor="none")
    values = effect.map.numpy() / max(float(effect.map.mean()), 1e-30)
    image = upper.imshow(values, cmap=SEQUENTIAL, norm=Normalize(0, float(values.max()) or 1.0), interpolation="none")
    upper.set_xlabel("column (pixels)", fontsize=TEXT)
    upper.set_ylabel("row (pixels)", fontsize=TEXT)
    bar = above.colorbar(image, ax=upper, location="bottom", aspect=40, pad=0.02, fraction=0.05)
    bar.set_label("mean |gradient| of the winning score (1 = mean)", fontsize=SMALL + 0.5, color=INK)
    bar.ax.tick_params(labelsize=SMALL, labelcolor=INK, color=MUTED)
    bar.outline.set_visible(False)
    _draw_rings(lower, effect, paths, depth)
    for each in (upper, lower):
        each.tick_params(color=MUTED, labelcolor=INK, labelsize=SMALL, length=3)
        each.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_rings(axes: Axes, effect: BorderEffect, paths: Sequence[float], depth: int) -> None:
    distance = range(len(effect.rings))
    low, high = zip(*(ring.interval for ring in effect.rings), strict=True)
    axes.axhline(1, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
    axes.fill_between(distance, low, high, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(distance, [ring.value for ring in effect.rings], "o-", color=BLUE, markersize=4, label="this network")
    if len(paths):
        axes.plot(
            distance, paths, "D--", color=VERMILION, markersize=4, markerfacecolor="none", linewidth=1.2,
            label=f"{depth} 3x3 layers of ones",
        )  # fmt: skip
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, frameon=False, fontsize=SMALL, labelcolor=INK,
            borderaxespad=0.2, handlelength=1.6, columnspacing=1.2,
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("distance from the border (pixels)", fontsize=TEXT)
    axes.set_ylabel("mean of the ring", fontsize=TEXT)
