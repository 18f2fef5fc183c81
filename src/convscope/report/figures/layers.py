"""What can be read off each layer."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from convscope.measure import Probe
from convscope.report.figures.style import (
    BLUE,
    GRID,
    INK,
    MUTED,
    SMALL,
    TEXT,
    VERMILION,
    canvas,
    in_style,
    shorten,
)


@in_style
def probes_by_layer(probes: Sequence[Probe]) -> Figure:
    """How well a linear classifier does on each layer, and how many directions the layer's features use.

    Args:
        probes: The baseline first, then the layers as they run.

    Returns:
        A figure 3.9 inches wide: accuracy with Wilson's 95 % intervals on the left, effective rank on the right.
    """
    figure, axes = canvas(1.0 + 0.25 * len(probes))
    axes.remove()
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
    places = range(len(probes))
    for place, probe in enumerate(probes):
        left.plot(probe.accuracy.interval, (place, place), color=BLUE, linewidth=1.4, alpha=0.6)
    left.plot([probe.accuracy.value for probe in probes], places, "o", color=BLUE, markersize=5.5)
    left.axvline(probes[0].accuracy.value, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    left.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    left.set_xlabel("linear probe:\ncalled right (%)", fontsize=TEXT)
    right.barh(places, [probe.effective_rank for probe in probes], height=0.6, color=VERMILION, alpha=0.85)
    for place, probe in enumerate(probes):
        right.annotate(
            f"{probe.effective_rank:.0f}", (probe.effective_rank, place), xytext=(3, 0), textcoords="offset points",
            va="center_baseline", fontsize=SMALL - 0.5, color=MUTED,
        )  # fmt: skip
    right.set_xlim(0, 1.22 * max(1.0, *(probe.effective_rank for probe in probes)))
    right.set_xlabel("effective rank:\ndirections in use", fontsize=TEXT)
    labels = [shorten(probe.layer or "(whole network)", 18) + (" *" if probe.pooled else "") for probe in probes]
    left.set_yticks(places, labels, parse_math=False)
    left.set_ylim(len(probes) - 0.4, -0.6)
    for each in (left, right):
        each.set_facecolor("none")
        each.set_axisbelow(True)
        each.spines[["top", "right", "left"]].set_visible(False)
        each.grid(axis="x", color=GRID, linewidth=0.8)
        each.tick_params(color=MUTED, labelcolor=INK, labelsize=SMALL, length=3)
        each.tick_params(axis="y", length=0)
        each.xaxis.set_major_locator(MaxNLocator(4))
    if any(probe.pooled for probe in probes):
        figure.supxlabel(
            f"* averaged to at most {max(p.features for p in probes):,} numbers", fontsize=SMALL, color=MUTED
        )
    return figure
