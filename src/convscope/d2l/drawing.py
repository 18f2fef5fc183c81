"""Pictures and plots of a moment, drawn with pyplot as the book's are."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from convscope.d2l.surfaces import Surface, new_figure, surfaces

FORMATS = ("-", "m--", "g-.", "r:")


def use_svg_display() -> None:
    """Let a notebook show figures as SVG; elsewhere there is nothing to do."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg")  # type: ignore[no-untyped-call]


def set_figsize(figsize: tuple[float, float] = (3.5, 2.5)) -> None:
    """Set the size in inches of the figures that pyplot makes from here on."""
    from matplotlib import pyplot

    use_svg_display()
    pyplot.rcParams["figure.figsize"] = figsize


def set_axes(
    axes: Any, xlabel: Any, ylabel: Any, xlim: Any, ylim: Any, xscale: str, yscale: str, legend: Sequence[str] | None
) -> None:
    """Label and scale a pair of axes, and give them a grid."""
    axes.set(xlabel=xlabel or "", ylabel=ylabel or "", xscale=xscale, yscale=yscale)
    axes.set_xlim(xlim)
    axes.set_ylim(ylim)
    if legend:
        axes.legend(legend)
    axes.grid()


def plot(
    X: Any,
    Y: Any = None,
    xlabel: str | None = None,
    ylabel: str | None = None,
    legend: Sequence[str] = (),
    xlim: Any = None,
    ylim: Any = None,
    xscale: str = "linear",
    yscale: str = "linear",
    fmts: Sequence[str] = FORMATS,
    figsize: tuple[float, float] = (3.5, 2.5),
    axes: Any = None,
) -> None:
    """Draw one line or several.

    Args:
        X: Positions of one line, or a list with those of each; without ``Y``, the heights.
        Y: Heights, likewise; lines may share one ``X``.
        xlabel: Below the plot.
        ylabel: Beside the plot.
        legend: A name for each line.
        xlim: First and last number of the axis.
        ylim: First and last number of the axis.
        xscale: ``"linear"`` or ``"log"``.
        yscale: ``"linear"`` or ``"log"``.
        fmts: matplotlib's format of each line.
        figsize: Inches.
        axes: Where to draw; None takes pyplot's current axes.

    Source:
        Zhang et al., "Dive into Deep Learning", section 2.4.
    """
    from matplotlib import pyplot

    across = [X] if _is_line(X) else list(X)
    if Y is None:
        across, up = [None] * len(across), across
    else:
        up = [Y] if _is_line(Y) else list(Y)
    if len(across) != len(up):
        across = across * len(up)
    set_figsize(figsize)
    axes = pyplot.gca() if axes is None else axes
    axes.cla()
    for x, y, look in zip(across, up, fmts, strict=False):
        if x is None or not len(x):
            axes.plot(_array(y), look)
        else:
            axes.plot(_array(x), _array(y), look)
    set_axes(axes, xlabel, ylabel, xlim, ylim, xscale, yscale, legend)


def show_images(
    imgs: Any, num_rows: int, num_cols: int, titles: Sequence[str] | None = None, scale: float = 1.5
) -> Any:
    """Show pictures in a grid.

    Args:
        imgs: ``(N, H, W)``, ``(N, H, W, 3)``, or a list of tensors, arrays or Pillow's images.
        num_rows: Of the grid.
        num_cols: Of the grid.
        titles: One for each picture.
        scale: Inches for each picture.

    Returns:
        The axes, row by row, as a flat array; also for a grid of one.

    Source:
        Zhang et al., "Dive into Deep Learning", section 4.2.
    """
    import numpy as np
    from matplotlib import pyplot

    _, axes = pyplot.subplots(num_rows, num_cols, figsize=(num_cols * scale, num_rows * scale), squeeze=False)
    grid = np.asarray(axes).flatten()
    for number, (place, image) in enumerate(zip(grid, imgs, strict=False)):
        place.imshow(_array(image))
        place.get_xaxis().set_visible(False)
        place.get_yaxis().set_visible(False)
        if titles:
            place.set_title(titles[number])
    return grid


