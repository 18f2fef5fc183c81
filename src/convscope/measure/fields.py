"""What every unit of a tensor sees of the input image, on one axis, unit by unit.

Two answers are kept for each unit. The **theoretical** one counts the padding as if the image went on: it is the same
for all units of a convolution. The **real** one counts only what can change the unit: pixels of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Seen = npt.NDArray[np.bool_]
NOWHERE = np.iinfo(np.int64).min // 4
"""In a table of positions: here nothing is read."""
FAR = np.iinfo(np.int64).max // 4
"""What a unit sees first that sees nothing; it sees ``-FAR`` last."""


@dataclass(frozen=True, eq=False, slots=True)
class Track:
    """What the units along one axis of a tensor see along one axis of the image.

    Args:
        dim: The tensor's axis; None when all units see the same, and then there is one entry for all.
        first: The first pixel that each unit sees; negative in the padding before the image.
        last: The last.
        jump: Pixels between what two neighbouring units see.
        whole: Whether an operator in between looked at all that there was on this axis.
        seen: ``(units, pixels)``, what can really change each unit; None when nobody asked.
    """

    dim: int | None
    first: Integers
    last: Integers
    jump: Fraction = Fraction(1)
    whole: bool = False
    seen: Seen | None = None

    def __len__(self) -> int:
        return len(self.first)

    @property
    def size(self) -> int:
        """Pixels that most units see: all the same, but for transposed convolutions, uneven shares and borders."""
        sizes = self.last - self.first + 1
        if sizes[0] == sizes[-1] == sizes.max() == sizes.min():
            return int(sizes[0])
        values, counts = np.unique(sizes[sizes > 0], return_counts=True)
        return int(values[counts == counts.max()].max()) if len(values) else 1

    @property
    def padding(self) -> int:
        """Pixels by which the first unit's region begins before the image."""
        return -int(self.first[0]) if self.first[0] <= self.last[0] else 0

    def at(self, dim: int | None) -> Track:
        """The same on another axis of the tensor."""
        return self if dim == self.dim else Track(dim, self.first, self.last, self.jump, self.whole, self.seen)

    def everything(self, length: int | None = None, dim: int | None = None) -> Track:
        """What a unit sees that reads the whole axis; for ``length`` such units on ``dim``, or for one for all."""
        shape = 1 if length is None else length
        first, last = np.full(shape, self.first.min()), np.full(shape, self.last.max())
        seen = None if self.seen is None else np.repeat(self.seen.any(0, keepdims=True), shape, 0)
        return Track(None if length is None else dim, first, last, self.jump, True, seen)

    def take(self, positions: Integers, *, jump: Fraction | None = None) -> Track:
        """The units at these positions, in this order; none may lie outside."""
        seen = None if self.seen is None else self.seen[positions]
        step = self.jump if jump is None else jump
        return Track(self.dim, self.first[positions], self.last[positions], step, self.whole, seen)

    def read(self, table: Integers, step: Fraction) -> Track:
        """What units see that each read several positions of this axis.

        Args:
            table: ``(units, taps)``, the positions that each reads. Outside ``0 .. len - 1`` lies padding, whose
                theoretical field goes on as at the border; ``NOWHERE`` reads nothing.
            step: Positions from what one unit reads to what the next reads.
        """
        n = len(self)
        inside = table.clip(0, n - 1)
        beyond = np.where(table == NOWHERE, 0, table - inside)
        shift = beyond * self.jump.numerator / self.jump.denominator
        first = np.where(table == NOWHERE, FAR, self.first[inside] + np.floor(shift).astype(np.int64)).min(1)
        last = np.where(table == NOWHERE, -FAR, self.last[inside] + np.ceil(shift).astype(np.int64)).max(1)
        seen = None
        if self.seen is not None:
            seen = np.zeros((len(table), self.seen.shape[1]), bool)
            for tap in range(table.shape[1]):
                valid = (table[:, tap] >= 0) & (table[:, tap] < n)
                seen[valid] |= self.seen[table[valid, tap]]
        nothing = first > last  # a transposed convolution can make units of zeros: they see a point, not backwards
        if nothing.any():
            first[nothing] = last[nothing] = first[~nothing].min() if not nothing.all() else 0
        return Track(self.dim, first, last, self.jump * step, self.whole, seen)


def source(length: int, dim: int, *, exact: bool) -> Track:
    """The image itself: every pixel sees itself.

    Args:
        length: Pixels on this axis.
        dim: The axis of the tensor.
        exact: Whether to follow what each unit really sees.
    """
    pixels = np.arange(length)
    return Track(dim, pixels, pixels, seen=np.eye(length, dtype=bool) if exact else None)


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
    dim = long[0].dim if long else None
    seen = None
    if first.seen is not None:
        length = max(map(len, tracks))
        seen = np.zeros((length, first.seen.shape[1]), bool)
        for track in tracks:
            seen |= track.seen
    whole = any(t.whole for t in tracks)
    low, high = first.first, first.last
    for track in others:
        low, high = np.minimum(low, track.first), np.maximum(high, track.last)
    local = [t for t in long if not t.whole]
    misaligned = any(
        t.jump != local[0].jump or not np.array_equal(t.first + t.last, local[0].first + local[0].last)
        for t in local[1:]
    )
    jump = local[0].jump if local else first.jump
    return Track(dim, low, high, jump, whole, seen), misaligned


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


def window(length: int, units: int, taps: int, stride: int, padding: int, dilation: int) -> Integers:
    """The positions that a sliding window reads: ``(units, taps)``.

    Example:
        >>> window(5, 3, taps=3, stride=2, padding=1, dilation=1).tolist()
        [[-1, 0, 1], [1, 2, 3], [3, 4, 5]]
    """
    return np.arange(units)[:, None] * stride - padding + np.arange(taps)[None] * dilation


def spread(length: int, units: int, taps: int, stride: int, padding: int, dilation: int) -> Integers:
    """The positions that a transposed window reads: those whose window would have read this unit.

    Example:
        >>> spread(2, 4, taps=2, stride=2, padding=0, dilation=1).tolist() == [
        ...     [0, NOWHERE], [NOWHERE, 0], [1, NOWHERE], [NOWHERE, 1]]
        True
    """
    reached = np.arange(units)[:, None] + padding - np.arange(taps)[None] * dilation
    return np.where(reached % stride == 0, reached // stride, NOWHERE)


def shares(length: int, units: int) -> Integers:
    """The positions that adaptive pooling reads: unit ``i`` those from ``floor(i n / m)`` to ``ceil((i + 1) n / m)``.

    Example:
        >>> shares(5, 2).tolist()
        [[0, 1, 2], [2, 3, 4]]
    """
    start = np.arange(units) * length // units
    stop = -(-(np.arange(1, units + 1) * length) // units)
    return np.minimum(start[:, None] + np.arange((stop - start).max())[None], stop[:, None] - 1)
