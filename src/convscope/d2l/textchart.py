"""Curves as text, for a terminal: eight dots to a character where the terminal has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from rich.text import Text

WIDTH, HEIGHT = 60, 12  # characters
COLORS = ("blue", "yellow", "green", "red", "magenta", "cyan")
MARKS = "*+ox#@"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # bit of each dot of a braille character

Points = Sequence[tuple[float, float]]


class Scale(NamedTuple):
    """From numbers to 0..1 along an axis."""

    low: float
    high: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a number lies; outside 0..1 where it is outside the axis, NaN where it is nowhere on it."""
        low, high, value = (self._placed(number) for number in (self.low, self.high, value))
        return (value - low) / (high - low) if high > low else 0.5 if value == low else math.nan

    def _placed(self, number: float) -> float:
        if not self.log:
            return number
        return math.log10(number) if number > 0 else math.nan


def fitted(values: Iterable[float], limits: Sequence[float] | None, *, log: bool = False) -> Scale:
    """A scale that shows all values, or just what lies within limits that somebody set.

    Example:
        >>> fitted([3.0, 1.0, float("nan")], None)
        Scale(low=1.0, high=3.0, log=False)
    """
    if limits:
        return Scale(float(limits[0]), float(limits[1]), log)
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    return Scale(min(finite, default=0.0), max(finite, default=1.0), log)


def chart(lines: Mapping[str, Points], x: Scale, y: Scale, *, unicode: bool = True) -> Text:
    """Draw every line in its colour, with the latest value of each below.

    Args:
        lines: Names and points, oldest first.
        x: Of the horizontal axis.
        y: Of the vertical axis.
        unicode: Whether braille dots can be shown; otherwise each line has a mark of its own.

    Example:
        >>> drawn = chart({"loss": [(0, 2.0), (1, 1.0)]}, Scale(0, 1), Scale(1, 2), unicode=False).plain
        >>> drawn[:16], drawn[-16:]
        ('       2 |***   ', '* loss 1.0000   ')
    """
    canvas = _Canvas(unicode)
    for number, points in enumerate(lines.values()):
        for across, up in _dots([(x(a), y(b)) for a, b in points], canvas.columns, canvas.rows):
            canvas.put(across, up, number)
    text = Text()
    for row in range(HEIGHT):
        label = {0: y.high, HEIGHT - 1: y.low}.get(row)
        text.append(f"{'' if label is None else f'{label:.4g}':>8} {'│' if unicode else '|'}", style="dim")
        for column in range(WIDTH):
            canvas.write(text, row, column)
        text.append("\n")
    text.append(f"{'':9}{x.low:<{WIDTH // 2}.4g}{x.high:>{WIDTH // 2}.4g}\n", style="dim")
    text.append(" " * 9)
    for number, (name, points) in enumerate(lines.items()):
        mark = "" if unicode else MARKS[number % len(MARKS)] + " "
        last = f"{points[-1][1]:.4f}" if points else "-"
        text.append(f"{mark}{name} {last}   ", style=COLORS[number % len(COLORS)])
    return text


class _Canvas:
    """Characters, each made of dots or of one mark, and which line came last in each."""

    def __init__(self, unicode: bool) -> None:
        self.unicode = unicode
        self.columns, self.rows = (2 * WIDTH, 4 * HEIGHT) if unicode else (WIDTH, HEIGHT)
        self._cells: dict[tuple[int, int], tuple[int, int]] = {}  # (row, column): (dots, line)

    def put(self, across: int, up: int, line: int) -> None:
        down = self.rows - 1 - up
        if self.unicode:
            cell, bit = (down // 4, across // 2), _DOTS[down % 4][across % 2]
        else:
            cell, bit = (down, across), 0
        self._cells[cell] = (self._cells.get(cell, (0, 0))[0] | bit, line)

    def write(self, text: Text, row: int, column: int) -> None:
        if (row, column) not in self._cells:
            text.append(" ")
            return
        dots, line = self._cells[row, column]
        mark = chr(0x2800 + dots) if self.unicode else MARKS[line % len(MARKS)]
        text.append(mark, style=COLORS[line % len(COLORS)])


def _dots(points: Points, columns: int, rows: int) -> set[tuple[int, int]]:
    """The dots of a line through points in 0..1; what is outside, or no number, leaves a gap."""
    place: Callable[[float, int], int] = lambda share, count: round(share * (count - 1))  # noqa: E731
    found: set[tuple[int, int]] = set()
    before: tuple[float, float] | None = None
    for point in points:
        if not all(0 <= share <= 1 for share in point):  # NaN is not either
            before = None
            continue
        start = before or point
        steps = max(1, round(max(abs(point[0] - start[0]) * columns, abs(point[1] - start[1]) * rows)))
        for i in range(steps + 1):
            a, b = (start[axis] + (point[axis] - start[axis]) * i / steps for axis in (0, 1))
            found.add((place(a, columns), place(b, rows)))
        before = point
    return found
