"""``Trainer.fit`` on the one training loop of this package."""

from __future__ import annotations

import math
import warnings
from contextlib import nullcontext
from typing import Any, Literal, cast

import torch
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from convscope.d2l.adapters import BookObjective, Stream
from convscope.d2l.fashion import ImageBatches
from convscope.d2l.folders import Place, kept
from convscope.d2l.optimizer import BookOptimizer
from convscope.d2l.trainer import OUR_BATCH, Trainer
from convscope.errors import TrainingDiverged
from convscope.train import ExecutionConfig, OptimizerConfig, Plan, SavingConfig, ScheduleConfig, TrainConfig
from convscope.train.bench import untouched_process
from convscope.train.distributed import ALONE
from convscope.train.events import Event, History
from convscope.train.interrupt import StopRequest
from convscope.train.loop import Loop
from convscope.train.parts import Parts
from convscope.train.plan import choose_plan
from convscope.train.probe import device_name
from convscope.train.shaped import give_shapes
from convscope.train.unkept import Unkept
from convscope.train.watch import BadLoss
from convscope.train.way import process_kept

NEVER = 1_000_000_000  # steps between two looks of the loop; the board has windows of its own


def learn(trainer: Trainer, epochs: int, place: Place | None = None) -> None:
    """Train ``trainer.model`` for some epochs, beginning with ``trainer.epoch``.

    Args:
        trainer: Has prepared data, model and optimiser.
        epochs: How many.
        place: The run folder; None keeps nothing.

    Raises:
        ValueError: Loaders that miscount.
        RunError: The run folder is taken, cannot be written, or holds a run of another training.
    """
    config = _config(trainer, epochs)
    with process_kept():
        parts = _parts(trainer, config, place)
        parts.plan.settle()
        with nullcontext(Loop(Unkept(), parts)) if place is None else kept(trainer, place, parts) as loop:
            if loop.epoch < parts.epochs:
                _run(loop)
    before = trainer._history.rows if trainer._history is not None else ()
    trainer._history = History((*before, *loop.ledger.rows))


def _run(loop: Loop) -> None:
    try:
        loop.run(StopRequest())
    except TrainingDiverged as error:
        cast(BookObjective, loop.parts.objective).put_back()
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


def _parts(trainer: Trainer, config: TrainConfig, place: Place | None) -> Parts:
    model, device = trainer.model, _device(trainer)
    train = Stream(_source(trainer, trainer.train_dataloader, device), trainer, device, learning=True)
    held = None
    if trainer.val_dataloader is not None and len(trainer.val_dataloader):
        held = Stream(_source(trainer, trainer.val_dataloader, device), trainer, device, learning=False)
    plan = _plan(trainer, config, train, device, place)
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


def _plan(trainer: Trainer, config: TrainConfig, train: Stream, device: torch.device, place: Place | None) -> Plan:
    """The book's arithmetic, or the fastest that agrees with it.

    Lazy layers get their shapes with the first batch, as in the book, so that they draw their weights at the same
    moment. Only where ways of computing are compared, or a folder describes the network, they must have them before.
    """
    plain = config.execution.precision == "float32"
    if plain and place is None:
        return _book_plan(device)

    with untouched_process(device):
        batch = next(train.batches())
    model = trainer.model
    if any(is_lazy(p) for p in model.parameters()):
        give_shapes(model, *(part[:2] for part in trainer.prepare_batch(batch[1].having(batch[0]))[:-1]))
    if plain:
        return _book_plan(device)
    trial = BookObjective(trainer, trial=True)
    steps = round(config.epochs * len(train))
    before = place.plan if place is not None else None
    plan = choose_plan(config.execution, model, trial, cast(Any, batch), steps=steps, resumed=before)
    plan.prepare(model)
    return plan


def _book_plan(device: torch.device) -> Plan:
    return Plan(
        device=str(device),
        device_name=device_name(device),
        threads=torch.get_num_threads(),
        reason="float32 as the book computes",
    )


def _config(trainer: Trainer, epochs: int) -> TrainConfig:
    """What is asked for, in the words of the engine; where the program decides, it is a record."""
    groups = getattr(trainer.optim, "param_groups", None) or [{}]
    rate = groups[0].get("lr", getattr(trainer.model, "lr", None))
    rate = float(rate) if isinstance(rate, (int, float)) and math.isfinite(rate) and rate > 0 else 1.0
    precision = cast(Literal["auto", "reduced", "float32", "bfloat16", "float16"], trainer._asked.precision)
    return TrainConfig(
        epochs=epochs,
        batch_size=max(1, int(getattr(trainer.train_dataloader, "batch_size", None) or 1)),
        normalize=False,
        optimizer=OptimizerConfig(opt="sgd", lr=rate, momentum=0.0, weight_decay=0.0),
        schedule=ScheduleConfig(sched="constant"),
        execution=ExecutionConfig(device=str(_device(trainer)), precision=precision, log_interval=NEVER),
        saving=SavingConfig(checkpoint_every="0"),
    )


def _silent(event: Event) -> None:
    """The board shows what there is to see."""
