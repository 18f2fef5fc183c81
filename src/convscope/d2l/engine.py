"""``Trainer.fit`` on the one training loop of this package."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from convscope.d2l.adapters import BookObjective, BookOptimizer, Stream
from convscope.d2l.fashion import FashionMNIST, ImageBatches, Split
from convscope.d2l.trainer import OUR_BATCH, Trainer
from convscope.errors import RunError, TrainingDiverged
from convscope.train import ExecutionConfig, OptimizerConfig, Plan, Run, SavingConfig, ScheduleConfig, TrainConfig
from convscope.train.assembly import describe
from convscope.train.bench import untouched_process
from convscope.train.differences import differences
from convscope.train.distributed import ALONE
from convscope.train.events import Event, History
from convscope.train.folder import claim, locked
from convscope.train.interrupt import StopRequest
from convscope.train.loop import Loop
from convscope.train.parts import Parts
from convscope.train.plan import choose_plan, environment
from convscope.train.probe import device_name
from convscope.train.unkept import Unkept
from convscope.train.watch import BadLoss
from convscope.train.way import process_kept

NEVER = 1_000_000_000  # steps between two looks of the loop; the board has windows of its own


def learn(trainer: Trainer, epochs: int, data: Any = None) -> None:
    """Train ``trainer.model`` for some epochs, beginning with ``trainer.epoch``.

    Args:
        trainer: Has prepared data, model and optimiser.
        epochs: How many.
        data: What ``fit`` was called with, for the record of a run folder.

    Raises:
        ValueError: Loaders that miscount, or a run folder for data that it cannot describe.
        RunError: The run folder is taken, cannot be written, or holds a run of another training.
    """
    config = _config(trainer, epochs)
    if trainer.out is not None:
        _check_describable(trainer, data)
    with process_kept():
        parts = _parts(trainer, config)
        parts.plan.settle()
        with _folder(trainer, data, parts) as run:
            loop = Loop(run, parts)
            if trainer.out is None or not _restored(loop, run):
                _run(loop)
    before = trainer.history.rows if trainer.history is not None else ()
    trainer.history = History((*before, *loop.rows))


def _run(loop: Loop) -> None:
    try:
        loop.run(StopRequest())
    except TrainingDiverged as error:
        bad = error.__cause__
        where = f" at step {bad.step:,} (learning rate {bad.lr:.3g})" if isinstance(bad, BadLoss) else ""
        what = bad.loss if isinstance(bad, BadLoss) else "NaN"
        kept = f"has the weights of epoch {loop.epoch}" if loop.epoch else "has learned nothing that could be kept"
        warnings.warn(
            f"the loss became {what} in epoch {loop.epoch + 1}{where}, and training stopped: the model {kept}; "
            "try a lower learning rate, or Trainer(..., gradient_clip_val=1)",
            UserWarning,
            stacklevel=2,
        )


def _parts(trainer: Trainer, config: TrainConfig) -> Parts:
    model, device = trainer.model, _device(trainer)
    train = Stream(_source(trainer, trainer.train_dataloader, device), trainer, device, learning=True)
    held = None
    if trainer.val_dataloader is not None and len(trainer.val_dataloader):
        held = Stream(_source(trainer, trainer.val_dataloader, device), trainer, device, learning=False)
    plan = _plan(trainer, config, train, device)
    return Parts(
        config=config,
        plan=plan,
        world=ALONE,
        model=model,
        forward=model,
        objective=BookObjective(trainer),
        optimizer=cast(Optimizer, BookOptimizer(trainer)),
        average=None,
        head="",
        train=train,
        held=held,
        test=None,
        emit=_silent,
    )


def _device(trainer: Trainer) -> torch.device:
    """Where the model is: the trainer put it there, or the program did."""
    if trainer.gpus:
        return trainer.gpus[0]
    return next((p.device for p in trainer.model.parameters()), torch.device("cpu"))


def _source(trainer: Trainer, loader: Any, device: torch.device) -> Any:
    """Images of ours come straight from the device's memory, unless the program prepares its batches itself."""
    ours = getattr(trainer.prepare_batch, "__func__", None) is OUR_BATCH
    return loader.on(device) if isinstance(loader, ImageBatches) and ours else loader


