"""What a training run says while it goes: values that anybody may listen to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["step", "epoch", "end"]


@dataclass(frozen=True)
class Row:
    """One line of a run's history.

    Args:
        kind: ``"step"`` every ``log_interval`` steps, ``"epoch"`` after an epoch and its evaluation, ``"end"`` once,
            with the kept weights measured on the test images.
        epoch: Epochs begun so far, from 1.
        step: Steps done so far, of whatever size they were.
        values: Names and numbers: ``lr``, ``train_loss``, ``train_accuracy``, ``test_loss``, ``seconds`` ...
        epochs: Epochs done so far, with the share of the one under way; None where nobody noted it.
    """

    kind: Kind
    epoch: int
    step: int
    values: Mapping[str, float]
    epochs: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """One flat object, for ``metrics.jsonl``."""
        place = {} if self.epochs is None else {"epochs": self.epochs}
        return {"kind": self.kind, "epoch": self.epoch, "step": self.step, **place, **self.values}

    @classmethod
    def from_dict(cls, flat: Mapping[str, Any]) -> Row:
        """The inverse of ``to_dict``."""
        own = ("kind", "epoch", "step", "epochs")
        values = {name: float(value) for name, value in flat.items() if name not in own}
        return cls(flat["kind"], int(flat["epoch"]), int(flat["step"]), values, flat.get("epochs"))


@dataclass(frozen=True)
class History:
    """Every row of a run, oldest first."""

    rows: tuple[Row, ...] = ()

    def of(self, kind: Kind) -> tuple[Row, ...]:
        """The rows of one kind."""
        return tuple(row for row in self.rows if row.kind == kind)

    @property
    def split(self) -> str:
        """What the per-epoch curve was measured on, lately where that changed: ``"val"`` or ``"test"``."""
        judged = (name for row in reversed(self.rows) if row.kind != "end" for name in row.values)
        return next((name.removesuffix("_loss") for name in judged if name in ("val_loss", "test_loss")), "test")


@dataclass(frozen=True)
class Started:
    """Training is about to begin, or to go on from the last row of ``history``.

    Args:
        title: The network and the images.
        folder: Of the run.
        plan: How it is executed.
        epochs: How many there are; the run may end within the last one.
        steps: Those done before and those to come.
        batch_size: Images in a step.
        step: Steps done before.
        epoch: Epochs that are complete.
        history: Every row so far.
    """

    title: str
    folder: Path
    plan: str
    epochs: int
    steps: int
    batch_size: int
    step: int = 0
    epoch: int = 0
    history: History = field(default_factory=History)


@dataclass(frozen=True)
class Logged:
    """A row was added."""

    row: Row


@dataclass(frozen=True)
class Stepped:
    """A step was done; said often, so it carries no measurement."""

    epoch: int
    step: int


@dataclass(frozen=True)
class Noted:
    """Something happened that a person should know and that does not stop the training."""

    text: str


@dataclass(frozen=True)
class Finished:
    """Training ended: ``reason`` is ``"done"``, ``"patience"``, ``"interrupted"`` or ``"diverged"``."""

    reason: Literal["done", "patience", "interrupted", "diverged"]


Event = Started | Stepped | Logged | Noted | Finished
Listener = Callable[[Event], None]
