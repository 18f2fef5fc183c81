"""What a report is written from, and the questions that several of its parts ask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import nn

from convscope.data import Dataset
from convscope.measure import Evaluation
from convscope.train import History, Row, Run, TrainConfig


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