class Animator:
    """Lines that grow, as the book's first edition has them; shown where ``ProgressBoard`` shows its own.

    Args:
        xlabel: Below the plot.
        ylabel: Beside the plot.
        legend: A name for each line.
        xlim: First and last number of the axis.
        ylim: First and last number of the axis.
        xscale: ``"linear"`` or ``"log"``.
        yscale: ``"linear"`` or ``"log"``.
        fmts: matplotlib's format of each line.
        nrows: Rows of axes.
        ncols: Columns of axes.
        figsize: Inches.
    """

    def __init__(
        self,
        xlabel: str | None = None,
        ylabel: str | None = None,
        legend: Sequence[str] | None = None,
        xlim: Any = None,
        ylim: Any = None,
        xscale: str = "linear",
        yscale: str = "linear",
        fmts: Sequence[str] = FORMATS,
        nrows: int = 1,
        ncols: int = 1,
        figsize: tuple[float, float] = (3.5, 2.5),
    ) -> None:
        self.fig = new_figure(figsize)
        axes = self.fig.subplots(nrows, ncols)
        self.axes = [axes] if nrows * ncols == 1 else axes
        self.xlabel, self.ylabel, self.legend = xlabel, ylabel, list(legend or [])
        self.xlim, self.ylim, self.xscale, self.yscale = xlim, ylim, xscale, yscale
        self.fmts = fmts
        self.X: list[list[Any]] | None = None
        self.Y: list[list[Any]] | None = None
        self._surfaces: list[Surface] = []

    def add(self, x: Any, y: Any) -> None:
        """Add a point to each line; None adds nothing to that one.

        Args:
            x: One position for all lines, or one for each.
            y: One height for each line.
        """
        ys = [_number(value) for value in (y if hasattr(y, "__len__") else [y])]
        xs = list(x) if hasattr(x, "__len__") else [x] * len(ys)
        self.X = self.X or [[] for _ in ys]
        self.Y = self.Y or [[] for _ in ys]
        for i, (a, b) in enumerate(zip(xs, ys, strict=False)):
            if a is not None and b is not None:
                self.X[i].append(a)
                self.Y[i].append(b)
        self._surfaces = self._surfaces or surfaces()
        for surface in self._surfaces:
            surface.show(self)

    def _settle(self) -> None:
        """Leave the final picture."""
        for surface in self._surfaces:
            surface.close(self)

    def _lines(self) -> Mapping[str, Sequence[tuple[float, float]]]:
        """Names and points."""
        points = [list(zip(x, y, strict=True)) for x, y in zip(self.X or [], self.Y or [], strict=True)]
        names = [*self.legend, *(f"line {i + 1}" for i in range(len(self.legend), len(points)))]
        return dict(zip(names, points, strict=False))

    def config_axes(self) -> None:
        """Label and scale the first pair of axes, on which the lines are."""
        axes = self._axes
        drawn = self.legend[: len(axes.lines)]
        set_axes(axes, self.xlabel, self.ylabel, self.xlim, self.ylim, self.xscale, self.yscale, drawn)

    @property
    def _axes(self) -> Any:
        first = self.axes[0]
        return first[0] if hasattr(first, "__len__") else first

    def _picture(self) -> Any:
        """The lines as they are now."""
        axes = self._axes
        axes.cla()
        for x, y, look in zip(self.X or [], self.Y or [], self.fmts, strict=False):
            axes.plot(x, y, look)
        self.config_axes()
        return self.fig


def _is_line(values: Any) -> bool:
    """Whether these are the numbers of one line."""
    if hasattr(values, "ndim"):
        return bool(values.ndim == 1)
    return isinstance(values, Iterable) and all(not hasattr(value, "__len__") for value in values)


def _array(values: Any) -> Any:
    """What matplotlib takes: tensors may lie on another device and have gradients."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
