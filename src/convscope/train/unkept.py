"""A run that leaves nothing behind: for whoever wants the weights in the network and no folder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from convscope.errors import RunError
from convscope.train.checkpoint import Checkpoint, CheckpointStore
from convscope.train.events import Row
from convscope.train.run import Run


class MemoryStore(CheckpointStore):
    """The newest checkpoint alone, in memory: enough to put good weights back, and not to go on another day.

    Example:
        >>> MemoryStore().empty
        True
    """

    def __init__(self) -> None:
        super().__init__(Path())
        self._newest: Checkpoint | None = None

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a copy of the weights; the rest of the state belongs to the optimiser and is left to it."""
        weights = {name: _copied(value) for name, value in checkpoint.model.items()}
        self._newest = replace(checkpoint, model=weights, optimizer={})

    def newest(self, warn: Callable[[str], None]) -> Checkpoint:
        """What was saved last.

        Raises:
            RunError: Nothing was.
        """
        if self._newest is None:
            raise RunError("nothing was saved yet")
        return self._newest

    @property
    def empty(self) -> bool:
        """Whether nothing was saved yet."""
        return self._newest is None


class Unkept(Run):
    """Takes what a training writes, and writes nothing.

    Example:
        >>> Unkept().title
        'nothing kept'
    """

    def __init__(self) -> None:
        super().__init__(Path(), {})

    @property
    def title(self) -> str:
        """For messages."""
        return "nothing kept"

    @property
    def checkpoints(self) -> CheckpointStore:
        """The newest state, in memory."""
        return MemoryStore()

    def append(self, row: Row) -> None:
        """Let a row go; the loop has it, and listeners heard it."""

    def settle_history(self) -> None:
        """Nothing waits to be on a disk."""

    def save_weights(self, state: Mapping[str, Tensor]) -> None:
        """They are in the network."""

    def save_epoch_weights(self, epoch: int, state: Mapping[str, Tensor], *, keep: int | None) -> None:
        """They are in the network."""

    def load_weights(self, model: nn.Module, *, epoch: int | None = None) -> None:
        """They are in the network."""


def _copied(value: Any) -> Any:
    """A tensor, or what a module keeps beside its tensors with ``get_extra_state``."""
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
