"""What every unit of a tensor sees of the input image, on one axis, unit by unit.

Two answers are kept for each unit. The **theoretical** one counts the padding as if the image went on: it is the same
for all units of a convolution. The **real** one counts only what can change the unit: pixels of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from convscope.measure.field_windows import NOWHERE, Integers, Sliding, positions

Seen = npt.NDArray[np.bool_]
Number = int | Fraction
FAR = np.iinfo(np.int64).max // 4
"""What a unit sees first that sees nothing; it sees ``-FAR`` last."""


class Line(NamedTuple):
    """Units that all see as many pixels and lie evenly apart.

    Args:
        start: The first pixel that the first unit sees.
        step: Pixels from one unit to the next.
        size: Pixels that each sees.
        units: How many there are.
    """

    start: int
    step: int
    size: int
    units: int

    @property
    def middle(self) -> int:
        """Twice the centre of what the first unit sees."""
        return 2 * self.start + self.size


class Track:
    """What the units along one axis of a tensor see along one axis of the image.

    Mostly all units see as much and lie evenly apart, and then four whole numbers say it all: such a track is a
    ``line``, and its arrays are made when somebody asks for them.

    Args:
        dim: The tensor's axis; None when all units see the same, and then there is one entry for all.
        first: The first pixel that each unit sees; negative in the padding before the image.
        last: The last.
        jump: Pixels between what two neighbouring units see.
        whole: Whether an operator in between looked at all that there was on this axis.
        seen: ``(units, pixels)``, what can really change each unit; None when nobody asked.
        line: In place of ``first`` and ``last``.
    """

    __slots__ = ("_first", "_last", "dim", "jump", "line", "seen", "whole")

    def __init__(
        self,
        dim: int | None,
        first: Integers | None,
        last: Integers | None,
        jump: Number = 1,
        whole: bool = False,
        seen: Seen | None = None,
        line: Line | None = None,
    ) -> None:
        self.dim, self.jump, self.whole, self.seen, self.line = dim, jump, whole, seen, line
        self._first, self._last = first, last

    def __len__(self) -> int:
        return self.line.units if self.line is not None else len(self.first)

    @property
    def first(self) -> Integers:
        """The first pixel that each unit sees."""
        if self._first is None:
            start, step, _, units = self.line or Line(0, 0, 1, 0)
            self._first = start + step * np.arange(units)
        return self._first

    @property
    def last(self) -> Integers:
        """The last."""
        if self._last is None:
            self._last = self.first + ((self.line.size if self.line else 1) - 1)
        return self._last

    @property
    def size(self) -> int:
        """Pixels that most units see: all the same, but for transposed convolutions, uneven shares and borders."""
        if self.line is not None:
            return self.line.size
        sizes = self.last - self.first + 1
        if sizes[0] == sizes[-1] == sizes.max() == sizes.min():
            return int(sizes[0])
        values, counts = np.unique(sizes[sizes > 0], return_counts=True)
        return int(values[counts == counts.max()].max()) if len(values) else 1

    @property
    def padding(self) -> int:
        """Pixels by which the first unit's region begins before the image."""
        if self.line is not None:
            return -self.line.start
        return -int(self.first[0]) if self.first[0] <= self.last[0] else 0

    def at(self, dim: int | None) -> Track:
        """The same on another axis of the tensor."""
        if dim == self.dim:
            return self
        return Track(dim, self._first, self._last, self.jump, self.whole, self.seen, self.line)

    def alike(self, other: Track) -> bool:
        """Whether another is known to see the same, because they share their numbers."""
        if self.seen is not other.seen or self.jump != other.jump or self.whole != other.whole:
            return False
        if self.line is not None:
            return self.line == other.line
        return self._first is not None and self._first is other._first and self._last is other._last

    def everything(self, length: int | None = None, dim: int | None = None) -> Track:
        """What a unit sees that reads the whole axis; for ``length`` such units on ``dim``, or for one for all."""
        units = 1 if length is None else length
        if self.line is not None:
            start, step, size, count = self.line
            line = Line(start, 0, (count - 1) * step + size, units)
        else:
            low, high = int(self.first.min()), int(self.last.max())
            line = Line(low, 0, high - low + 1, units)
        seen = None if self.seen is None else np.repeat(self.seen.any(0, keepdims=True), units, 0)
        return Track(None if length is None else dim, None, None, self.jump, True, seen, line)

    def take(self, positions: Integers, *, jump: Number | None = None) -> Track:
        """The units at these positions, in this order; none may lie outside."""
        seen = None if self.seen is None else self.seen[positions]
        step = self.jump if jump is None else jump
        return Track(self.dim, self.first[positions], self.last[positions], step, self.whole, seen)

    def slide(self, window: Sliding) -> Track:
        """What the units of a sliding window see; the padding is as if the image went on."""
        units, taps, stride, padding, dilation = window
        line = self.line
        if line is None or line.step != self.jump or units < 1:
            return self.read(positions(window), stride)
        reach = (taps - 1) * dilation * line.step
        after = Line(line.start - padding * line.step, line.step * stride, line.size + reach, units)
        seen = None if self.seen is None else self._seen_by(positions(window))
        return Track(self.dim, None, None, self.jump * stride, self.whole, seen, after)

    def read(self, table: Integers, step: Number) -> Track:
        """What units see that each read several positions of this axis.

        Args:
            table: ``(units, taps)``, the positions that each reads. Outside ``0 .. len - 1`` lies padding, whose
                theoretical field goes on as at the border; ``NOWHERE`` reads nothing.
            step: Positions from what one unit reads to what the next reads.
        """
        inside = table.clip(0, len(self) - 1)
        beyond = np.where(table == NOWHERE, 0, table - inside)
        shift = beyond * self.jump.numerator / self.jump.denominator
        first = np.where(table == NOWHERE, FAR, self.first[inside] + np.floor(shift).astype(np.int64)).min(1)
        last = np.where(table == NOWHERE, -FAR, self.last[inside] + np.ceil(shift).astype(np.int64)).max(1)
        seen = None if self.seen is None else self._seen_by(table)
        nothing = first > last  # a transposed convolution can make units of zeros: they see a point, not backwards
        if nothing.any():
            first[nothing] = last[nothing] = first[~nothing].min() if not nothing.all() else 0
        return Track(self.dim, first, last, self.jump * step, self.whole, seen)

    def _seen_by(self, table: Integers) -> Seen:
        """What can really change units that read these positions."""
        if self.seen is None:
            raise ValueError("this track does not follow what can really change its units")
        seen = np.zeros((len(table), self.seen.shape[1]), bool)
        for tap in range(table.shape[1]):
            valid = (table[:, tap] >= 0) & (table[:, tap] < len(self))
            seen[valid] |= self.seen[table[valid, tap]]
        return seen


