"""The positions of an axis that the units of a sliding window read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
NOWHERE = np.iinfo(np.int64).min // 4
"""In a table of positions: here nothing is read."""


class Sliding(NamedTuple):
    """A window that slides along an axis: which positions each of its units reads."""

    units: int
    taps: int
    stride: int
    padding: int
    dilation: int


def positions(window: Sliding) -> Integers:
    """The positions that a sliding window reads: ``(units, taps)``.

    Example:
        >>> positions(Sliding(units=3, taps=3, stride=2, padding=1, dilation=1)).tolist()
        [[-1, 0, 1], [1, 2, 3], [3, 4, 5]]
    """
    units, taps, stride, padding, dilation = window
    return np.arange(units)[:, None] * stride - padding + np.arange(taps)[None] * dilation


def spread(window: Sliding) -> Integers:
    """The positions that a transposed window reads: those whose window would have read this unit.

    Example:
        >>> spread(Sliding(units=4, taps=2, stride=2, padding=0, dilation=1)).tolist() == [
        ...     [0, NOWHERE], [NOWHERE, 0], [1, NOWHERE], [NOWHERE, 1]]
        True
    """
    units, taps, stride, padding, dilation = window
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
