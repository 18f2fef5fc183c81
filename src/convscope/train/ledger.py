"""What a training leaves in its run folder: rows, weights, and which of its epochs was the best."""

from __future__ import annotations

from collections.abc import Mapping

from convscope.train.events import Logged, Row
from convscope.train.parts import Parts
from convscope.train.run import Run
from convscope.train.shaped import shaped


class Ledger:
    """Keeps the rows of a run, and its weights as ``--keep`` wants them; only the first process writes.

    Args:
        folder: The run.
        parts: What the loop works with.
    """

    def __init__(self, folder: Run, parts: Parts) -> None:
        self.folder, self.parts = folder, parts
        self.rows: list[Row] = []
        self.best: dict[str, float] = {}
        """Score and number of the best epoch; empty where no epoch is to be chosen, or none was measured."""

    def record(self, row: Row) -> None:
        """Write a row down and let everybody hear it."""
        self.rows.append(row)
        if self.parts.world.main:
            self.folder.append(row)
        self.parts.emit(Logged(row))

    def save_weights(self, epoch: int, *, whole: bool) -> None:
        """Save what is judged: the weights, or their average.

        Args:
            epoch: Epochs that are complete.
            whole: Whether nothing was done after them.
        """
        if self.parts.world.main:
            with self.parts.judged() as model:
                weights = shaped(model.state_dict())
                self.folder.save_weights(weights)
                if whole:
                    self.folder.save_epoch_weights(epoch, weights, keep=self.parts.config.saving.epochs_kept)

    def is_best(self, values: Mapping[str, float], epoch: int) -> bool:
        """Note an epoch if none before was better on the validation images; by loss where there is no accuracy."""
        if "val_loss" not in values:
            return False
        score = values.get("val_accuracy", -values["val_loss"])
        better = not self.best or score > self.best["score"]
        if better:
            self.best = {"score": score, "epoch": float(epoch)}
        return better

    def out_of_patience(self, epoch: int) -> bool:
        """Whether enough epochs went by; asked after a measurement only, so that the last weights are measured."""
        patience = self.parts.config.saving.patience
        measured = bool(self.rows) and "val_loss" in self.rows[-1].values
        return bool(patience and self.best and measured) and epoch - self.best["epoch"] >= patience

    def measured_already(self, step: int) -> dict[str, float]:
        """What the row of the last epoch says of the test images.

        Args:
            step: Steps done; nothing is said where the row is of other weights, or they were not looked at.
        """
        last = self.rows[-1] if self.rows else None
        if self.parts.split != "test" or last is None or last.kind != "epoch" or last.step != step:
            return {}
        measured = {name: value for name, value in last.values.items() if name.startswith("test_")}
        measured.pop("test_seconds", None)
        return measured

    def kept(self, complete: int) -> str:
        """Which weights the folder has after so many complete epochs, for a message."""
        path = self.folder.path
        if not complete:
            return "no epoch was complete"
        if self.parts.config.saving.keep != "best":
            return f"the weights of epoch {complete} are kept in {path}"
        if self.best:
            return f"the weights of epoch {self.best['epoch']:.0f}, the best so far, are kept in {path}"
        return f"no epoch was measured, so the weights of epoch {complete} are in the last checkpoint of {path} alone"
