"""What a loop works with, and how a network is judged by every image of a split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from convscope.nn import FlipAverage
from convscope.train.average import WeightAverage
from convscope.train.config import TrainConfig
from convscope.train.distributed import World
from convscope.train.events import Event
from convscope.train.meter import Meter
from convscope.train.objective import Objective, Outcome
from convscope.train.plan import Plan


class Batches(Protocol):
    """Where batches come from, epoch by epoch; ``convscope.data.Loader`` is one.

    Targets are tensors unless the ``Objective`` knows better.
    """

    batch_size: int
    device: torch.device

    def __len__(self) -> int:
        """The number of batches in an epoch."""

    def images_in(self, batch: int) -> int:
        """How many images a batch has, over all processes; asked just before it is drawn."""

    def batches(self, epoch: int = 0, *, start: int = 0) -> Iterator[tuple[Tensor, Any]]:
        """Yield inputs and targets from batch ``start`` of epoch ``epoch`` on."""


@dataclass(frozen=True)
class Parts:
    """Nothing here changes while a loop runs but weights and what goes with them.

    Args:
        config: The settings.
        plan: How to execute.
        world: The processes that train together.
        model: On the plan's device already.
        forward: What trains: the model, or its compiled form.
        objective: The task.
        optimizer: Over the model's parameters; see ``set_rate`` for whose its rates are.
        average: Moving average of the weights, which is then what is judged and kept; None without one.
        head: Name of the layer that learns alone in the first epochs of a finetuning; empty where none does.
        train: Training batches.
        held: Batches to measure each epoch on; None measures none.
        test: Batches to measure the final weights on; None leaves that out.
        emit: Hears every event.
    """

    config: TrainConfig
    plan: Plan
    world: World
    model: nn.Module
    forward: nn.Module
    objective: Objective
    optimizer: Optimizer
    average: WeightAverage | None
    head: str
    train: Batches
    held: Batches | None
    test: Batches | None
    emit: Callable[[Event], None]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(self.plan.device)

    @property
    def split(self) -> Literal["val", "test"]:
        """What the curve is measured on; said in every name that it gives."""
        return "test" if self.held is self.test is not None else "val"

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps, each over ``accumulate`` batches."""
        return -(-len(self.train) // self.config.optimizer.accumulate)

    @property
    def _total_batches(self) -> int:
        return max(1, round(self.config.epochs * len(self.train)))

    @property
    def epochs(self) -> int:
        """How many epochs are begun; the run may end within the last one."""
        return -(-self._total_batches // len(self.train))

    def batches_in(self, epoch: int) -> int:
        """How many batches an epoch has: all of them, or fewer where the run ends within it."""
        return min(len(self.train), self._total_batches - epoch * len(self.train))

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        last = self.epochs - 1
        return self.steps_before(last, self.batches_in(last))

    def steps_before(self, epoch: int, batch: int) -> int:
        """Optimiser steps before a batch of an epoch, had all of them been taken with these settings.

        This is what the learning rate follows: a function of how much of the run is done, whatever was counted in other
        steps before.
        """
        return epoch * self.steps_per_epoch + -(-batch // self.config.optimizer.accumulate)

    @contextmanager
    def judged(self) -> Iterator[nn.Module]:
        """The model with the weights that count: the averaged ones, where there is an average."""
        if self.average is None:
            yield self.model
            return
        with self.average.swapped():
            yield self.model

    def measure(self, loader: Batches, *, exactly: bool = False) -> Meter:
        """Judge every image of a loader once, over all processes.

        Args:
            loader: The images.
            exactly: Compute in float32, as whoever opens the run later will, and not as the plan says.
        """
        scorer = FlipAverage(self.model) if self.config.test_flip else self.model
        with self.judged():
            meter = evaluate(self.objective, scorer, loader, plan=None if exactly else self.plan)
        return meter.shared(self.world)


def evaluate(objective: Objective, model: nn.Module, loader: Batches, *, plan: Plan | None = None) -> Meter:
    """Judge every image of a loader once, in eval mode and without gradients; the mode is put back.

    Args:
        objective: The task.
        model: What to judge.
        loader: The images.
        plan: In which precision; None is float32.
    """
    meter, was_training = Meter(), model.training
    model.eval()
    try:
        with torch.inference_mode():
            for inputs, targets in loader.batches():
                if len(targets):  # the last batch may be too small for every process to have a share
                    meter.add(_judge(objective, model, inputs, targets, plan))
    finally:
        model.train(was_training)
    return meter


def _judge(objective: Objective, model: nn.Module, inputs: Tensor, targets: Any, plan: Plan | None) -> Outcome:
    if plan is None:
        return objective.evaluation(model, inputs, targets)
    with plan.autocast():
        return objective.evaluation(model, plan.inputs(inputs), targets)
