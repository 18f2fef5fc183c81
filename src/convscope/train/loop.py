"""The training loop. There is one; the task enters through an ``Objective``, listeners hear its events."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from convscope.errors import RunError, TrainingDiverged, TrainingInterrupted
from convscope.train.checkpoint import Checkpoint
from convscope.train.config import seconds_of
from convscope.train.distributed import contact
from convscope.train.events import Finished, History, Noted, Row, Stepped
from convscope.train.exchange import Exchange
from convscope.train.finetune import frozen_body
from convscope.train.generators import rng_state
from convscope.train.interrupt import StopRequest
from convscope.train.ledger import Ledger
from convscope.train.meter import Meter
from convscope.train.objective import Stateful
from convscope.train.parts import Parts
from convscope.train.place import ended_at, find_place
from convscope.train.plan import peak_memory
from convscope.train.restore import restore_average, restore_best, restore_held, restore_rows, restore_state
from convscope.train.run import Run
from convscope.train.schedule import factor
from convscope.train.shaped import load_shaped, shaped
from convscope.train.step import Stepper
from convscope.train.watch import AGREE_EVERY, Agreement, BadLoss, LossWatch, Stopwatch

TICK = 0.1  # seconds between two Stepped events


class Loop:
    """A training under way: a run folder to write, ``parts`` to work with, and a position.

    The position is epochs complete, batches done of the next one, and steps done in all. Everything random is either
    a function of the seed and the position (the order of images, augmentation) or saved with it (dropout), so a loop
    restored from a checkpoint goes on exactly as the one that wrote it would have.
    """

    def __init__(self, run: Run, parts: Parts) -> None:
        self.folder = run
        self.parts = parts
        self.epoch = self.batch = self.step = 0
        self.ledger = Ledger(run, parts)
        self._store = run.checkpoints
        self._can_go_back = self._held_seen = False
        self._epoch_meter, self._interval_meter = Meter(), Meter()
        self._time, self._epoch_time = Stopwatch(), Stopwatch()
        self.total_steps = self._scheduled = parts.total_steps
        self._stepper = Stepper(parts, LossWatch(_look_every(parts), parts.world))
        self._head = parts.model.get_submodule(parts.head)
        self._saves_every = seconds_of(parts.config.saving.checkpoint_every) or math.inf
        self._saved_at = self._ticked = time.monotonic()
        self._agreement = Agreement(parts.world)

    # ---- the position, saved and restored

    def begin(self) -> None:
        """Save the weights before the first step, once: to go back to, and to go on with after a kill.

        A lazy network has none before its first batch.
        """
        if not self._can_go_back and not any(is_lazy(p) for p in self.parts.model.parameters()):
            self._save_checkpoint()

    def checkpoint(self) -> Checkpoint:
        """Everything needed to go on from here; whole in the first process, where every one has a part in it."""
        parts = self.parts
        meters = {"epoch": self._epoch_meter, "interval": self._interval_meter}
        own = _prefixed("rng", rng_state(parts.device))
        for name, meter in meters.items():
            own |= _prefixed(name, meter.state())
        shares = parts.world.collect(own)
        return Checkpoint(
            epoch=self.epoch,
            batch=self.batch,
            step=self.step,
            images=self.batch * parts.train.batch_size,
            world=parts.world.size,
            seconds=self._time.seconds,
            epoch_seconds=self._epoch_time.seconds,
            data_seconds=self._stepper.waiting.seconds,
            rows=len(self.ledger.rows),
            model=shaped(parts.model.state_dict()),
            optimizer=parts.optimizer.state_dict(),
            average=parts.average.state() if parts.average is not None else {},
            scaler=self._stepper.scaler.state_dict() if self._stepper.scaler is not None else {},
            rng=[_unprefixed("rng", share) for share in shares],
            meters=[[_unprefixed(name, share) for name in meters] for share in shares],
            best=self.ledger.best,
            objective=parts.objective.state_dict() if isinstance(parts.objective, Stateful) else {},
            ended_at=ended_at(self.epoch, parts),
            held_seen=self._held_seen,
            config=dict(self.folder.config),
        )

    def restore(self, saved: Checkpoint, history: History) -> None:
        """Take the position and state of a checkpoint; rows after it are dropped. Nothing is written yet.

        Args:
            saved: With the settings that it was saved under, which may be others than those of this loop.
            history: Every row that was written.

        Raises:
            RunError: The checkpoint is of another network, rows that it counts on are gone, fewer epochs are asked for
                than are done, or epochs would be chosen by images that were learned from.
        """
        parts, path = self.parts, self.folder.path
        self.ledger.rows = restore_rows(saved, history, path)
        self._held_seen = restore_held(saved, self.folder, parts.config, parts.emit)
        try:
            restore_state(saved, parts, self._stepper.scaler)
            self._restore_meters(saved)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise RunError(f"the checkpoint in {path} is not of this network: {reason}") from error
        place = find_place(saved, parts)
        if place.again:
            parts.emit(Noted(f"a step has another size now, so {place.again} images of this epoch are seen again"))
        self.epoch, self.batch, self.step = place.epoch, place.batch, saved.step
        self.total_steps = self.step + max(0, self._scheduled - self._position)
        self._time, self._epoch_time = Stopwatch(saved.seconds), Stopwatch(saved.epoch_seconds)
        self._stepper.waiting = Stopwatch(saved.data_seconds)
        self.ledger.best = restore_best(saved, self.folder.config, parts.emit)
        self._can_go_back = True

    @property
    def complete(self) -> bool:
        """Whether nothing is left to train."""
        return self.epoch >= self.parts.epochs or self.ledger.out_of_patience(self.epoch)

    @property
    def history(self) -> History:
        """Every row so far."""
        return History(tuple(self.ledger.rows))

    def _restore_meters(self, saved: Checkpoint) -> None:
        """Each process goes on with its own sums; where there are more or fewer than before, the first takes all."""
        world, device = self.parts.world, self.parts.device
        shares = saved.meters if world.main else []
        if saved.world == world.size:
            shares = [saved.meters[world.rank]]
        for epoch, interval in shares:
            self._epoch_meter.merge(Meter.of(epoch, device))
            self._interval_meter.merge(Meter.of(interval, device))

    # ---- the loop itself

    def run(self, stop: StopRequest) -> None:
        """Train to the end, or until somebody asks to stop.

        Raises:
            TrainingInterrupted: Stopped on request; everything is saved.
            TrainingDiverged: A loss was NaN or infinite; the last good weights are kept.
        """
        self._time.start()
        try:
            with contact():
                self._train(stop)
        except BadLoss as bad:
            raise self._put_back(bad) from bad
        self.parts.emit(Finished("patience" if self.epoch < self.parts.epochs else "done"))

    def _train(self, stop: StopRequest) -> None:
        self.begin()
        while not self.complete:
            self._train_epoch(stop)
            self._judge_epoch()
            if self.epoch < self.parts.epochs and any(self._agreement.votes(self.step, stop.requested, at_once=True)):
                self._interrupt()
        self._finish()

    def _train_epoch(self, stop: StopRequest) -> None:
        parts = self.parts
        self._epoch_time.start()
        parts.model.train()
        with self._learning(), Exchange(parts.model, parts.world) as exchange:
            batches = parts.train.batches(self.epoch, start=self.batch)
            while self.batch < (end := parts.batches_in(self.epoch)):
                numbers = range(self.batch, min(self.batch + parts.config.optimizer.accumulate, end))
                logs = (self.step + 1) % parts.config.execution.log_interval == 0
                lr = self._lr(self._position)
                norm = self._stepper.take(
                    exchange, batches, numbers, step=self.step + 1, lr=lr, meter=self._interval_meter, measured=logs
                )
                self.step, self.batch = self.step + 1, numbers.stop
                if logs:
                    self._log({"lr": lr, "grad_norm": norm})
                self._look_around(stop)
        self._stepper.watch.look()
        self._epoch_time.stop()

    def _learning(self) -> AbstractContextManager[None]:
        """All of the network, or only its head in the first epochs of a finetuning."""
        if self.epoch >= self.parts.config.freeze_epochs:
            return nullcontext()
        return frozen_body(self.parts.model, self._head)

    def _look_around(self, stop: StopRequest) -> None:
        """Between two steps: show the progress, save when it is time, stop when somebody asks for it."""
        now = time.monotonic()
        if now - self._ticked >= TICK:
            self._ticked = now
            self.parts.emit(Stepped(self.epoch + 1, self.step))
        due = now - self._saved_at >= self._saves_every and self.batch < self.parts.batches_in(self.epoch)
        stops, saves = self._agreement.votes(self.step, stop.requested, due)
        if stops:
            self._interrupt()
        if saves:
            self._refuse_bad()
            self._save_checkpoint()

    def _judge_epoch(self) -> None:
        """Measure what an epoch has made, write its row and save."""
        parts, split, seconds = self.parts, self.parts.split, self._epoch_time.seconds
        self._refuse_bad()
        self._epoch_meter.merge(self._interval_meter)
        learned = self._epoch_meter.shared(parts.world)
        values = {"lr": self._lr(self._position - 1), **learned.means("train_"), "train_seconds": seconds}
        values |= _speed(parts, learned.count / seconds) | {"data_seconds": self._stepper.waiting.seconds}
        last = self.epoch + 1 == parts.epochs
        if parts.held is not None and (last or (self.epoch + 1) % parts.config.evaluate_every == 0):
            judging = Stopwatch()
            judging.start()
            values |= parts.measure(parts.held).means(f"{split}_")
            values[f"{split}_seconds"] = judging.seconds
            loss = values.get(f"{split}_loss", 0.0)  # an objective of one's own may have none
            if not math.isfinite(loss):
                raise BadLoss(self.step, values["lr"], loss)
        epochs, self.epoch, self.batch = self._epochs, self.epoch + 1, 0
        self._epoch_meter, self._interval_meter = Meter(), Meter()
        self._epoch_time, self._stepper.waiting = Stopwatch(), Stopwatch()
        self.ledger.record(Row("epoch", self.epoch, self.step, {**values, "seconds": self._time.seconds}, epochs))
        if self.ledger.is_best(values, self.epoch) or parts.config.saving.keep != "best":
            self.ledger.save_weights(self.epoch, whole=not self.batch)
        self._save_checkpoint()

    def _finish(self) -> None:
        """Measure the kept weights on the test images, once, and leave the model with them, in eval mode."""
        parts = self.parts
        if parts.config.saving.keep == "best":
            if not self.ledger.best:  # the epochs that other images judged do not count, and there were none after them
                self.ledger.save_weights(self.epoch, whole=not self.batch)
            parts.world.tell("written")  # nobody reads the file before
            self.folder.load_weights(parts.model)
        elif parts.average is not None:
            parts.average.write()
        parts.model.eval()
        kept = dataclasses.replace(parts, average=None)  # what counts is in the model itself from here on
        measured = self.ledger.measured_already(self.step) if parts.plan.precision == "float32" else {}
        if parts.test is not None and not measured:
            measured = kept.measure(parts.test, exactly=True).means("test_")
        memory = peak_memory()
        values = {**measured, "seconds": self._time.seconds, **({"peak_memory_bytes": memory} if memory else {})}
        if parts.device.type == "cuda":
            values["peak_device_bytes"] = torch.cuda.max_memory_allocated(parts.device)
        epochs = self.ledger.rows[-1].epochs if self.ledger.rows else None
        self.ledger.record(Row("end", self.epoch, self.step, values, epochs))  # the last thing to be written
        if parts.world.main:
            self.folder.settle_history()
        parts.world.tell("written")

    # ---- small parts

    @property
    def _position(self) -> int:
        """Steps of the present size that make up what is done; the same as ``step`` where all had this size."""
        return self.parts.steps_before(self.epoch, self.batch)

    @property
    def _epochs(self) -> float:
        """Epochs that are complete, and the share that is done of the one under way."""
        return self.epoch + self.batch / len(self.parts.train)

    def _lr(self, position: int) -> float:
        """The rate of the step that has this many of the present size before it."""
        parts = self.parts
        scale = factor(
            position,
            total_steps=self._scheduled,
            steps_per_epoch=parts.steps_per_epoch,
            schedule=parts.config.schedule,
        )
        return parts.config.optimizer.lr * scale

    def _log(self, values: Mapping[str, float]) -> None:
        means = self._interval_meter.shared(self.parts.world).means("train_")
        self._epoch_meter.merge(self._interval_meter)
        self._interval_meter = Meter()
        self.ledger.record(Row("step", self.epoch + 1, self.step, {**values, **means}, self._epochs))

    def _save_checkpoint(self) -> None:
        state = self.checkpoint()  # every process has a part in it
        if self.parts.world.main:
            self.folder.settle_history()
            self._store.save(state)
        self._can_go_back = True
        self._saved_at = time.monotonic()

    def _refuse_bad(self) -> None:
        """Before anything is saved within an epoch: a loss may have been good and the step after it not."""
        self._stepper.watch.look()
        if not all(bool(torch.isfinite(p).all()) for p in self.parts.model.parameters() if not is_lazy(p)):
            raise BadLoss(self.step, self._lr(self._position - 1), math.nan)

    def _interrupt(self) -> None:
        """Save everything after a finished step and say how to go on."""
        self._refuse_bad()
        if self.parts.config.saving.keep != "best":
            self.ledger.save_weights(self.epoch, whole=not self.batch)
        self._save_checkpoint()
        self.parts.emit(Finished("interrupted"))
        raise TrainingInterrupted(
            f"stopped after step {self.step:,} of {self.total_steps:,}; everything is saved in {self.folder.path}; "
            f"go on with: {self.folder.way_on}"
        )

    def _put_back(self, bad: BadLoss) -> TrainingDiverged:
        """Give the model the weights of the last checkpoint, and the words for what happened."""
        parts = self.parts
        complete = 0
        if not self._store.empty:
            good = self._store.newest(lambda warning: parts.emit(Noted(warning)))
            complete = good.epoch
            load_shaped(parts.model, good.model)
            restore_average(good, parts)
            if parts.average is not None:
                parts.average.write()
        parts.model.eval()
        parts.emit(Finished("diverged"))
        return TrainingDiverged(
            f"the loss became {bad.loss} at step {bad.step:,} (epoch {self.epoch + 1}, learning rate {bad.lr:.3g}) and "
            f"training stopped; {self.ledger.kept(complete)}; try a lower --lr, or --clip-grad 1"
        )


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _unprefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    whole = f"{prefix}/"
    return {name.removeprefix(whole): tensor for name, tensor in tensors.items() if name.startswith(whole)}


def _look_every(parts: Parts) -> int:
    """Looking at a loss is free on a CPU; on an accelerator it waits, so it is done with the logging."""
    if parts.world.size > 1:
        return AGREE_EVERY
    return 1 if parts.device.type == "cpu" else parts.config.execution.log_interval


def _speed(parts: Parts, images_per_second: float) -> dict[str, float]:
    """Images, multiply-adds and the share of what the machine could do, each per second of training."""
    speed, plan = {"images_per_second": images_per_second}, parts.plan
    if plan.image_macs is not None:
        speed["macs_per_second"] = plan.image_macs * images_per_second
        if plan.peak_macs_per_second:
            speed["peak_share"] = speed["macs_per_second"] / plan.peak_macs_per_second / parts.world.size
    return speed
