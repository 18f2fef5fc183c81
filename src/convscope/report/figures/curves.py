"""How a training went: loss, accuracy, learning rate and gradient norm over the epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from convscope.report.figures.style import BLUE, GRID, INK, MUTED, SMALL, TEXT, VERMILION, canvas, in_style
from convscope.report.wording import SPLITS, percent
from convscope.train import History, Row

HEIGHT = 2.75  # inches
FEW = 40  # points up to which each gets a marker
FEW_DECADES = 100.0  # between lowest and highest, up to which 2 and 5 are marked beside 1 and 10


def _places(history: History, rows: Sequence[Row]) -> list[float]:
    """Where rows belong, in epochs; in steps where no epoch was finished."""
    if not history.of("epoch"):
        return [float(row.step) for row in rows]
    guesses = _guesses(history, rows)
    return [guess if row.epochs is None else row.epochs for row, guess in zip(rows, guesses, strict=True)]


def _guesses(history: History, rows: Sequence[Row]) -> list[float]:
    """Places of rows that do not say it, as those of earlier versions do not: between the ends of epochs.

    Epochs may differ in their number of steps, where a run went on with other batches. A last one with fewer than the
    one before it counts as a part of an epoch.
    """
    ends = [(0, 0), *((row.step, row.epoch) for row in history.of("epoch"))]
    if len(ends) > 2 and ends[-1][0] - ends[-2][0] < ends[-2][0] - ends[-3][0]:
        ends.pop()
    steps, epochs = np.array(ends).T
    pace = (epochs[-1] - epochs[-2]) / (steps[-1] - steps[-2])  # of what comes after the last end
    where = np.array([row.step for row in rows])
    return list(np.interp(where, steps, epochs) + pace * np.maximum(where - steps[-1], 0))


def _points(history: History, rows: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    """Where and how high: places (see ``_places``) and the finite values of that name."""
    rows = [row for row in rows if math.isfinite(row.values.get(name, math.nan))]
    return _places(history, rows), [row.values[name] for row in rows]


def _training_rows(history: History) -> tuple[Row, ...]:
    """Whatever was noted more often: every few steps, or every epoch."""
    return max(history.of("step"), history.of("epoch"), key=len)


def _last(history: History, name: str) -> float | None:
    """What the table of epochs says last; without a finished epoch, the last that was noted."""
    for kind in ("epoch", "step"):
        values = _points(history, history.of(kind), name)[1]
        if values:
            return values[-1]
    return None


def _labels(history: History, what: str) -> tuple[str, str]:
    """What the legend says of both lines: whose they are, and where they ended."""
    names = {"training": f"train_{what}", SPLITS[history.split]: f"{history.split}_{what}"}
    ends = {images: _last(history, name) for images, name in names.items()}
    training, held = (
        "" if end is None else f"{images} {percent(end) if what == 'accuracy' else f'{end:.3f}'}"
        for images, end in ends.items()
    )
    return training, held


def _line(
    axes: Axes, x: list[float], y: list[float], color: str, label: str, marker: str, *, linewidth: float = 1.6
) -> None:
    if not x:
        return
    shown = marker if len(x) <= FEW else ""
    axes.plot(x, y, color=color, label=label, marker=shown, markersize=4, linewidth=linewidth, solid_capstyle="round")


def _both(axes: Axes, history: History, what: str) -> None:
    """The line of the training images, as fine as it was noted, and the line of those that epochs were judged by."""
    training, held = _labels(history, what)
    _line(axes, *_points(history, _training_rows(history), f"train_{what}"), BLUE, training, "o")
    _line(axes, *_points(history, history.of("epoch"), f"{history.split}_{what}"), VERMILION, held, "D")


def _finish(axes: Axes, history: History, ylabel: str) -> None:
    """Labels, grid and legend; a sentence instead of an empty plot."""
    axes.set_xlabel("epoch" if history.of("epoch") else "step", fontsize=TEXT)
    axes.set_ylabel(ylabel, fontsize=TEXT)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    whole = axes.get_xlim()[1] >= 1  # of a run within its first epoch, 0 would be the only mark
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=whole, min_n_ticks=1))
    if not axes.lines:
        axes.text(0.5, 0.5, "nothing was measured yet", transform=axes.transAxes, ha="center", va="center", color=MUTED)
        return
    axes.set_xlim(left=0)
    named = axes.get_legend_handles_labels()[1]
    if named:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=len(named), frameon=False, fontsize=SMALL + 0.5,
            labelcolor=INK, borderaxespad=0.2, handlelength=1.4, columnspacing=1.4, handletextpad=0.5,
        )  # fmt: skip


def _level(axes: Axes, level: float, text: str) -> None:
    """A dotted line with its name: what guessing gives, or a limit."""
    axes.axhline(level, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    axes.annotate(
        text, (1, level), xycoords=("axes fraction", "data"), xytext=(0, 2), textcoords="offset points",
        ha="right", va="bottom", fontsize=SMALL, color=MUTED,
    )  # fmt: skip


@in_style
def loss_curve(history: History, *, num_classes: int | None = None) -> Figure:
    """Loss on the training images and on the images that each epoch was judged by.

    Args:
        history: Of a run, finished or not.
        num_classes: When given, a dotted line marks what guessing costs: ``log(num_classes)``.

    Returns:
        A figure 3.9 inches wide. Lines: training, then test or validation, then guessing. The legend gives the values
        of the last epoch; of the training images that is the mean over it.
    """
    figure, axes = canvas(HEIGHT)
    _both(axes, history, "loss")
    if num_classes and axes.lines:
        _level(axes, math.log(num_classes), "guessing")
    _finish(axes, history, "cross-entropy loss (nats)")
    axes.set_ylim(bottom=0)
    return figure


@in_style
def accuracy_curve(history: History, *, num_classes: int | None = None) -> Figure:
    """Accuracy on the training images and on the images that each epoch was judged by.

    Args:
        history: Of a run, finished or not.
        num_classes: When given, a dotted line marks what guessing gives: ``1 / num_classes``.

    Returns:
        A figure 3.9 inches wide. Lines: training, then test or validation, then guessing. The legend gives the values
        of the last epoch; of the training images that is the mean over it.
    """
    figure, axes = canvas(HEIGHT)
    _both(axes, history, "accuracy")
    lowest = min([float(np.min(line.get_ydata())) for line in axes.lines], default=0.0)
    if num_classes and axes.lines and lowest < 0.5:
        _level(axes, 1 / num_classes, "guessing")
        lowest = 0.0
    start = 0.0 if lowest < 0.5 else min(0.9, math.floor(10 * lowest) / 10)
    _finish(axes, history, "images called right (%)" + (f", from {100 * start:.0f}" if start else ""))
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    axes.set_ylim(start, 1.005)
    return figure


@in_style
def learning_rate(history: History) -> Figure:
    """The learning rate that the optimiser used, wherever it was noted.

    Returns:
        A figure 3.9 inches wide with one line.
    """
    figure, axes = canvas(HEIGHT)
    noted = {row.step: row for row in (*history.of("epoch"), *history.of("step")) if "lr" in row.values}
    x, y = _points(history, [noted[step] for step in sorted(noted)], "lr")
    _line(axes, x, y, BLUE, "_", "o")
    _finish(axes, history, "learning rate")
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4), useMathText=False)
    return figure


@in_style
def gradient_norm(history: History, *, clip: float = 0.0) -> Figure:
    """The length of the whole gradient before clipping, at every step that was noted, on a logarithmic axis.

    Args:
        history: Of a run, finished or not.
        clip: When above 0, a dotted line marks the length that longer gradients were cut to.

    Returns:
        A figure 3.9 inches wide. Lines: the norm, then the limit. A gradient of zero has no place on the axis.
    """
    figure, axes = canvas(HEIGHT)
    positive = [row for row in history.of("step") if row.values.get("grad_norm", 0.0) > 0]
    x, y = _points(history, positive, "grad_norm")
    _line(axes, x, y, BLUE, "_", "o", linewidth=1.6 if len(x) <= FEW else 0.9)  # it jumps: a thick line is a blot
    if axes.lines:
        axes.set_yscale("log")
        few = max(y) < FEW_DECADES * min(y)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=9))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if clip:
            _level(axes, clip, "clipped to this")
    _finish(axes, history, "norm of the gradient")
    return figure
