"""Two small watches of the loop: one for losses that are no numbers, one for time."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import torch
from torch import Tensor


class BadLoss(NamedTuple):
    """The first loss that was NaN or infinite, and where it happened."""

    step: int
    lr: float
    loss: float


class LossWatch:
    """Looks at every loss, but only when ``every`` of them have come: each look waits for the device.

    Example:
        >>> watch = LossWatch(every=3)
        >>> [watch.see(step, 0.1, torch.tensor(loss)) for step, loss in ((1, 2.0), (2, float("inf")))]
        [None, None]
        >>> watch.see(3, 0.1, torch.tensor(2.0))
        BadLoss(step=2, lr=0.1, loss=inf)
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._unseen: list[tuple[int, float, Tensor]] = []

    def see(self, step: int, lr: float, loss: Tensor) -> BadLoss | None:
        """Take in the loss of a step; the first bad one, when it is time to look and there is one."""
        self._unseen.append((step, lr, loss))
        return self.look() if len(self._unseen) >= self.every else None

    def look(self) -> BadLoss | None:
        """The first bad loss of those that were not looked at yet."""
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return None
        losses: list[float] = torch.stack([loss for _, _, loss in unseen]).tolist()
        for (step, lr, _), loss in zip(unseen, losses, strict=True):
            if not math.isfinite(loss):
                return BadLoss(step, lr, loss)
        return None


class Stopwatch:
    """Seconds that pass between ``start`` and ``stop``, added up; ``seconds`` may be given from an earlier sitting."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def start(self) -> None:
        """Begin to count."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Count no more for now."""
        self._seconds, self._since = self.seconds, None

    @property
    def seconds(self) -> float:
        """All that was counted up to now."""
        return self._seconds + (time.perf_counter() - self._since if self._since is not None else 0.0)
