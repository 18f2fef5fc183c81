"""Two small watches of the loop: one for losses that are no numbers, one for time."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from convscope.train.distributed import ALONE, World


class BadLoss(ArithmeticError):
    """A loss that was NaN or infinite, and where it happened.

    Args:
        step: The step that had it, from 1.
        lr: The learning rate of that step.
        loss: What it was.
    """

    def __init__(self, step: int, lr: float, loss: float) -> None:
        super().__init__(f"the loss became {loss} at step {step:,} (learning rate {lr:.3g})")
        self.step, self.lr, self.loss = step, lr, loss


class LossWatch:
    """Looks at every loss, but only when ``every`` of them have come: each look waits for the device.

    Args:
        every: How many losses are looked at together.
        world: Processes whose losses belong together; they look at the same time, so that all see what one saw.

    Example:
        >>> watch = LossWatch(every=3)
        >>> for step, loss in ((1, 2.0), (2, float("inf")), (3, 2.0)):
        ...     watch.see(step, 0.1, torch.tensor(loss))
        Traceback (most recent call last):
        convscope.train.watch.BadLoss: the loss became inf at step 2 (learning rate 0.1)
    """

    def __init__(self, every: int, world: World = ALONE) -> None:
        self.every = every
        self._world = world
        self._unseen: list[tuple[int, float, Tensor]] = []

    def see(self, step: int, lr: float, loss: Tensor) -> None:
        """Take in the loss of a step, and look when it is time.

        Raises:
            BadLoss: As ``look``.
        """
        self._unseen.append((step, lr, loss.detach()))
        if len(self._unseen) >= self.every:
            self.look()

    def look(self) -> None:
        """Look at all that were not looked at yet.

        Raises:
            BadLoss: The first of them that is not finite.
        """
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return
        losses: list[float] = self._world.sum(torch.stack([loss for _, _, loss in unseen])).tolist()
        for (step, lr, _), loss in zip(unseen, losses, strict=True):
            if not math.isfinite(loss):
                raise BadLoss(step, lr, loss)


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
