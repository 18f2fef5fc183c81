"""Run a network with somebody watching; the one place here that knows how tracing is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from convscope.measure.tracing.guard import plain_eager, set_mode, untouched
from convscope.measure.tracing.inventory import Inventory
from convscope.measure.tracing.recorder import Recorder

R = TypeVar("R", bound=Recorder)


def home(model: nn.Module) -> torch.device:
    """Where a network's weights are."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@contextmanager
def watched(model: nn.Module, kind: type[R], *, training: bool, meta: bool, keep: bool) -> Iterator[R]:
    """Make a recorder, under which the model may run any number of times; afterwards the model is as it was.

    Args:
        model: Any.
        kind: Of recorder.
        training: Run in training mode and follow gradients; else in eval mode without.
        meta: Compute shapes and no values.
        keep: Write operators down.
    """
    inventory = Inventory.of(model)
    with untouched(inventory) as originals, plain_eager(), torch.set_grad_enabled(training):
        set_mode(inventory, training=training)
        yield kind(inventory, originals, meta=meta, keep=keep)
