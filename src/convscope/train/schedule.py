"""The learning rate as a function of the step: no state, so a resumed run cannot lose it."""

from __future__ import annotations

import math

from convscope.train.config import ScheduleConfig

ONE_CYCLE_START = 0.04  # of the peak, at the first step


def factor(step: int, *, total_steps: int, steps_per_epoch: int, schedule: ScheduleConfig) -> float:
    """What to multiply the peak learning rate by at one step.

    Args:
        step: From 0 to ``total_steps - 1``.
        total_steps: Steps of the whole run.
        steps_per_epoch: Steps of one epoch, for warm-up in epochs.
        schedule: The shape.

    Returns:
        A number in 0..1.

    Source:
        Cosine: Loshchilov and Hutter, "SGDR", 2017. One cycle: Smith and Topin, "Super-convergence", 2018.

    Example:
        >>> cosine = ScheduleConfig(sched="cosine")
        >>> [round(factor(s, total_steps=4, steps_per_epoch=4, schedule=cosine), 3) for s in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """
    if schedule.sched in ("one-cycle", "triangle"):
        rise = max(1, round(schedule.rise * total_steps))
        if step < rise:
            return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * step / rise
        fallen = min(1.0, (step - rise) / max(1, total_steps - rise))
        return _cosine(fallen) if schedule.sched == "one-cycle" else 1 - fallen
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule.sched == "constant":
        return 1.0
    return _cosine(min(1.0, (step - warmup) / (total_steps - warmup)))


def _cosine(progress: float) -> float:
    """From 1 at 0 down to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * progress))
