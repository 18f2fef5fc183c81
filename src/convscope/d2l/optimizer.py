"""The program's optimiser in the form that our loop takes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from convscope.d2l.trainer import Trainer


class BookOptimizer:
    """What ``configure_optimizers`` gave: one of PyTorch's, or anything with ``step`` and ``zero_grad``.

    Its groups have no ``"scale"``, so the loop leaves their rates alone. Gradients are clipped here, between the
    backward pass and the step, because programs bring a ``clip_gradients`` of their own.

    Args:
        trainer: Whose ``optim`` it is.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of an optimiser of PyTorch's; none of another."""
        groups: list[dict[str, Any]] = getattr(self._trainer.optim, "param_groups", [])
        return groups

    def zero_grad(self) -> None:
        """Nothing: ``BookObjective`` forgets the gradients between ``training_step`` and the backward pass."""

    def step(self) -> None:
        """Clip where asked for, then move the weights; one more batch is done."""
        trainer = self._trainer
        with torch.no_grad():
            if trainer.gradient_clip_val > 0:
                trainer.clip_gradients(trainer.gradient_clip_val, trainer.model)
            trainer.optim.step()
        trainer.train_batch_idx += 1

    def state_dict(self) -> dict[str, Any]:
        """Of an optimiser of PyTorch's."""
        optim = self._trainer.optim
        return optim.state_dict() if isinstance(optim, torch.optim.Optimizer) else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``.

        Warns:
            UserWarning: The optimiser is the program's own, so nobody knows what it keeps.
        """
        if state:
            self._trainer.optim.load_state_dict(state)
            return
        warnings.warn(
            f"the optimiser {type(self._trainer.optim).__name__} is none of PyTorch's, so it begins anew: right where "
            "it keeps nothing between two steps",
            UserWarning,
            stacklevel=2,
        )
