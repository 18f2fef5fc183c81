"""How well each class is told from the others: the confusion matrix, and precision and recall."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from convscope.measure import Evaluation
from convscope.report.figures.contrast import ink_on
from convscope.report.figures.style import (
    BLUE,
    GRID,
    INK,
    MUTED,
    SMALL,
    TEXT,
    VERMILION,
    WIDTH,
    canvas,
    drawn_names,
    in_style,
    mean,
)

COUNTED = 20  # classes up to which every cell shows its count
LABELLED = 20  # labels that fit on a side
ROOMY = 12  # classes up to which a figure of the usual width has room for counts
SCORED = 30  # classes that fit under each other
CROWDED = 100  # classes above which a cell is smaller than a dot; then only those most confused are shown

GAMMA = 0.6  # rare mistakes would be invisible on a linear scale; the bar shows the same scale


def _opacity(share: float) -> float:
    return float(share**GAMMA)


def most_confused(counts: np.ndarray, most: int = COUNTED) -> list[int]:
    """The classes in the most frequent mistakes, in their own order.

    Args:
        counts: ``(K, K)``; row is what an image is, column is what it was called.
        most: How many.

    Example:
        >>> most_confused(np.array([[5, 0, 0, 1], [0, 5, 3, 0], [0, 2, 5, 0], [0, 0, 0, 5]]), 2)
        [1, 2]
    """
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    chosen: dict[int, None] = {}
    for place in np.argsort(-wrong, axis=None, kind="stable"):
        if len(chosen) >= most or not wrong.flat[place]:
            break
        chosen |= dict.fromkeys(divmod(int(place), len(counts)))
    rest = (i for i in range(len(counts)) if i not in chosen)  # without mistakes there is something to see all the same
    return sorted([*chosen, *rest][:most])


def _label_classes(axes: Axes, classes: Sequence[str], chosen: Sequence[int]) -> None:
    """Names on both sides; every second, third ... when they are many."""
    count = len(chosen)
    places = range(0, count, math.ceil(count / LABELLED))
    every = drawn_names(classes)
    names = [every[i] for i in chosen]
    shown = [names[i][0] for i in places]
    if max(map(len, shown)) > 3:
        slope, side = (45, "top") if count <= LABELLED else (90, "center")
        axes.set_xticks(places, shown, rotation=slope, ha="right", va=side, rotation_mode="anchor", parse_math=False)
    else:
        axes.set_xticks(places, shown, parse_math=False)
    axes.set_yticks(places, shown, parse_math=False)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, i in zip(labels, places, strict=True):
            label.set_fontsize(SMALL if count > 2 else TEXT)
            mean(label, names[i][1])


def _draw_cells(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """One rectangle and one number for each cell that is not empty."""
    count = len(counts)
    longest = len(str(counts.max()))
    size = (
        min(TEXT, 172 / count / (0.62 * longest + 0.5)) if count <= ROOMY else min(7.5, 280 / count / (0.62 * longest))
    )
    for row, column in zip(*counts.nonzero(), strict=True):
        opacity = _opacity(shares[row, column])
        color = BLUE if row == column else VERMILION
        axes.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=color, alpha=opacity, linewidth=0))
        axes.text(
            column, row, str(counts[row, column]), ha="center", va="center_baseline", fontsize=size,
            color=ink_on(color, opacity),
        )  # fmt: skip


def _draw_image(axes: Axes, shares: np.ndarray) -> None:
    """All cells as one transparent picture: thousands of rectangles would make a heavy page."""
    rgba = np.empty((*shares.shape, 4), np.uint8)
    rgba[...] = [*bytes.fromhex("e0761a"), 0]  # between the light and the dark theme's colours: pictures have no theme
    rgba[np.eye(len(shares), dtype=bool)] = [*bytes.fromhex("2a90cc"), 0]
    rgba[..., 3] = np.round(255 * shares**GAMMA)
    axes.imshow(rgba, interpolation="none")


def _draw_scale(figure: Figure, axes: Axes) -> None:
    """What the colours mean: two bars from 0 to 100 per cent of a row."""
    bar = axes.inset_axes((0.0, 1.04, 1.0, 0.1))
    steps = 20
    for i in range(steps):
        opacity = _opacity((i + 0.5) / steps)
        for bottom, color in ((1.05, BLUE), (0.0, VERMILION)):
            bar.add_patch(
                Rectangle((i / steps, bottom), 0.96 / steps, 0.9, facecolor=color, alpha=opacity, linewidth=0)
            )
    bar.set(xlim=(0, 1), ylim=(0, 2))
    bar.spines[:].set_visible(False)
    bar.set_yticks([1.5, 0.45], ["right", "wrong"], fontsize=SMALL)
    bar.xaxis.set_ticks_position("top")
    bar.set_xticks([0, 0.1, 0.25, 0.5, 1], ["0", "10", "25", "50", "100 %"], fontsize=SMALL)
    bar.tick_params(length=0, labelcolor=MUTED, pad=2)


@in_style
def confusion(evaluation: Evaluation) -> Figure:
    """What images are (rows) against what they were called (columns).

    Colours are shares of a row, so that rare classes count as much as frequent ones: blue where both agree,
    vermilion for mistakes. Up to 20 classes each cell shows its number of images. Of more than 100 classes the 20 in
    the most frequent mistakes are shown, their shares still being of all images of the row.

    Returns:
        A figure 3.9 inches wide, or 6.4 where there are 13 to 20 classes to show.
    """
    counts = evaluation.confusion.numpy()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    total = len(counts)
    chosen = list(range(total)) if total <= CROWDED else most_confused(counts)
    counts, shares = (values[np.ix_(chosen, chosen)] for values in (counts, shares))
    side = WIDTH if not ROOMY < len(counts) <= COUNTED else 6.4
    figure, axes = canvas(side * 1.06, side)
    if len(counts) <= COUNTED:
        _draw_cells(axes, counts, shares)
    else:
        _draw_image(axes, shares)
    axes.set(xlim=(-0.5, len(counts) - 0.5), ylim=(len(counts) - 0.5, -0.5), aspect="equal")
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(GRID)
    axes.tick_params(length=0 if len(counts) <= LABELLED else 3)
    _label_classes(axes, evaluation.classes, chosen)
    some = (
        "" if len(chosen) == total else f"\n({len(chosen)} of {total:,} classes: those in the most frequent mistakes)"
    )
    axes.set_xlabel(f"what the network said{some}", fontsize=TEXT)
    axes.set_ylabel("what the image is", fontsize=TEXT)
    _draw_scale(figure, axes)
    return figure


@in_style
def per_class(evaluation: Evaluation) -> Figure:
    """Precision and recall of every class that has images; of more than 30 classes, the 30 with the lowest F1.

    Returns:
        A figure 3.9 inches wide, as high as the classes need.
    """
    scores = [(label, score) for label, score in enumerate(evaluation.per_class) if score.support]
    if len(scores) > SCORED:
        scores = sorted(scores, key=lambda each: each[1].f1)[:SCORED]
    figure, axes = canvas(1.0 + (0.31 if len(scores) <= ROOMY else 0.24) * len(scores))
    places = range(len(scores))
    precision = [score.precision for _, score in scores]
    recall = [score.recall for _, score in scores]
    axes.hlines(places, precision, recall, color=GRID, linewidth=3, zorder=1)
    axes.plot(precision, places, "o", color=BLUE, markersize=6, label="precision: of those called so, right")
    axes.plot(
        recall, places, "D", color=VERMILION, markersize=5.5, markerfacecolor="none", markeredgewidth=1.6,
        label="recall: of those that are, found",
    )  # fmt: skip
    names = drawn_names(evaluation.classes)
    axes.set_yticks(places, [names[i][0] for i, _ in scores], parse_math=False)
    for label, (i, _) in zip(axes.get_yticklabels(), scores, strict=True):
        mean(label, names[i][1])
    lowest = min(0.9, math.floor(10 * min(precision + recall)) / 10)
    axes.set(xlim=(1 - 1.04 * (1 - lowest), 1 + 0.04 * (1 - lowest)), ylim=(len(scores) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.set_xlabel(
        "share of images (%)" + (f"\n(the axis begins at {100 * lowest:.0f} %)" if lowest else ""), fontsize=TEXT
    )
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    figure.legend(
        loc="outside upper left", ncols=1, frameon=False, fontsize=SMALL + 0.5, labelcolor=INK, handletextpad=0.3,
        borderaxespad=0.2,
    )  # fmt: skip
    return figure
