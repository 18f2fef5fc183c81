"""What a checkpoint holds, given back to a training that may have other settings than the one that saved it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from convscope.errors import RunError
from convscope.train.checkpoint import Checkpoint
from convscope.train.config import OptimizerConfig, TrainConfig
from convscope.train.differences import dealt_anew, why_best_is_void
from convscope.train.events import History, Listener, Noted, Row
from convscope.train.generators import restore_rng
from convscope.train.objective import Stateful
from convscope.train.optim import take_over
from convscope.train.parts import Parts
from convscope.train.run import Run
from convscope.train.shaped import load_shaped


def restore_state(saved: Checkpoint, parts: Parts, scaler: torch.amp.GradScaler | None) -> None:
    """Give network, optimiser, average, scaler and generators their state; their settings stay their own.

    Args:
        saved: With the settings that it was saved under.
        parts: Of the training that goes on; hears what had to begin anew.
        scaler: Of float16 gradients; None where there is none.

    Raises:
        ValueError: The checkpoint is of another network; ``RuntimeError``, ``KeyError`` and ``TypeError`` where PyTorch
            says so.
    """
    load_shaped(parts.model, saved.model)
    if isinstance(parts.objective, Stateful):
        parts.objective.load_state_dict(saved.objective)
    _restore_optimizer(saved, parts)
    restore_average(saved, parts)
    if scaler is not None and saved.scaler:
        scaler.load_state_dict(saved.scaler)
    if parts.world.rank < len(saved.rng):
        restore_rng(saved.rng[parts.world.rank], parts.device)


def _restore_optimizer(saved: Checkpoint, parts: Parts) -> None:
    """Moments go on, numbers are those of now; an optimiser that somebody brings takes all of what it had."""
    if not any("scale" in group for group in parts.optimizer.param_groups):
        parts.optimizer.load_state_dict(saved.optimizer)
        return
    then, now = OptimizerConfig(**saved.config["train"]["optimizer"]), parts.config.optimizer
    if then.opt == now.opt:
        take_over(parts.optimizer, saved.optimizer, parts.model, then=then)
    else:
        parts.emit(Noted(f"--opt {now.opt} begins without moments: those of {then.opt} mean something else"))


def restore_rows(saved: Checkpoint, history: History, path: Path) -> list[Row]:
    """The rows that were written before the checkpoint of the run in ``path``.

    Raises:
        RunError: Some are gone, or nothing can follow them.
    """
    if len(history.rows) < saved.rows:
        raise RunError(
            f"{path / 'metrics.jsonl'} has {len(history.rows)} rows and the checkpoint counts on {saved.rows}: the "
            "file was cut; start a new run"
        )
    rows = list(history.rows[: saved.rows])
    if any(row.kind == "end" for row in rows):
        raise RunError(
            f"{path} was finished by an earlier version of convscope, which kept nothing to train further with; start "
            f"a new run with --init {path}"
        )
    return rows


def restore_held(saved: Checkpoint, now: Run, config: TrainConfig, emit: Listener) -> bool:
    """Whether images that are held out now were learned from before; then nothing may be chosen by them.

    Args:
        saved: With the settings that it was saved under.
        now: With what is asked for now.
        config: The settings among it.
        emit: Hears what it means for the curve.

    Raises:
        RunError: Something would be chosen by them.
    """
    dealt = dealt_anew(saved.config, now.config) if saved.step else []
    if not dealt and not saved.held_seen:
        return False
    seen = f"{now.path} has learned from images that are held out for validation now"
    seen += f" ({'; '.join(dealt)})" if dealt else ", in an earlier sitting"
    instead = ["--keep last"] * (config.saving.keep == "best") + ["--patience 0"] * bool(config.saving.patience)
    if instead:
        raise RunError(
            f"{seen}, and what is chosen by them flatters itself; {'leave that as it was, ' if dealt else ''}choose "
            f"nothing with {' '.join(instead)} --force, or start a new run"
        )
    if dealt:
        emit(Noted(f"{seen}: the curve on them flatters the network"))
    return True


def changed_step(saved: Checkpoint, now: TrainConfig, processes: int) -> list[str]:
    """Say, as ``differences`` does, that another number of processes gives a step another number of images.

    Args:
        saved: With the settings that it was saved under.
        now: What is asked for now.
        processes: That train together now.

    Returns:
        One line, or none.
    """
    train = saved.config["train"]
    then = train["batch_size"] * train["optimizer"]["accumulate"] * saved.world
    unit = now.optimizer.accumulate * processes
    here = now.batch_size * unit
    if saved.world == processes or then == here:
        return []
    advice = f" (--batch-size {then // unit} keeps them)" if then % unit == 0 else ""
    return [
        f"images in a step: {then:,} of {_processes(saved.world)} then, {here:,} of {_processes(processes)} now{advice}"
    ]


def _processes(count: int) -> str:
    return f"{count} process{'es' if count != 1 else ''}"


def restore_best(saved: Checkpoint, now: Mapping[str, Any], emit: Listener) -> dict[str, float]:
    """The best epoch so far; nothing where it cannot be compared with what comes, or its weights were not kept.

    Args:
        saved: With the settings that it was saved under.
        now: What is asked for now, as ``config.json`` has it.
        emit: Hears why it does not count.
    """
    reason = why_best_is_void(saved.config, now) if saved.best else ""
    if not reason:
        return dict(saved.best)
    emit(Noted(f"epoch {saved.best['epoch']:.0f}, the best so far, does not count any more: {reason}"))
    return {}


def restore_average(saved: Checkpoint, parts: Parts) -> None:
    """Give the moving average its state; one that was not kept until now begins with the weights as they are.

    Raises:
        ValueError: The saved average is of another network.
    """
    if parts.average is None:
        return
    if saved.average:
        parts.average.restore(saved.average)
    else:
        parts.average.begin()
