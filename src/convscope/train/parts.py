"""What a loop works with, and how a network is judged by every image of a split."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from convscope.nn import FlipAverage
from convscope.train.average import WeightAverage
from convscope.train.bench import is_out_of_memory, unjudgeable
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
        return last * self.steps_per_epoch + -(-self.batches_in(last) // self.config.optimizer.accumulate)

    @contextmanager
    def judged(self) -> Iterator[nn.Module]:
        """The model with the weights that count: the averaged ones, where there is an average."""
        if self.average is None:
            yield self.model
            return
        with self.average.swapped():
            yield self.model

    def _share_buffers(self) -> None:
        """Let every process judge the network that the first one saves.

        Weights are the same in all of them. What is no weight, a norm's running statistics above all, each process
        has gathered from its own shares; as with ``DistributedDataParallel``, those of the first one count.
        """
        averaged = self.average.buffers if self.average is not None else []
        weights = dict(self.model.named_parameters())
        saved = [tensor for name, tensor in self.model.state_dict().items() if name not in weights]
        self.world.spread([*saved, *averaged])

    def measure(self, loader: Batches, *, exactly: bool = False) -> Meter:
        """Judge every image of a loader once, over all processes, each of which has the same network.

        Args:
            loader: The images.
            exactly: Compute in float32, as whoever opens the run later will, and not as the plan says.

        Raises:
            RunError: Not even one image fits in memory.
        """
        self._share_buffers()
        scorer = FlipAverage(self.model) if self.config.test_flip else self.model
        with self.judged():
            meter = evaluate(self.objective, scorer, loader, plan=None if exactly else self.plan)
        return meter.shared(self.world)


def evaluate(objective: Objective, model: nn.Module, loader: Batches, *, plan: Plan | None = None) -> Meter:
    """Judge every image of a loader once, in eval mode and without gradients; the mode is put back.

    A batch that does not fit in memory is judged in halves, and so are those after it.

    Args:
        objective: The task.
        model: What to judge.
        loader: The images.
        plan: In which precision; None is float32.

    Raises:
        RunError: Not even one image fits in memory.
    """
    meter, was_training, fits = Meter(), model.training, sys.maxsize
    model.eval()
    try:
        with torch.inference_mode():
            for inputs, targets in loader.batches():
                done = 0
                while done < len(targets):  # none, where the last batch is too small for every process to have a share
                    part = _part(inputs, targets, done, fits)
                    outcome = _attempt(objective, model, *part, plan)
                    if outcome is None:
                        fits = len(part[1]) // 2
                    else:
                        meter.add(outcome)
                        done += len(part[1])
    finally:
        model.train(was_training)
    return meter


def _part(inputs: Tensor, targets: Any, start: int, count: int) -> tuple[Tensor, Any]:
    """So many images from ``start`` on; a batch of which all fit is left as it is, whatever its targets are."""
    if start == 0 and len(targets) <= count:
        return inputs, targets
    return inputs[start : start + count], targets[start : start + count]


def _attempt(objective: Objective, model: nn.Module, inputs: Tensor, targets: Any, plan: Plan | None) -> Outcome | None:
    """Judge a batch; None where it does not fit in memory, and a smaller one may.

    Raises:
        RunError: It is one image, or cannot be divided.
    """
    try:
        return _judge(objective, model, inputs, targets, plan)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(targets) == 1 or not isinstance(targets, Tensor):
            raise unjudgeable(inputs) from error
    gc.collect()  # what the failed pass had taken
    if inputs.device.type != "cpu":
        torch.get_device_module(inputs.device).empty_cache()
    return None


def _judge(objective: Objective, model: nn.Module, inputs: Tensor, targets: Any, plan: Plan | None) -> Outcome:
    if plan is None:
        return objective.evaluation(model, inputs, targets)
    with plan.autocast():
        return objective.evaluation(model, plan.inputs(inputs), targets)
