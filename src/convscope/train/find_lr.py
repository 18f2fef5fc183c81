"""A learning-rate range test: train a copy while the rate grows, and see where the loss falls and where it breaks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from convscope.train.bench import fitting
from convscope.train.config import OptimizerConfig
from convscope.train.generators import generators_kept
from convscope.train.objective import Objective
from convscope.train.optim import build_optimizer, set_rate
from convscope.train.parts import Batches
from convscope.train.way import Way

DIVERGED = 4.0  # times the best smoothed loss
MEMORY = 0.05  # share of the sweep that the smoothed loss looks back on
START = 0.1  # share of the sweep that counts as its beginning, when asking whether there was a descent
SIGMAS = 4.0  # a descent must be larger than so many of its standard errors ...
LEAST = 0.05  # ... and than this share of the loss at the beginning: a bias that learns how frequent classes are
MEDIAN_JUMP = 0.954  # standard deviations: half of all jumps between two independent normal numbers are smaller
NEAR_THE_END = 0.9  # share of the steps; a loss that is lowest beyond may fall on


Stopped = Literal["end", "diverged", "not finite"]


@dataclass(frozen=True)
class LrRange:
    """How the loss moved while the learning rate grew.

    Args:
        rates: The learning rate of each step, growing by a constant factor.
        losses: The loss of each step's batch, before the step.
        smoothed: Their moving average with its start-up bias taken out.
        stopped: ``"end"``, the highest rate was reached; ``"diverged"``, the smoothed loss was above four times its
            best; ``"not finite"``, the loss of the next step was NaN or infinite.
        steepest: The rate at which the smoothed loss falls fastest, per factor of the rate; None without a descent.
        lowest: The rate at which the smoothed loss is lowest; None without a descent.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    stopped: Stopped
    steepest: float | None
    lowest: float | None

    @property
    def tenth_of_lowest(self) -> float | None:
        """A tenth of ``lowest``: where the loss is lowest the rate is about to be too high."""
        return None if self.lowest is None else self.lowest / 10

    @property
    def still_falls(self) -> bool:
        """Whether the loss was lowest near the end of a sweep that nothing stopped: then higher rates may be good."""
        late = self.rates[int(NEAR_THE_END * len(self.rates)) :]
        return self.stopped == "end" and self.lowest is not None and self.lowest in late

    def __str__(self) -> str:
        """One sentence for people."""
        if self.steepest is None or self.tenth_of_lowest is None:
            why = "is no number at the first step"
            if self.rates:
                why = f"does not fall between {self.rates[0]:.2g} and {self.rates[-1]:.2g}"
            return f"no learning rate to suggest: the loss {why}"
        more = f"; it still falls at {self.rates[-1]:.2g}: try a higher end" if self.still_falls else ""
        return (
            f"the loss falls fastest at a learning rate of {self.steepest:.2g}; a tenth of where it is lowest is "
            f"{self.tenth_of_lowest:.2g}{more}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for ``--json``."""
        return {**asdict(self), "tenth_of_lowest": self.tenth_of_lowest, "verdict": str(self)}


def find_lr(
    model: nn.Module,
    loader: Batches,
    objective: Objective,
    optimizer_config: OptimizerConfig,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    way: Way | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LrRange:
    """Train a copy of a model for a few steps while the rate grows from ``low`` to ``high``, by a constant factor.

    The model, its gradients and buffers, and the random generators are the same bit for bit afterwards. When the
    batches of an epoch are used up, those of the next one follow.

    Args:
        model: On the device of ``loader``.
        loader: Training batches.
        objective: The task.
        optimizer_config: The optimiser; all of it counts but its ``lr`` and ``ema``.
        low: First learning rate.
        high: Last one, reached unless the loss breaks before.
        steps: Of the optimiser.
        way: In which precision and memory format to compute; None is float32.
        progress: Called with the steps done and their number.

    Raises:
        ValueError: Not ``0 < low < high``, fewer than 20 steps, or no batches.

    Source:
        Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3; smoothing, the stop at four
        times the best and both suggestions as in Howard and Gugger, "fastai", 2020.
    """
    if not (0 < low < high and math.isfinite(high)):
        raise ValueError(f"expected 0 < low < high, got low={low} and high={high}")
    if steps < 20:
        raise ValueError(f"steps must be at least 20, to see a curve, got {steps}")
    if not len(loader):
        raise ValueError("the loader has no batches")
    rates = [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]
    keep = 1 - 1 / (MEMORY * steps)
    with generators_kept(loader.device):
        sweep = _sweep(copy.deepcopy(model), loader, objective, optimizer_config, rates, way)
        losses, smoothed, stopped = _watched(sweep, keep, lambda done: progress(done, steps) if progress else None)
    steepest, lowest = _suggest(losses, smoothed, keep, steps)
    return LrRange(
        rates=tuple(rates[: len(losses)]),
        losses=tuple(losses),
        smoothed=tuple(smoothed),
        stopped=stopped,
        steepest=None if steepest is None else rates[steepest],
        lowest=None if lowest is None else rates[lowest],
    )


def _watched(
    sweep: Iterator[float], keep: float, progress: Callable[[int], None]
) -> tuple[list[float], list[float], Stopped]:
    """The losses of a sweep, their moving average, and what ended it."""
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    for loss in sweep:
        if not math.isfinite(loss):
            return losses, smoothed, "not finite"
        losses.append(loss)
        average = keep * average + (1 - keep) * loss
        smoothed.append(average / (1 - keep ** len(losses)))  # as in Adam: the average began at zero
        if smoothed[-1] > DIVERGED * min(smoothed) > 0:  # a task may have losses below 0
            return losses, smoothed, "diverged"
        progress(len(losses))
    return losses, smoothed, "end"


def _endless(loader: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of one epoch after another."""
    epoch = 0
    while True:
        yield from loader.batches(epoch)
        epoch += 1


def _sweep(
    model: nn.Module,
    loader: Batches,
    objective: Objective,
    config: OptimizerConfig,
    rates: list[float],
    way: Way | None,
) -> Iterator[float]:
    """Train the model itself, one step for each rate; yield each step's loss before the step is taken."""
    way = way or Way(device=str(loader.device))
    optimizer, scaler, batches = build_optimizer(model, config), way.scaler(), _endless(loader)
    model.train()
    for rate in rates:
        set_rate(optimizer, rate)
        optimizer.zero_grad()
        mean = torch.zeros((), device=loader.device)
        for _ in range(config.accumulate):
            inputs, targets = next(batches)
            with fitting(inputs):
                with way.autocast():
                    loss = objective.training(model, way.inputs(inputs), targets).loss / config.accumulate
                (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
            mean += loss.detach()
        yield mean.item()
        with fitting(inputs):  # the first step makes room for moments
            _apply(optimizer, scaler, clip=config.clip_grad, parameters=model.parameters())


def _apply(optimizer: Optimizer, scaler: GradScaler | None, *, clip: float, parameters: Iterable[nn.Parameter]) -> None:
    """Take the step that the gradients ask for, clipped where ``clip`` is above 0."""
    if scaler is not None:
        scaler.unscale_(optimizer)
    if clip:
        nn.utils.clip_grad_norm_(parameters, clip)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()


def _suggest(losses: list[float], smoothed: list[float], keep: float, steps: int) -> tuple[int | None, int | None]:
    """Steps at which the smoothed loss falls fastest, and is lowest; none where it does not fall beyond the noise.

    The beginning is left out: there the moving average is one of few losses and moves with each.
    """
    begin, half = round(START * steps), max(1, round(MEMORY * steps / 2))
    if len(losses) <= begin:
        return None, None
    start = sum(losses[:begin]) / begin
    lowest = min(range(begin, len(smoothed)), key=smoothed.__getitem__)
    jumps = sorted(abs(b - a) for a, b in pairwise(losses[: max(lowest, begin) + 1]))
    noise = jumps[len(jumps) // 2] / MEDIAN_JUMP  # of one loss; by neighbours, so that a trend is not taken for noise
    noise *= math.sqrt((1 - keep) / (1 + keep) + 1 / begin)  # of the difference between a moving average and a mean
    if start - smoothed[lowest] <= max(SIGMAS * noise, LEAST * abs(start)):
        return None, None
    last = len(smoothed) - 1
    steepest = min(
        range(begin, lowest + 1), key=lambda step: smoothed[min(step + half, last)] - smoothed[max(step - half, 0)]
    )
    return steepest, lowest
