"""The training loop. There is one; the task enters through an ``Objective``, listeners hear its events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from convscope.data import Loader
from convscope.errors import TrainingDiverged, TrainingInterrupted
from convscope.train.checkpoint import Checkpoint, restore_rng, rng_state
from convscope.train.config import TrainConfig
from convscope.train.events import Event, Finished, History, Logged, Row, Stepped
from convscope.train.interrupt import StopRequest
from convscope.train.objective import Meter, Objective
from convscope.train.plan import peak_memory
from convscope.train.run import Run
from convscope.train.schedule import factor

TICK = 0.1  # seconds between two Stepped events


@dataclass(frozen=True)
class Parts:
    """What a loop works with; nothing here changes while it runs but the weights.

    Args:
        config: The settings.
        model: On ``device`` already.
        objective: The task.
        optimizer: Over the model's parameters.
        train: Training batches.
        held: Batches to measure each epoch on.
        test: Batches to measure the final weights on.
        device: Where the model is.
        emit: Hears every event.
    """

    config: TrainConfig
    model: nn.Module
    objective: Objective
    optimizer: Optimizer
    train: Loader
    held: Loader
    test: Loader
    device: torch.device
    emit: Callable[[Event], None]

    @property
    def split(self) -> Literal["val", "test"]:
        """What the curve is measured on; said in every name that it gives."""
        return "test" if self.held is self.test else "val"


class Loop:
    """A training under way: a run folder to write, ``parts`` to work with, and a position.

    The position is epochs complete, batches done of the next one, and steps done in all. Everything random is either
    a function of the seed and the position (the order of images) or saved with it (dropout), so a loop restored from
    a checkpoint goes on exactly as the one that wrote it would have.
    """

    def __init__(self, run: Run, parts: Parts) -> None:
        self.folder = run
        self.parts = parts
        self.epoch = self.batch = self.step = 0
        self.seconds = 0.0  # spent in earlier sittings
        self.rows: list[Row] = []
        self.best: dict[str, float] = {}
        self._epoch_meter, self._interval_meter = Meter(), Meter()
        self._unchecked: list[Tensor] = []  # losses not yet looked at
        self._began = self._ticked = time.perf_counter()
        # Looking at a loss on the CPU is free; on an accelerator it waits, so it is done with the logging.
        self._check_every = 1 if parts.device.type == "cpu" else parts.config.execution.log_interval
        self._total_steps = parts.config.epochs * len(parts.train)

    # ---- the position, saved and restored

    def checkpoint(self) -> Checkpoint:
        """Everything needed to go on from here."""
        return Checkpoint(
            epoch=self.epoch,
            batch=self.batch,
            step=self.step,
            seconds=self._elapsed(),
            rows=len(self.rows),
            model=self.parts.model.state_dict(),
            optimizer=self.parts.optimizer.state_dict(),
            rng=rng_state(self.parts.device),
            meters=[self._epoch_meter.state(), self._interval_meter.state()],
            best=self.best,
        )

    def restore(self, saved: Checkpoint, history: History) -> None:
        """Take the position and state of a checkpoint; rows written after it are dropped."""
        self.epoch, self.batch, self.step = saved.epoch, saved.batch, saved.step
        self.seconds = saved.seconds
        self.rows = list(history.rows[: saved.rows])
        self.best = dict(saved.best)
        self.parts.model.load_state_dict(saved.model)
        self.parts.optimizer.load_state_dict(saved.optimizer)
        self._epoch_meter, self._interval_meter = (Meter.of(state, self.parts.device) for state in saved.meters)
        self.folder.rewrite_history(History(tuple(self.rows)))
        restore_rng(saved.rng, self.parts.device)

    # ---- the loop itself

    def run(self, stop: StopRequest) -> None:
        """Train to the end, or until somebody asks to stop.

        Raises:
            TrainingInterrupted: Stopped on request; everything is saved.
            TrainingDiverged: A loss was NaN or infinite; the last good weights are kept.
        """
        self._began = time.perf_counter()
        if self.step == 0:
            self.checkpoint().save(self.folder.path / "checkpoint")
        reason: Literal["done", "patience"] = "done"
        while self.epoch < self.parts.config.epochs:
            self._train_epoch(stop)
            if self._out_of_patience():
                reason = "patience"
                break
        self._finish()
        self.parts.emit(Finished(reason))

    def _train_epoch(self, stop: StopRequest) -> None:
        began = time.perf_counter()
        self.parts.model.train()
        for inputs, targets in self.parts.train.batches(self.epoch, start=self.batch):
            self._train_step(inputs, targets)
            if stop.requested:
                self._interrupt()
        self._check_losses()
        seconds = time.perf_counter() - began
        self._epoch_meter.merge(self._interval_meter)
        values = {"lr": self._lr(), **self._epoch_meter.means("train_"), "train_seconds": seconds}
        values["images_per_second"] = self._epoch_meter.count / seconds

        began = time.perf_counter()
        values |= evaluate(self.parts.objective, self.parts.model, self.parts.held).means(f"{self.parts.split}_")
        values[f"{self.parts.split}_seconds"] = time.perf_counter() - began
        if not math.isfinite(values[f"{self.parts.split}_loss"]):
            self._diverge(values[f"{self.parts.split}_loss"], self.step)

        self.epoch, self.batch = self.epoch + 1, 0
        self._epoch_meter, self._interval_meter = Meter(), Meter()
        self._record(Row("epoch", self.epoch, self.step, {**values, "seconds": self._elapsed()}))
        self._save()

    def _train_step(self, inputs: Tensor, targets: Tensor) -> None:
        parts = self.parts
        lr = self._lr()
        for group in parts.optimizer.param_groups:
            group["lr"] = lr
        outcome = parts.objective.training(parts.model, inputs, targets)
        self._unchecked.append(outcome.loss.detach())
        if len(self._unchecked) >= self._check_every:
            self._check_losses()
        parts.optimizer.zero_grad()
        outcome.loss.backward()  # type: ignore[no-untyped-call]
        if parts.config.optimizer.clip_grad:
            nn.utils.clip_grad_norm_(parts.model.parameters(), parts.config.optimizer.clip_grad)
        parts.optimizer.step()
        self._interval_meter.add(outcome)
        self.step, self.batch = self.step + 1, self.batch + 1
        if self.step % parts.config.execution.log_interval == 0:
            values = {"lr": lr, **self._interval_meter.means("train_")}
            self._epoch_meter.merge(self._interval_meter)
            self._interval_meter = Meter()
            self._record(Row("step", self.epoch + 1, self.step, values))
        now = time.perf_counter()
        if now - self._ticked >= TICK:
            self._ticked = now
            parts.emit(Stepped(self.epoch + 1, self.step))

    def _finish(self) -> None:
        """Measure the kept weights on the test images, once, and leave the model with them, in eval mode."""
        parts = self.parts
        if parts.split == "test":
            measured = {k: v for k, v in self.rows[-1].values.items() if k in ("test_loss", "test_accuracy")}
        else:
            self.folder.load_weights(parts.model)
            measured = evaluate(parts.objective, parts.model, parts.test).means("test_")
        memory = peak_memory()
        values = {**measured, "seconds": self._elapsed(), **({"peak_memory_bytes": memory} if memory else {})}
        parts.model.eval()
        self._record(Row("end", self.epoch, self.step, values))
        self.checkpoint().save(self.folder.path / "checkpoint")

    # ---- small parts

    def _lr(self) -> float:
        step = min(self.step, self._total_steps - 1)
        schedule = self.parts.config.schedule
        scale = factor(step, total_steps=self._total_steps, steps_per_epoch=len(self.parts.train), schedule=schedule)
        return self.parts.config.optimizer.lr * scale

    def _elapsed(self) -> float:
        return self.seconds + time.perf_counter() - self._began

    def _record(self, row: Row) -> None:
        self.rows.append(row)
        self.folder.append(row)
        self.parts.emit(Logged(row))

    def _save(self) -> None:
        """Write the weights if they are the ones to keep, then the checkpoint."""
        accuracy = self.rows[-1].values.get("val_accuracy")
        better = accuracy is not None and accuracy > self.best.get("accuracy", -1.0)
        if better and accuracy is not None:
            self.best = {"accuracy": accuracy, "epoch": float(self.epoch)}
        if self.parts.config.saving.keep == "last" or better:
            self.folder.save_weights(self.parts.model.state_dict())
        self.checkpoint().save(self.folder.path / "checkpoint")

    def _out_of_patience(self) -> bool:
        patience = self.parts.config.saving.patience
        return bool(patience) and self.epoch - self.best["epoch"] >= patience

    def _interrupt(self) -> None:
        run = self.folder
        self._check_losses()
        if self.parts.config.saving.keep == "last":
            run.save_weights(self.parts.model.state_dict())
        self.checkpoint().save(run.path / "checkpoint")
        self.parts.emit(Finished("interrupted"))
        raise TrainingInterrupted(
            f"stopped after step {self.step:,} of {self._total_steps:,}; everything is saved in {run.path}; "
            f"go on with: convscope train --resume {run.path}"
        )

    def _check_losses(self) -> None:
        losses: list[float] = torch.stack(self._unchecked).tolist() if self._unchecked else []
        self._unchecked.clear()
        for ago, loss in enumerate(reversed(losses)):
            if not math.isfinite(loss):
                self._diverge(loss, self.step + 1 - ago)

    def _diverge(self, loss: float, step: int) -> None:
        """Put back the weights of the last checkpoint and say what happened."""
        run = self.folder
        good = Checkpoint.load(run.path / "checkpoint")
        self.parts.model.load_state_dict(good.model)
        self.parts.model.eval()
        self.parts.emit(Finished("diverged"))
        kept = f"the weights of epoch {good.epoch} are kept in {run.path}" if good.epoch else "no epoch was complete"
        raise TrainingDiverged(
            f"the loss became {loss} at step {step:,} (epoch {self.epoch + 1}, learning rate {self._lr():.3g}) and "
            f"training stopped; {kept}; try a lower --lr, or --clip-grad 1"
        )


def evaluate(objective: Objective, model: nn.Module, loader: Loader) -> Meter:
    """Judge every image of a loader once, in eval mode and without gradients; the mode is put back."""
    meter, was_training = Meter(), model.training
    model.eval()
    with torch.inference_mode():
        for inputs, targets in loader.batches():
            meter.add(objective.evaluation(model, inputs, targets))
    model.train(was_training)
    return meter
