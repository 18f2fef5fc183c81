"""Small watches of the loop: for losses that are no numbers, for what several processes agree on, for time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from convscope.train.distributed import ALONE, World

AGREE_EVERY = 10  # steps between two exchanges about stopping, saving and bad losses, where several processes train
AGREE_SECONDS = 2.0  # or so much time, where steps are slow: torchrun kills 30 s after it asked to stop


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


class Agreement:
    """What several processes decide together between two steps: to stop, to save.

    Asking waits for all of them, so it is done every ``AGREE_EVERY`` steps, or more often where steps are slow.

    Args:
        world: The processes.
        clock: Seconds.

    Example:
        >>> Agreement(ALONE).votes(1, False, True)
        (False, True)
    """

    def __init__(self, world: World, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._world = world
        self._clock = clock
        self._last: tuple[int, float] | None = None
        self._next = 0

    def votes(self, step: int, stop: bool, save: bool = False, *, at_once: bool = False) -> tuple[bool, bool]:
        """Whether any process is asked to stop, and whether the first one wants to save; all hear the same.

        Args:
            step: Steps done in all.
            stop: Whether this process was asked to stop.
            save: Whether it is time to save.
            at_once: Ask now; otherwise only when it is time, and the answer is no until then.
        """
        if self._world.size == 1:
            return stop, save
        if step < self._next and not at_once:
            return False, False
        now = self._clock()
        steps, seconds = (step - self._last[0], now - self._last[1]) if self._last else (0, 0.0)
        said = torch.tensor([stop, save and self._world.main, seconds], dtype=torch.float64)
        stops, saves, waited = self._world.sum(said).tolist()
        pace = waited / self._world.size / steps if steps else AGREE_SECONDS  # of a step; the same number in all
        self._last, self._next = (step, now), step + max(1, min(AGREE_EVERY, int(AGREE_SECONDS / max(pace, 1e-9))))
        return bool(stops), bool(saves)


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
