"""What is needed to go on: saved whole, read without unpickling any object."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convscope.errors import RunError
from convscope.files import write_bytes

NAME = "trainer.pt"


@dataclass
class Checkpoint:
    """The state of a training between two steps.

    Args:
        epoch: Epochs that are complete.
        batch: Batches done of the epoch after those.
        step: Steps done in all.
        seconds: Time spent so far.
        epoch_seconds: Time spent on the training steps of an unfinished epoch.
        rows: Rows of history written so far.
        model: Its ``state_dict``.
        optimizer: Its ``state_dict``.
        rng: State of PyTorch's generators, by device.
        meters: Sums over the batches done of an unfinished epoch, and since the last logged step.
        best: The best validation score so far and the epoch that reached it.
    """

    epoch: int
    batch: int
    step: int
    seconds: float
    epoch_seconds: float
    rows: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    rng: dict[str, Tensor]
    meters: list[dict[str, Any]]
    best: dict[str, float]

    def save(self, folder: Path) -> None:
        """Write ``folder/trainer.pt``, whole or not at all.

        Raises:
            RunError: It could not be written; the previous one is whole.
        """
        content = io.BytesIO()
        torch.save({f.name: getattr(self, f.name) for f in fields(self)}, content)
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"could not make {folder}: {error.strerror or error}") from error
        write_bytes(folder / NAME, content.getvalue())

    @classmethod
    def load(cls, folder: Path) -> Checkpoint:
        """Read ``folder/trainer.pt``.

        Raises:
            RunError: It is missing or damaged, or would need to run code to be read.
        """
        path = folder / NAME
        if not path.is_file():
            raise RunError(f"{path} is missing: this run cannot go on; start a new one")
        try:
            return cls(**torch.load(path, map_location="cpu", weights_only=True))
        except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunError(f"{path} is damaged or no checkpoint of convscope, and was not opened: {reason}") from error


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """The state of the generators that a model on ``device`` may draw from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state(device)
    return state


def restore_rng(state: dict[str, Tensor], device: torch.device) -> None:
    """The inverse of ``rng_state``; a generator that was not saved is left alone."""
    torch.set_rng_state(state["cpu"])
    if device.type in state and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type], device)
