"""The board that plots numbers while they come."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from convscope.d2l.hyper import HyperParameters
from convscope.d2l.surfaces import Surface, new_figure, surfaces

BATCH_MEAN = "_batch_mean"
"""Ends the names of lines that are kept for comparison and not drawn."""


class Point(NamedTuple):
    """A point of a line: the means over a window."""

    x: Any
    y: Any


class Sample(NamedTuple):
    """One number that waits for its window to be full.

    Args:
        x: Where.
        y: What; a tensor stays on its device until then.
        weight: How much it counts in the mean.
    """

    x: Any
    y: Any
    weight: float


class ProgressBoard(HyperParameters):
    """Curves that grow while a program runs, wherever it runs: see ``convscope.d2l.surfaces``.

    ``data`` maps the name of each line to its points, ``raw_points`` to the numbers that wait for their window to be
    full; both are there from the first ``draw`` on. ``display``, ``xlim``, ``xscale`` and the other arguments are
    attributes and may be changed at any time. All points are means over exactly the windows that the book takes.

    What differs from the book, because nothing can depend on it but a missing or blurred line: a window of no batches
    counts as one of one, and one that becomes smaller while numbers wait is full at once (the book never draws that
    line again); a fifth line has a look of its own (the book leaves it out); without ``xlabel`` the axis says ``x``;
    lines are drawn once and not over each other. ``fig`` is the figure with the curves as they are when it is asked
    for; outside a notebook it is pyplot's, so that ``plt.savefig`` after a training saves it.

    What is ours and not the book's has an underscore: programs keep things of their own in a board.

    Args:
        xlabel: Below the plot.
        ylabel: Beside the plot.
        xlim: First and last number of the axis; None fits the points.
        ylim: First and last number of the axis; None fits the points.
        xscale: ``"linear"`` or ``"log"``.
        yscale: ``"linear"`` or ``"log"``.
        ls: Line styles, one for each line, again from the first when there are more.
        colors: Of the lines, likewise.
        fig: A matplotlib figure to draw on; None makes one.
        axes: Axes to draw on; None takes those of ``fig``.
        figsize: Inches.
        display: Whether to show anything; ``data`` grows in any case.

    Example:
        >>> board = ProgressBoard("x", display=False)
        >>> for i in range(4):
        ...     board.draw(i, i * i, "square", every_n=2)
        >>> board.data["square"]
        [Point(x=0.5, y=0.5), Point(x=2.5, y=6.5)]

    Source:
        Zhang et al., "Dive into Deep Learning", section 3.2.
    """

    xlabel: str | None
    ylabel: str | None
    xlim: Any
    ylim: Any
    xscale: str
    yscale: str
    ls: Sequence[str]
    colors: Sequence[str]
    axes: Any
    figsize: tuple[float, float]
    display: bool
    data: OrderedDict[str, list[Point]]
    raw_points: OrderedDict[str, list[Sample]]

    def __init__(
        self,
        xlabel: str | None = None,
        ylabel: str | None = None,
        xlim: Sequence[float] | None = None,
        ylim: Sequence[float] | None = None,
        xscale: str = "linear",
        yscale: str = "linear",
        ls: Sequence[str] = ("-", "--", "-.", ":"),
        colors: Sequence[str] = ("C0", "C1", "C2", "C3"),
        fig: Any = None,
        axes: Any = None,
        figsize: tuple[float, float] = (3.5, 2.5),
        display: bool = True,
    ) -> None:
        self.save_hyperparameters()

    @property
    def fig(self) -> Any:
        """The figure with the curves so far; None before the first number."""
        return self._picture() if self._fig is None and hasattr(self, "raw_points") else self._fig

    @fig.setter
    def fig(self, figure: Any) -> None:
        self._fig = figure

    def draw(self, x: Any, y: Any, label: str, every_n: int = 1, *, weight: float = 1.0) -> None:
        """Take in a number; when ``every_n`` of them have come, their mean becomes a point of the line.

        Args:
            x: Where.
            y: What: a number, or a tensor with one, which is not waited for before the window is full.
            label: Of the line.
            every_n: Numbers in a window.
            weight: How much this one counts in the mean: images, say.
        """
        if not hasattr(self, "raw_points"):
            self.raw_points, self.data = OrderedDict(), OrderedDict()
        waiting = self.raw_points.setdefault(label, [])
        line = self.data.setdefault(label, [])
        waiting.append(Sample(x, y.detach() if isinstance(y, Tensor) else y, weight))
        if len(waiting) < max(1, every_n):
            return
        line.append(_mean(waiting))
        waiting.clear()
        if not label.endswith(BATCH_MEAN):
            self._show()

    def _show(self) -> None:
        """Let everybody see the lines as they are now, unless ``display`` is off."""
        for surface in self._places() if self.display else ():
            surface.show(self)

    def _settle(self) -> None:
        """Read the numbers that still wait for their window, and leave the final picture where one was shown."""
        for waiting in getattr(self, "raw_points", {}).values():
            ys = _numbers([sample.y for sample in waiting])
            waiting[:] = [sample._replace(y=y) for sample, y in zip(waiting, ys, strict=True)]
        for surface in self.__dict__.get("_surfaces", []):
            surface.close(self)

    def _lines(self) -> Mapping[str, Sequence[tuple[float, float]]]:
        """What is drawn: names and points."""
        data: Mapping[str, list[Point]] = getattr(self, "data", {})
        return {name: [(float(x), float(y)) for x, y in line] for name, line in data.items() if self._drawn(name)}

    def _picture(self) -> Any:
        """The curves as they are now, on ``axes``, ``fig`` or a figure of the board's own."""
        axes = self.axes if self.axes is not None else self._own_axes()
        for old in self.__dict__.pop("_artists", []):
            old.remove()
        looks = zip(itertools.cycle(self.ls), itertools.cycle(self.colors), strict=False)
        self._artists = []
        for (name, line), (style, color) in zip(self._lines().items(), looks, strict=False):
            xs, ys = [x for x, _ in line], [y for _, y in line]
            self._artists += axes.plot(xs, ys, linestyle=style, color=color, label=name)
        axes.set_xlabel(self.xlabel or "x")
        axes.set_ylabel(self.ylabel or "")
        axes.set_xscale(self.xscale)
        axes.set_yscale(self.yscale)
        axes.relim()
        axes.autoscale()
        if self.xlim:
            axes.set_xlim(self.xlim)
        if self.ylim:
            axes.set_ylim(self.ylim)
        if self._artists:
            axes.legend(handles=self._artists)
        return axes.figure

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a file takes along: the numbers. It has no picture yet, and shows its own."""
        here = {name: value for name, value in self.__dict__.items() if name not in ("_surfaces", "_artists")}
        return {**here, "_fig": None, "axes": None}

    def _drawn(self, label: str) -> bool:
        return not label.endswith(BATCH_MEAN)

    def _places(self) -> list[Surface]:
        if not self.__dict__.get("_surfaces"):
            self._surfaces = surfaces()
        return self._surfaces

    def _own_axes(self) -> Any:
        if self._fig is None:
            self._fig = new_figure(self.figsize)
        return self._fig.gca()


OUR_DRAW = ProgressBoard.draw  # to see whether somebody else's stands there


def _numbers(values: Sequence[Any]) -> list[Any]:
    """Numbers out of tensors, all at once: whoever reads one by one waits for the device as often."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    alike = {(value.device, value.dtype, value.shape) for value in tensors}
    if len(alike) != 1 or len(tensors) != len(values):
        return [_plain(value) if isinstance(value, Tensor) else value for value in values]
    return list(_plain(torch.stack(tensors)))


def _plain(value: Tensor) -> Any:
    """A tensor as the number or array that NumPy has for it."""
    value = value.detach().cpu()
    reduced = value.dtype in (torch.bfloat16, torch.float16)
    return (value.float() if reduced else value).numpy()[()]


def _mean(samples: Sequence[Sample]) -> Point:
    """The means of a window; where all count alike they are added up in the precision and order of the book."""
    ys, count = _numbers([sample.y for sample in samples]), len(samples)
    x = sum(sample.x for sample in samples) / count
    weights = [sample.weight for sample in samples]
    if len(set(weights)) == 1:
        return Point(x, sum(ys) / count)
    return Point(x, sum(float(y) * weight for y, weight in zip(ys, weights, strict=True)) / sum(weights))
