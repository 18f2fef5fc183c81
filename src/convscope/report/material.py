"""What a report is written from, and the questions that several of its parts ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from convscope import data
from convscope.data import Dataset
from convscope.errors import RunError
from convscope.measure import Evaluation
from convscope.train import History, Plan, Row, Run, TrainConfig


def plan_of(sitting: Mapping[str, Any]) -> Plan | None:
    """The plan of a sitting with the trials that led to it; None when it was not noted, or cannot be read."""
    plan, trials = sitting.get("plan"), sitting.get("trials")
    if not isinstance(plan, dict):
        return None
    try:
        return Plan.from_dict({**plan, "trials": trials or ()})
    except ValueError:
        return None


def changes_of(sitting: Mapping[str, Any]) -> list[str]:
    """What was different when the run went on, one line each."""
    changed = sitting.get("changed")
    return [str(line) for line in changed] if isinstance(changed, list) else []


@dataclass(frozen=True, eq=False)
class Material:
    """A run, its network, its images and its judgement.

    Args:
        run: The run folder.
        model: With the weights that were judged.
        dataset: What was learned from.
        evaluation: Of ``dataset.test``.
    """

    run: Run
    model: nn.Module
    dataset: Dataset
    evaluation: Evaluation

    @cached_property
    def history(self) -> History:
        """Every row, read once."""
        return self.run.history

    @cached_property
    def config(self) -> TrainConfig:
        """The settings."""
        return self.run.train_config

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Where it ran, as far as that can be read: an old run is worth a report without its ``environment.json``."""
        try:
            read: object = self.run.environment
        except RunError:
            return {}
        return read if isinstance(read, dict) else {}

    @cached_property
    def sittings(self) -> tuple[dict[str, Any], ...]:
        """What was noted when the run began and each time that it went on, oldest first."""
        resumed = self.environment.get("resumed")
        later = resumed if isinstance(resumed, list) else []
        return (self.environment, *(sitting for sitting in later if isinstance(sitting, dict)))

    def about(self, part: str) -> dict[str, Any]:
        """One part of the environment as it was noted last; empty when it never was."""
        noted = (sitting.get(part) for sitting in reversed(self.sittings))
        return next((values for values in noted if isinstance(values, dict)), {})

    @property
    def plan(self) -> Plan | None:
        """How it was executed, in its last sitting; None when that was not noted."""
        plans = (plan_of(sitting) for sitting in reversed(self.sittings))
        return next((plan for plan in plans if plan is not None), None)

    @property
    def changed(self) -> tuple[str, ...]:
        """What ``--force`` let become different between two sittings, one line each."""
        return tuple(line for sitting in self.sittings for line in changes_of(sitting))

    @property
    def command(self) -> str | None:
        """What started it in a terminal; None when it was started from Python, or when that was not noted."""
        command = self.environment.get("command")
        return command if isinstance(command, str) and command else None

    @property
    def device(self) -> str | None:
        """Where it was computed, ``cpu`` or an accelerator; None when that was not noted."""
        return self.plan.device if self.plan is not None else None

    @property
    def images_title(self) -> str:
        """What the images are called in print."""
        name = str(self.run.config["data"]["name"])
        return data.info(name).title if name in data.names() else name

    @property
    def title(self) -> str:
        """The network and the images, spelled as their authors do where that is known."""
        return f"{self._model_title} on {self.images_title}"

    @property
    def _model_title(self) -> str:
        """The name as it was typed, with the capitals of its class where that has the same name: LeNet, ResNet18."""
        name, described = self.run.model_name, str(self.run.config["model"].get("class", ""))
        spelled = described.rpartition(":")[2].rpartition(".")[2]
        rest = name[len(spelled) :]
        same = spelled and name.lower().startswith(spelled.lower())
        return spelled + rest if same and (not rest or rest.isdecimal()) else name

    @property
    def epochs_done(self) -> int:
        """How many epochs are finished; one that went on after a part of it counts once."""
        return self.epochs[-1].epoch if self.epochs else 0

    @property
    def epochs(self) -> tuple[Row, ...]:
        """The rows of finished epochs."""
        return self.history.of("epoch")

    @property
    def end(self) -> Row | None:
        """The last row of a complete run; None when the training did not reach its end."""
        ends = self.history.of("end")
        return ends[-1] if ends else None

    @property
    def right(self) -> int:
        """Test images that were called what they are."""
        return int((self.evaluation.predictions == self.evaluation.labels).sum())

    @property
    def parameters(self) -> int:
        """Learned numbers."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def seconds(self) -> float | None:
        """Time of the whole training as far as it was noted."""
        noted = [row.values["seconds"] for row in self.history.rows if "seconds" in row.values]
        return noted[-1] if noted else None

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights were kept because it did best on the validation images; None when none was chosen."""
        judged = [row for row in self.epochs if "val_accuracy" in row.values]
        if self.config.saving.keep != "best" or not judged:
            return None
        return max(
            judged, key=lambda row: row.values["val_accuracy"]
        ).epoch  # the first of equals, as the loop keeps it

    def noted(self, name: str) -> list[float]:
        """A value of every finished epoch that has it."""
        return [row.values[name] for row in self.epochs if name in row.values]
