"""Where curves are shown: in a notebook, in a terminal, in a file. A display is never required.

=====================  ===============================================================================
a notebook             one picture, replaced in place a few times a second and once more at the end
a terminal             a chart of text on stderr, drawn again with every new point
a script               a picture file beside it at the end, ``SCRIPT-1.png`` for the first board
=====================  ===============================================================================

A script that is run in a terminal has both of the latter.
"""

from __future__ import annotations

import atexit
import io
import itertools
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from convscope.d2l.textchart import Points, chart, fitted
from convscope.d2l.voice import say

EVERY = 0.2  # seconds between two pictures in a notebook: more would flicker and keep the network waiting
MAKER = "convscope.d2l"
_numbers = itertools.count(1)


class Curves(Protocol):
    """What can be shown."""

    xlim: Any
    ylim: Any
    xscale: str
    yscale: str

    def _lines(self) -> Mapping[str, Points]:
        """Names and points of what is to be seen."""

    def _picture(self) -> Any:
        """The same as a ``matplotlib.figure.Figure``."""


class Surface(Protocol):
    """A place that shows curves."""

    def show(self, curves: Curves) -> None:
        """New points have come."""

    def close(self, curves: Curves) -> None:
        """No more points come for now: leave the final picture."""


def new_figure(figsize: tuple[float, float], **options: Any) -> Any:
    """A matplotlib figure to draw curves on.

    Outside a notebook it is pyplot's current one from here on, as the book's is; in a notebook, where pyplot's figures
    are shown by themselves, it is not, so that nothing is shown twice.

    Args:
        figsize: Inches.
        options: Of ``matplotlib.figure.Figure``.
    """
    if _notebook_shell() is None:
        from matplotlib import pyplot

        with suppress(ImportError, RuntimeError):  # a backend that needs a display, and there is none
            return pyplot.figure(figsize=figsize, **options)
    from matplotlib.figure import Figure

    return Figure(figsize=figsize, **options)


def surfaces() -> list[Surface]:
    """The places that suit this process."""
    if (shell := _notebook_shell()) is not None:
        return [Notebook(shell)]
    found: list[Surface] = [Terminal()] if _has_terminal() else []
    if _program() is not None or not found:
        found.append(PictureFile())
    return found


class Notebook:
    """One picture in the output of the cell that runs; another cell begins another picture.

    Args:
        shell: The IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._handle: Any = None
        self._sent = -EVERY
        self._due: Curves | None = None

    def show(self, curves: Curves) -> None:
        """Replace the picture, unless it was replaced just now; the end of the cell brings what is left."""
        if self._handle is None:
            self._shell.events.register("post_run_cell", self._end_cell)
        self._due = curves
        if self._handle is None or time.monotonic() - self._sent >= EVERY:
            self._send(curves)

    def close(self, curves: Curves) -> None:
        """Replace the picture by the final one."""
        if self._due is not None:
            self._send(curves)

    def _send(self, curves: Curves) -> None:
        from IPython.display import display

        picture = {"image/svg+xml": _as_file(curves._picture(), "svg").decode(), "text/plain": _summary(curves)}
        if self._handle is None:
            self._handle = display(picture, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(picture, raw=True)
        self._due, self._sent = None, time.monotonic()

    def _end_cell(self, *_: Any) -> None:
        if self._due is not None:
            self._send(self._due)
        self._handle, self._sent = None, -EVERY
        self._shell.events.unregister("post_run_cell", self._end_cell)


class Terminal:
    """A chart of text that is drawn over itself."""

    def __init__(self) -> None:
        self._live: Any = None

    def show(self, curves: Curves) -> None:
        """Draw the chart again."""
        from rich.console import Console
        from rich.live import Live

        if self._live is None:
            self._live = Live(console=Console(stderr=True), auto_refresh=False)
            self._live.start()
            atexit.register(self._stop)  # a terminal whose cursor is hidden is a nuisance
        lines = {name: points for name, points in curves._lines().items() if points}
        xs, ys = ([point[axis] for points in lines.values() for point in points] for axis in (0, 1))
        x = fitted(xs, curves.xlim, log=curves.xscale == "log")
        y = fitted(ys, curves.ylim, log=curves.yscale == "log")
        encoding = (self._live.console.encoding or "").lower()
        self._live.update(chart(lines, x, y, unicode=encoding.startswith("utf")), refresh=True)

    def close(self, curves: Curves) -> None:
        """Leave the last chart on the screen."""
        self._stop()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            atexit.unregister(self._stop)


class PictureFile:
    """A PNG in the current folder; the same program run again replaces its own, and nobody else's."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._due: Curves | None = None

    def show(self, curves: Curves) -> None:
        """Remember that there is something to write, when a training ends or the program does."""
        self._path = self._path or _free_name()  # at exit Python has forgotten which file ran
        if self._due is None:
            atexit.register(self._write)
        self._due = curves

    def close(self, curves: Curves) -> None:
        """Write the picture."""
        self._write()

    def _write(self) -> None:
        if self._due is None or self._path is None:
            return
        curves, self._due = self._due, None
        atexit.unregister(self._write)
        content = _as_file(curves._picture(), "png")
        try:
            self._path.write_bytes(content)
        except OSError as error:
            warnings.warn(f"the curves could not be written to {self._path}: {error.strerror or error}", stacklevel=2)
        else:
            say(f"the curves are in {self._path}")


def _as_file(figure: Any, form: str) -> bytes:
    """A figure as the bytes of a file."""
    content = io.BytesIO()
    sharp = {"dpi": 200, "metadata": {"Software": MAKER}} if form == "png" else {"metadata": {"Date": None}}
    figure.savefig(content, format=form, bbox_inches="tight", **sharp)
    return content.getvalue()


def _summary(curves: Curves) -> str:
    """One line, for whoever cannot see pictures."""
    return ", ".join(f"{name} {points[-1][1]:.4g}" for name, points in curves._lines().items() if points)


def _free_name() -> Path:
    """``SCRIPT-1.png``, or the next number whose file is not somebody else's."""
    program = _program()
    stem = "plot" if program is None else program.parent.name if program.stem == "__main__" else program.stem
    while True:
        path = Path(f"{stem}-{next(_numbers)}.png")
        if not path.exists() or _is_ours(path):
            return path


def _is_ours(path: Path) -> bool:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.info.get("Software") == MAKER
    except (OSError, UnidentifiedImageError):
        return False


def _program() -> Path | None:
    """The file that runs; None at a prompt and for code that is in no file."""
    name = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(name) if name and not hasattr(sys, "ps1") else None


def _has_terminal() -> bool:
    from rich.console import Console

    console = Console(stderr=True)
    return console.is_terminal and not console.is_dumb_terminal


def _notebook_shell() -> Any:
    """The IPython shell of a Jupyter kernel; None elsewhere, also in IPython's own terminal."""
    ipython = sys.modules.get("IPython")
    get: Callable[[], Any] | None = getattr(ipython, "get_ipython", None)
    shell = get() if get is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None
