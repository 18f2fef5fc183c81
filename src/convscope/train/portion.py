"""What a trial of a short run can afford: steps on a few images of a batch, where the network is heavy enough."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from convscope.train.bench import WorkCounter, untouched_process

FASTEST = 1e11
"""Multiply-adds per second of one core at the very most, to say of a run that it takes so long at least."""
LONG = 10.0
"""Seconds of a run from which on setting up a few kernels for the trial is nothing beside it."""
STEPS = 18
"""On a portion, that a trial takes: the first of each way, and enough timed ones of three."""
FEWEST = 4
"""Images; with fewer, the time of a step is no longer that of its arithmetic."""


def portion(
    model: nn.Module, batch: tuple[Tensor, Any], *, steps: int, threads: int, share: float
) -> tuple[Tensor, Any] | None:
    """A few images of a batch, on which ways of executing a step may be compared in a run of few steps.

    Kernels for a small batch are not those for a large one, but what precision and memory format gain on a heavy
    network shows already on a few images.

    Args:
        model: Is not run but on the meta device, and only as a copy.
        batch: Images ``(N, C, H, W)`` on the CPU, and targets that can be cut like a tensor.
        steps: Of the whole run.
        threads: That compute.
        share: Of the run that the trial may take.

    Returns:
        The first images and their targets; None where the run may be shorter than ``LONG``, or so few steps are to be
        taken that not even ``FEWEST`` images are cheap enough.
    """
    images, targets = batch
    few = max(FEWEST, int(len(images) * steps * share / STEPS))
    affordable = steps * share * len(images) / few  # steps on the portion
    if len(images) < few or affordable < STEPS / 2 or images.device.type != "cpu":
        return None
    work = steps * len(images) * 3 * _macs(model, images[:1])  # backward is twice the work of forward
    if work / (FASTEST * threads) < LONG:
        return None
    try:
        return images[:few], targets[:few]
    except TypeError:  # targets of one's own
        return None


def _macs(model: nn.Module, image: Tensor) -> int:
    """Multiply-adds of one image, forward; 0 where the network does not go to the meta device."""
    try:
        with untouched_process(image.device), torch.no_grad(), WorkCounter() as counter:
            copy.deepcopy(model).to("meta").eval()(image.to("meta"))
    except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError):
        return 0
    return int(counter.macs)
