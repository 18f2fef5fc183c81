"""Small counters: seconds, and sums."""

from __future__ import annotations

import itertools
import time
from typing import Any


class Timer:
    """A stopwatch that remembers every lap; it runs from the moment it is made.

    Example:
        >>> timer = Timer()
        >>> lap = timer.stop()
        >>> timer.times == [lap] == timer.cumsum(), timer.sum() == timer.avg() == lap
        (True, True)

    Source:
        Zhang et al., "Dive into Deep Learning", section 12.5.
    """

    def __init__(self) -> None:
        self.times: list[float] = []
        self.start()

    def start(self) -> None:
        """Begin a lap."""
        self.tik = time.perf_counter()

    def stop(self) -> float:
        """End the lap; its seconds are remembered and given back."""
        self.times.append(time.perf_counter() - self.tik)
        return self.times[-1]

    def avg(self) -> float:
        """Mean seconds of a lap."""
        return sum(self.times) / len(self.times)

    def sum(self) -> float:
        """Seconds of all laps."""
        return sum(self.times)

    def cumsum(self) -> list[float]:
        """Seconds after each lap, from the beginning."""
        return list(itertools.accumulate(self.times))


class Accumulator:
    """Sums of ``n`` things, side by side.

    Example:
        >>> sums = Accumulator(2)
        >>> sums.add(1, 0.5)
        >>> sums.add(2, 0.5)
        >>> sums[0], sums[1]
        (3.0, 1.0)
    """

    def __init__(self, n: int) -> None:
        self.data = [0.0] * n

    def add(self, *args: Any) -> None:
        """Add to each of them; what has more to add than there are sums is cut off."""
        self.data = [total + float(more) for total, more in zip(self.data, args, strict=False)]

    def reset(self) -> None:
        """Begin again from zero."""
        self.data = [0.0] * len(self.data)

    def __getitem__(self, idx: int) -> float:
        return self.data[idx]
