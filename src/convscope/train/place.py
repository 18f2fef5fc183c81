"""Where in a training a checkpoint stands, also where an epoch has other batches than when it was saved."""

from __future__ import annotations

import math
from typing import NamedTuple

from convscope.errors import RunError
from convscope.train.checkpoint import Checkpoint
from convscope.train.parts import Parts


class Place(NamedTuple):
    """A position between two steps.

    Args:
        epoch: Epochs that are complete.
        batch: Batches done of the one after those.
        again: Images of that epoch that were seen and will be seen again, because a step cannot begin among them.
    """

    epoch: int
    batch: int
    again: int = 0


def find_place(saved: Checkpoint, parts: Parts) -> Place:
    """Where to go on: where the checkpoint was saved, or at the step before that where steps have another size now.

    What is done is counted in epochs and images: they mean the same whatever the size of a batch, how many of them make
    a step, and how many processes share it.

    Args:
        saved: With the settings that it was saved under.
        parts: Of the training that goes on.

    Raises:
        RunError: Fewer epochs are asked for than are done.
    """
    loader, epoch, images = parts.train, saved.epoch, saved.images
    if saved.ended_at:
        epoch, images = epoch - 1, saved.ended_at
    whole = (len(loader) - 1) * loader.batch_size + loader.images_in(len(loader) - 1)
    batch, end = len(loader) if images >= whole else images // loader.batch_size, parts.batches_in(epoch)
    if batch > end:
        _refuse_fewer(parts.config.epochs, then=saved.config["train"]["epochs"], done=epoch + min(images / whole, 1))
        batch = end  # a whole number of other batches, so the run ends a little sooner within the epoch
    if batch == end:  # the epoch's measurement is left to do, unless it was done before the checkpoint
        return Place(epoch + 1, 0) if saved.ended_at else Place(epoch, batch)
    batch -= batch % parts.config.optimizer.accumulate
    return Place(epoch, batch, images - batch * loader.batch_size)


def ended_at(epoch: int, parts: Parts) -> int:
    """Images done of the last of so many complete epochs where a run has ended within it; otherwise 0."""
    if epoch < parts.epochs or (batches := parts.batches_in(epoch - 1)) == len(parts.train):
        return 0
    return batches * parts.train.batch_size


def _refuse_fewer(epochs: float, *, then: float, done: float) -> None:
    if epochs < then:
        least = math.ceil(done * 1000) / 1000
        raise RunError(f"{done:.4g} epochs are done, and --epochs {epochs:g} is less; give at least --epochs {least:g}")
