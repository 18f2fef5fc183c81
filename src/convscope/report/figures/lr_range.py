"""The learning-rate range test as a picture: how the loss moves while the rate grows."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from convscope.report.figures.style import BLUE, GRID, INK, MUTED, PAPER, SMALL, TEXT, VERMILION, canvas, in_style
from convscope.train.find_lr import LrRange

HEIGHT = 3.1  # inches
ROOM = 0.6  # share of the descent that is shown above the beginning: what diverges leaves the picture

_STOPS = {
    "end": "reached the highest rate",
    "diverged": "stopped: above four times the lowest",
    "not finite": "stopped: the next loss was no number",
}


@in_style
def lr_range(found: LrRange, *, title: str | None = None) -> Figure:
    """Loss against learning rate, batch by batch and smoothed, with both suggestions marked.

    Args:
        found: What the test gave.
        title: Above the figure; none leaves it out.

    Returns:
        A figure 3.9 inches wide. Lines: the loss of each batch, the smoothed loss, then one for each suggestion.
    """
    figure, axes = canvas(HEIGHT)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate", fontsize=TEXT)
    axes.set_ylabel("loss of a batch (nats)", fontsize=TEXT)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=TEXT + 1, color=INK)
    if not found.rates:
        axes.text(0.5, 0.5, str(found), transform=axes.transAxes, ha="center", va="center", color=MUTED, wrap=True)
        return figure
    axes.plot(found.rates, found.losses, color=MUTED, linewidth=0.8, alpha=0.45, label="each batch")
    axes.plot(found.rates, found.smoothed, color=BLUE, linewidth=1.8, label="smoothed", solid_capstyle="round")
    axes.xaxis.set_major_locator(LogLocator(numticks=9))
    _frame(axes, found)
    _mark(axes, found.steepest, found, "o", f"falls fastest: {found.steepest:.2g}" if found.steepest else "")
    tenth = found.tenth_of_lowest
    _mark(axes, tenth, found, "D", f"a tenth of the lowest: {tenth:.2g}" if tenth else "")
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, frameon=False, fontsize=SMALL, labelcolor=INK,
        borderaxespad=0.2, handlelength=1.4, columnspacing=1.4, handletextpad=0.5,
    )  # fmt: skip
    axes.annotate(
        _STOPS[found.stopped] if found.steepest else "no descent: nothing to suggest", (0, 0),
        xycoords="axes fraction", xytext=(4, 4), textcoords="offset points", fontsize=SMALL, color=MUTED,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
    )  # fmt: skip
    return figure


def _frame(axes: Axes, found: LrRange) -> None:
    """Show the descent whole and cut off what explodes; a flat curve is not blown up to look like one."""
    lowest, start = min(found.smoothed), found.smoothed[0]
    height = max(start - lowest, 0.2 * abs(start), 1e-12)
    axes.set_ylim(min(min(found.losses), lowest) - 0.12 * height, max(start, found.losses[0]) + ROOM * height)


def _mark(axes: Axes, rate: float | None, found: LrRange, marker: str, label: str) -> None:
    """A suggestion, on the smoothed curve; below its first rate, on the axis."""
    if rate is None:
        return
    near = min(range(len(found.rates)), key=lambda step: abs(found.rates[step] - rate))
    axes.plot(
        [rate], [found.smoothed[near]], marker, color=VERMILION, markersize=7, label=label, linestyle="none", zorder=3,
        clip_on=False,
    )  # fmt: skip
    axes.axvline(rate, color=VERMILION, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