def _plan(trainer: Trainer, config: TrainConfig, train: Stream, device: torch.device) -> Plan:
    """The book's arithmetic, or the fastest that agrees with it.

    Lazy layers get their shapes with the first batch, as in the book, so that they draw their weights at the same
    moment. Only where ways of computing are compared, or a folder describes the network, they must have them before.
    """
    plain = config.execution.precision == "float32"
    if plain and trainer.out is None:
        return _book_plan(device)

    with untouched_process(device):
        batch = next(train.batches())
    model = trainer.model
    if any(is_lazy(p) for p in model.parameters()):
        _give_shapes(model, trainer.prepare_batch(batch[1].having(batch[0])))
    if plain:
        return _book_plan(device)
    trial = BookObjective(trainer, trial=True)
    steps = round(config.epochs * len(train))
    plan = choose_plan(config.execution, model, trial, cast(Any, batch), steps=steps)
    plan.prepare(model)
    return plan


def _book_plan(device: torch.device) -> Plan:
    return Plan(
        device=str(device),
        device_name=device_name(device),
        threads=torch.get_num_threads(),
        reason="float32 as the book computes",
    )


def _give_shapes(model: nn.Module, batch: Any) -> None:
    """One forward pass of two images in eval mode, which leaves norms and dropout alone."""
    training = model.training
    model.eval()
    with torch.no_grad():
        model(*(part[:2] for part in batch[:-1]))
    model.train(training)


def _config(trainer: Trainer, epochs: int) -> TrainConfig:
    """What is asked for, in the words of the engine; where the program decides, it is a record."""
    groups = getattr(trainer.optim, "param_groups", None) or [{}]
    rate = groups[0].get("lr", getattr(trainer.model, "lr", None))
    rate = float(rate) if isinstance(rate, (int, float)) and math.isfinite(rate) and rate > 0 else 1.0
    precision = cast(Literal["auto", "reduced", "float32", "bfloat16", "float16"], trainer.precision)
    return TrainConfig(
        epochs=epochs,
        batch_size=max(1, int(getattr(trainer.train_dataloader, "batch_size", None) or 1)),
        normalize=False,
        optimizer=OptimizerConfig(opt="sgd", lr=rate, momentum=0.0, weight_decay=0.0),
        schedule=ScheduleConfig(sched="constant"),
        execution=ExecutionConfig(device=str(_device(trainer)), precision=precision, log_interval=NEVER),
        saving=SavingConfig(checkpoint_every="0"),
    )


def _check_describable(trainer: Trainer, data: Any) -> None:
    """A run folder says how to load its images again.

    Raises:
        ValueError: Only the program knows what the data is.
    """
    if not isinstance(data, FashionMNIST) or _side(data) is None:
        raise ValueError(
            f"out={str(trainer.out)!r} keeps a run of FashionMNIST with square images, whose folder says how to load "
            f"them again; got {type(data).__name__}; leave out= away"
        )


def _side(data: FashionMNIST) -> int | None:
    """Pixels along a side of the square images; None where they are not square, or not ours."""
    height, width = data.train.pixels.image_size if isinstance(data.train, Split) else (0, 1)
    return int(height) if height == width else None


@contextmanager
def _folder(trainer: Trainer, data: Any, parts: Parts) -> Iterator[Run]:
    """The run folder, or nothing at all."""
    if trainer.out is None:
        yield Unkept()
        return
    path = Path(trainer.out)
    record = describe(trainer.model, data.source, replace(parts.config, image_size=_side(data)))
    if trainer.resume and (path / "config.json").exists():
        trainer.run = _of_this_training(Run.open(path), record)
        with locked(path):
            yield trainer.run
        return
    with claim(path, overwrite=False):
        Run.create(path, record, environment(parts.plan, command=None))
        trainer.run = Run.open(path)
        yield trainer.run


def _of_this_training(run: Run, record: dict[str, Any]) -> Run:
    """The run, if the same training goes on there.

    Raises:
        RunError: It is another one; the differences are listed.
    """
    if changed := differences(run.config, record):
        listed = "".join(f"\n  {line.removeprefix('--')}" for line in changed)
        raise RunError(f"{run.path} holds a run of another training; choose another out= for this one:{listed}")
    return run


def _restored(loop: Loop, run: Run) -> bool:
    """Put a run that was begun before into model, optimiser and board; whether nothing of it is left to train."""
    if run.checkpoints.empty:
        return False
    saved = run.checkpoints.newest(lambda text: warnings.warn(text, UserWarning, stacklevel=2))
    complete = bool(run.history.of("end"))
    loop.restore(saved, run.history)
    if complete:
        loop.parts.model.eval()
    else:
        run.rewrite_history(loop.history)
    return complete


def _silent(event: Event) -> None:
    """The board shows what there is to see."""
