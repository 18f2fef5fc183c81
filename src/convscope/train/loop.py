"""The training loop. There is one; the task enters through an ``Objective``, listeners hear its events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from convscope.data import Loader
from convscope.errors import RunError, TrainingDiverged, TrainingInterrupted
from convscope.train.checkpoint import Checkpoint, restore_rng, rng_state
from convscope.train.config import TrainConfig
from convscope.train.events import Event, Finished, History, Logged, Row, Stepped
from convscope.train.interrupt import StopRequest
from convscope.train.objective import Meter, Objective
from convscope.train.plan import peak_memory
from convscope.train.run import Run
from convscope.train.schedule import factor
from convscope.train.watch import BadLoss, LossWatch, Stopwatch

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
        self.rows: list[Row] = []
        self.best: dict[str, float] = {}
        self._epoch_meter, self._interval_meter = Meter(), Meter()
        self._time, self._epoch_time = Stopwatch(), Stopwatch()
        # Looking at a loss on the CPU is free; on an accelerator it waits, so it is done with the logging.
        self._watch = LossWatch(1 if parts.device.type == "cpu" else parts.config.execution.log_interval)
        self._total_steps = parts.config.epochs * len(parts.train)
        self._ticked = 0.0

    # ---- the position, saved and restored

    def checkpoint(self) -> Checkpoint:
        """Everything needed to go on from here."""
        return Checkpoint(
            epoch=self.epoch,
            batch=self.batch,
            step=self.step,
            seconds=self._time.seconds,
            epoch_seconds=self._epoch_time.seconds,
            rows=len(self.rows),
            model=self.parts.model.state_dict(),
            optimizer=self.parts.optimizer.state_dict(),
            rng=rng_state(self.parts.device),
            meters=[self._epoch_meter.state(), self._interval_meter.state()],
            best=self.best,
        )

    def restore(self, saved: Checkpoint, history: History) -> None:
        """Take the position and state of a checkpoint; rows written after it are dropped.

        Raises:
            RunError: The checkpoint is of another network, or rows that it counts on are gone.
        """
        if len(history.rows) < saved.rows:
            raise RunError(
                f"{self.folder.path / 'metrics.jsonl'} has {len(history.rows)} rows and the checkpoint counts on "
                f"{saved.rows}: the file was cut; start a new run"
            )
        try:
            self.parts.model.load_state_dict(saved.model)
            self.parts.optimizer.load_state_dict(saved.optimizer)
            self._epoch_meter, self._interval_meter = (Meter.of(state, self.parts.device) for state in saved.meters)
            restore_rng(saved.rng, self.parts.device)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise RunError(f"the checkpoint in {self.folder.path} is not of this network: {reason}") from error
        self.epoch, self.batch, self.step = saved.epoch, saved.batch, saved.step
        self._time, self._epoch_time = Stopwatch(saved.seconds), Stopwatch(saved.epoch_seconds)
        self.rows, self.best = list(history.rows[: saved.rows]), dict(saved.best)
        self.folder.rewrite_history(History(tuple(self.rows)))

    # ---- the loop itself

    def run(self, stop: StopRequest) -> None:
        """Train to the end, or until somebody asks to stop.

        Raises:
            TrainingInterrupted: Stopped on request; everything is saved.
            TrainingDiverged: A loss was NaN or infinite; the last good weights are kept.
        """
        self._time.start()
        if self.step == 0:
            self._save_checkpoint()
        while self.epoch < self.parts.config.epochs and not self._out_of_patience():
            self._train_epoch(stop)
            self._judge_epoch()
        self._finish()
        self.parts.emit(Finished("patience" if self.epoch < self.parts.config.epochs else "done"))

    def _train_epoch(self, stop: StopRequest) -> None:
        self._epoch_time.start()
        self.parts.model.train()
        for inputs, targets in self.parts.train.batches(self.epoch, start=self.batch):
            self._train_step(inputs, targets)
            if stop.requested:
                self._interrupt()
        self._stop_if_bad(self._watch.look())
        self._epoch_time.stop()

    def _train_step(self, inputs: Tensor, targets: Tensor) -> None:
        parts, lr = self.parts, self._lr(self.step)
        for group in parts.optimizer.param_groups:
            group["lr"] = lr
        outcome = parts.objective.training(parts.model, inputs, targets)
        self._stop_if_bad(self._watch.see(self.step + 1, lr, outcome.loss.detach()))
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

    def _judge_epoch(self) -> None:
        """Measure what an epoch has made, write its row and save."""
        split, seconds = self.parts.split, self._epoch_time.seconds
        self._epoch_meter.merge(self._interval_meter)
        values = {"lr": self._lr(self.step - 1), **self._epoch_meter.means("train_"), "train_seconds": seconds}
        values["images_per_second"] = self._epoch_meter.count / seconds

        judging = Stopwatch()
        judging.start()
        values |= evaluate(self.parts.objective, self.parts.model, self.parts.held).means(f"{split}_")
        values[f"{split}_seconds"] = judging.seconds
        if not math.isfinite(values[f"{split}_loss"]):
            self._stop_if_bad(BadLoss(self.step, values["lr"], values[f"{split}_loss"]))

        self.epoch, self.batch = self.epoch + 1, 0
        self._epoch_meter, self._interval_meter, self._epoch_time = Meter(), Meter(), Stopwatch()
        self._record(Row("epoch", self.epoch, self.step, {**values, "seconds": self._time.seconds}))
        better = self._is_best(values)
        if self.parts.config.saving.keep == "last" or better:
            self.folder.save_weights(self.parts.model.state_dict())
        self._save_checkpoint()

    def _finish(self) -> None:
        """Measure the kept weights on the test images, once, and leave the model with them, in eval mode."""
        parts = self.parts
        if parts.config.saving.keep == "best":
            self.folder.load_weights(parts.model)
        else:
            self.folder.save_weights(parts.model.state_dict())
        if parts.split == "test":
            measured = {k: v for k, v in self.rows[-1].values.items() if k in ("test_loss", "test_accuracy")}
        else:
            measured = evaluate(parts.objective, parts.model, parts.test).means("test_")
        memory = peak_memory()
        values = {**measured, "seconds": self._time.seconds, **({"peak_memory_bytes": memory} if memory else {})}
        parts.model.eval()
        self._record(Row("end", self.epoch, self.step, values))
        self._save_checkpoint()

    # ---- small parts

    def _lr(self, step: int) -> float:
        """The rate of the step that has this many steps before it."""
        parts = self.parts
        scale = factor(
            step,
            total_steps=self._total_steps,
            steps_per_epoch=len(parts.train),
            schedule=parts.config.schedule,
        )
        return parts.config.optimizer.lr * scale

    def _record(self, row: Row) -> None:
        self.rows.append(row)
        self.folder.append(row)
        self.parts.emit(Logged(row))

    def _save_checkpoint(self) -> None:
        self.checkpoint().save(self.folder.path / "checkpoint")

    def _is_best(self, values: Mapping[str, float]) -> bool:
        """Note the epoch if none before was better on the validation images; by loss where there is no accuracy."""
        if self.parts.split != "val":
            return False
        score = values.get("val_accuracy", -values["val_loss"])
        better = not self.best or score > self.best["score"]
        if better:
            self.best = {"score": score, "epoch": float(self.epoch)}
        return better

    def _out_of_patience(self) -> bool:
        patience = self.parts.config.saving.patience
        return bool(patience and self.best) and self.epoch - self.best["epoch"] >= patience

    def _interrupt(self) -> None:
        """Save everything after a finished step and say how to go on."""
        run, model = self.folder, self.parts.model
        self._stop_if_bad(self._watch.look())
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):  # the last step's doing
            self._stop_if_bad(BadLoss(self.step, self._lr(self.step - 1), math.nan))
        if self.parts.config.saving.keep == "last":
            run.save_weights(model.state_dict())
        self._save_checkpoint()
        self.parts.emit(Finished("interrupted"))
        raise TrainingInterrupted(
            f"stopped after step {self.step:,} of {self._total_steps:,}; everything is saved in {run.path}; "
            f"go on with: convscope train --resume {run.path}"
        )

    def _stop_if_bad(self, bad: BadLoss | None) -> None:
        """Put back the weights of the last checkpoint and say what happened, if a loss was no number."""
        if bad is None:
            return
        run = self.folder
        good = Checkpoint.load(run.path / "checkpoint")
        self.parts.model.load_state_dict(good.model)
        self.parts.model.eval()
        self.parts.emit(Finished("diverged"))
        kept = f"the weights of epoch {good.epoch} are kept in {run.path}" if good.epoch else "no epoch was complete"
        raise TrainingDiverged(
            f"the loss became {bad.loss} at step {bad.step:,} (epoch {self.epoch + 1}, learning rate {bad.lr:.3g}) and "
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
