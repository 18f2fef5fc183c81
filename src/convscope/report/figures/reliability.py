"""Whether a network is as often right as it is sure."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from convscope.measure import Calibration, wilson
from convscope.report.figures.style import BLUE, GRID, INK, MUTED, SMALL, TEXT, VERMILION, canvas, in_style
from convscope.report.wording import plural


@in_style
def reliability(calibration: Calibration) -> Figure:
    """Accuracy against confidence, bin by bin, and how many images each bin holds.

    On the diagonal promises are kept. Below it, marked vermilion, the network is too sure of itself; above it, blue, it
    could be surer. Whiskers are Wilson's 95 % intervals.

    Returns:
        A figure 3.9 inches wide.
    """
    figure, axes = canvas(3.9)
    axes.remove()
    grid = figure.add_gridspec(2, 1, height_ratios=(3.2, 1))
    upper = figure.add_subplot(grid[0], facecolor="none")
    lower = figure.add_subplot(grid[1], facecolor="none", sharex=upper)
    for each in (upper, lower):
        each.spines[["top", "right"]].set_visible(False)
        each.tick_params(color=MUTED, labelcolor=INK, labelsize=SMALL + 0.5, length=3)
        each.set_axisbelow(True)
        each.grid(axis="y", color=GRID, linewidth=0.8)
    _draw_bins(upper, calibration)
    upper.set_title(_verdict(calibration), fontsize=TEXT, color=INK, loc="left", pad=8)
    lower.bar(
        [(each.low + each.high) / 2 for each in calibration.bins],
        [each.count / calibration.total for each in calibration.bins],
        width=0.9 / len(calibration.bins), color=MUTED,
    )  # fmt: skip
    lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    lower.yaxis.set_major_locator(MaxNLocator(3))
    lower.set_ylabel(f"share of\n{plural(calibration.total, 'image')} (%)", fontsize=SMALL)
    lower.set_xlabel("confidence: probability of the class it named (%)", fontsize=TEXT)
    return figure


def _draw_bins(axes: Axes, calibration: Calibration) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    axes.annotate(
        "as sure as right", (0.03, 0.03), xytext=(0, 5), textcoords="offset points", rotation=45, color=MUTED,
        fontsize=SMALL, transform_rotates_text=True, rotation_mode="anchor",
    )  # fmt: skip
    for each in calibration.bins:
        if not each.count:
            continue
        low, high = wilson(each.right, each.count)
        color = BLUE if each.gap >= 0 else VERMILION
        axes.plot([each.confidence] * 2, [low, high], color=color, linewidth=1.2, alpha=0.55, zorder=2)
        axes.plot(
            [each.confidence] * 2, [each.confidence, each.accuracy], color=color, linewidth=4, alpha=0.35, zorder=2
        )
        axes.plot(
            each.confidence, each.accuracy, "D" if each.gap < 0 else "o", color=color, markersize=5.5, zorder=3,
            clip_on=False,
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.03))
    axes.set_ylabel("of these called right (%)", fontsize=TEXT)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.tick_params(axis="x", labelbottom=False)


def _verdict(calibration: Calibration) -> str:
    over = calibration.overconfidence
    way = "too sure" if over > 0 else "not sure enough"
    error = f"Expected calibration error {100 * calibration.expected_error:.1f} points"
    return error if abs(over) < 0.0005 else f"{error};\nby {100 * abs(over):.1f} points {way} on the whole"