def source(length: int, dim: int, *, exact: bool) -> Track:
    """The image itself: every pixel sees itself.

    Args:
        length: Pixels on this axis.
        dim: The axis of the tensor.
        exact: Whether to follow what each unit really sees.
    """
    seen = np.eye(length, dtype=bool) if exact else None
    return Track(dim, None, None, seen=seen, line=Line(0, 1, 1, length))


def join(tracks: Sequence[Track]) -> tuple[Track, bool]:
    """What units see that combine units of several tensors at the same place.

    Returns:
        The union, and whether the branches are misaligned: their units have different centres or steps, so that the
        same place means different places of the image.
    """
    first = tracks[0]
    others = [t for t in tracks[1:] if t is not first]
    if not others:
        return first, False
    tracks = [first, *others]
    long = [t for t in tracks if t.dim is not None]
    if len({t.dim for t in long}) > 1:  # one looks along this axis, another along that: no unit's place says what
        return join([t.everything() for t in tracks])[0], False
    dim = long[0].dim if long else None
    whole = any(t.whole for t in tracks)
    local = [t for t in long if not t.whole]
    jump = local[0].jump if local else first.jump
    misaligned = not all(_aligned(local[0], t) for t in local[1:])
    seen = None
    if first.seen is not None:
        seen = np.zeros((max(map(len, tracks)), first.seen.shape[1]), bool)
        for track in tracks:
            seen |= track.seen
    line = _line_around(tracks)
    if line is not None:
        return Track(dim, None, None, jump, whole, seen, line), misaligned
    low, high = first.first, first.last
    for track in others:
        low, high = np.minimum(low, track.first), np.maximum(high, track.last)
    return Track(dim, low, high, jump, whole, seen), misaligned


def _aligned(a: Track, b: Track) -> bool:
    """Whether the units of two branches have the same centres and steps."""
    if a.jump != b.jump:
        return False
    if a.line is not None and b.line is not None:
        return a.line.middle == b.line.middle and a.line[1::2] == b.line[1::2]
    return np.array_equal(a.first + a.last, b.first + b.last)


def _line_around(tracks: Sequence[Track]) -> Line | None:
    """The union of lines, where it is a line again: where their units lie equally far apart."""
    lines = [t.line for t in tracks if t.line is not None]
    if len(lines) < len(tracks) or any(line[1::2] != lines[0][1::2] for line in lines):
        return None
    start = min(line.start for line in lines)
    return Line(start, lines[0].step, max(line.start + line.size for line in lines) - start, lines[0].units)


def blank(length: int, like: Track) -> Track:
    """An axis of units that see nothing yet, for others to be written into."""
    seen = None if like.seen is None else np.zeros((length, like.seen.shape[1]), bool)
    return Track(like.dim, np.full(length, FAR), np.full(length, -FAR), like.jump, False, seen)


def written(before: Track, part: Track, positions: Integers) -> Track:
    """Units some of which have been written over by others; what they saw is not forgotten."""
    first, last, seen = before.first.copy(), before.last.copy(), None
    first[positions] = np.minimum(first[positions], part.first)
    last[positions] = np.maximum(last[positions], part.last)
    if before.seen is not None and part.seen is not None:
        seen = before.seen.copy()
        seen[positions] |= part.seen
    return Track(before.dim, first, last, part.jump, before.whole or part.whole, seen)
