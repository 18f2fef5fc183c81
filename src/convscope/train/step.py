"""One step of the optimiser: from a few batches to slightly better weights."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor, nn

from convscope.train.bench import fitting
from convscope.train.exchange import Exchange
from convscope.train.meter import Meter
from convscope.train.optim import set_rate
from convscope.train.parts import Parts
from convscope.train.watch import LossWatch, Stopwatch


class Stepper:
    """Takes steps, and counts the time that it waits for batches.

    Args:
        parts: What to work with.
        watch: Sees every loss before its gradient is used.
    """

    def __init__(self, parts: Parts, watch: LossWatch) -> None:
        self.parts = parts
        self.watch = watch
        self.scaler = parts.plan.scaler()
        self.waiting = Stopwatch()

    def take(
        self,
        exchange: Exchange,
        batches: Iterator[tuple[Tensor, Tensor]],
        numbers: range,
        *,
        step: int,
        lr: float,
        meter: Meter,
        measured: bool,
    ) -> float:
        """One step over the next batches.

        Args:
            exchange: Adds up gradients over all processes, once in the step.
            batches: Where they come from.
            numbers: Which batches of the epoch these are; the gradient is the mean over all their images.
            step: Number of this step, from 1.
            lr: Learning rate; each group of parameters has its own factor on it.
            meter: Takes in what every batch gave.
            measured: Whether to measure the norm of the gradient.

        Returns:
            The norm of the whole gradient before clipping, or NaN where nobody needed it.

        Raises:
            BadLoss: A loss was NaN or infinite.
            RunError: The batch does not fit in memory.
        """
        parts = self.parts
        images = sum(parts.train.images_in(number) for number in numbers)
        set_rate(parts.optimizer, lr)
        parts.optimizer.zero_grad()
        for number in numbers:
            self.waiting.start()
            inputs, targets = next(batches)
            self.waiting.stop()
            with fitting(inputs), exchange.summing(when=number == numbers[-1]):
                self._gradient(inputs, targets, images=images, step=step, lr=lr, meter=meter)
        with fitting(inputs):
            return self._apply(measured=measured)

    def _gradient(self, inputs: Tensor, targets: Tensor, *, images: int, step: int, lr: float, meter: Meter) -> None:
        """Add one batch's part of the mean gradient over ``images``, all that belong to the step in all processes."""
        parts, forward = self.parts, self.parts.forward
        if parts.plan.compiled and parts.world.size == 1 and len(targets) != parts.config.batch_size:
            forward = parts.model  # compiled code is for one size; for the last batch alone it would be made again
        with parts.plan.autocast():
            outcome = parts.objective.training(forward, parts.plan.inputs(inputs), targets)
        self.watch.see(step, lr, outcome.loss)
        weight = outcome.images / images  # 1 where one process takes one batch
        loss = outcome.loss if weight == 1 else outcome.loss * weight
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]
        meter.add(outcome)

    def _apply(self, *, measured: bool) -> float:
        parts, clip, norm = self.parts, self.parts.config.optimizer.clip_grad, math.nan
        if clip or measured:
            if self.scaler is not None:
                self.scaler.unscale_(parts.optimizer)
            total = nn.utils.clip_grad_norm_(parts.model.parameters(), clip or math.inf)
            norm = float(total) if measured else math.nan
        if self.scaler is None:
            parts.optimizer.step()
        else:
            self.scaler.step(parts.optimizer)
            self.scaler.update()
        if parts.average is not None:
            parts.average.update()
        return norm
