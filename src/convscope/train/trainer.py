"""From a network and images to a run folder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from convscope.data import Dataset
from convscope.errors import RunError
from convscope.train.assembly import assemble, describe, model_name, see_shapes
from convscope.train.bench import untouched_process
from convscope.train.config import TrainConfig
from convscope.train.differences import differences, same_work
from convscope.train.distributed import ALONE, World, join
from convscope.train.events import Event, Listener, Noted, Started
from convscope.train.find_lr import LrRange, find_lr
from convscope.train.folder import claim, locked, next_free
from convscope.train.generators import lent_generators, seed_generators
from convscope.train.interrupt import graceful_stop
from convscope.train.loop import Loop
from convscope.train.objective import Objective
from convscope.train.parts import Parts
from convscope.train.plan import environment, find_device
from convscope.train.replan import precedent
from convscope.train.restore import changed_step
from convscope.train.run import Run
from convscope.train.way import process_kept


class Trainer:
    """Trains any ``nn.Module`` on any ``Dataset``.

    Args:
        config: Every setting; the defaults are the recipe ``default``.
        objective: The task; classification unless told otherwise.
        listeners: Called with every event. The trainer itself prints nothing.

    Example:
        >>> import tempfile
        >>> from torch import nn
        >>> from convscope import data
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Trainer(TrainConfig(epochs=5)).fit(net, data.load("digits"), out=f"{folder}/run")
        ...     accuracy = run.history.of("epoch")[-1].values["test_accuracy"]
        >>> accuracy > 0.9
        True
    """

    def __init__(
        self,
        config: TrainConfig | None = None,
        *,
        objective: Objective | None = None,
        listeners: Iterable[Listener] = (),
    ) -> None:
        self.config = config or TrainConfig()
        self.objective = objective
        self.listeners = tuple(listeners)

    def fit(
        self,
        model: nn.Module,
        dataset: Dataset,
        *,
        out: Path | str | None = None,
        overwrite: bool = False,
        command: str | None = None,
    ) -> Run:
        """Train from the first step and leave a run folder.

        PyTorch's global generator is seeded with ``config.seed`` and left where the training leaves it; Python's and
        NumPy's are seeded too, and given back as they were. The model is moved to the device, trained in place, and
        left in eval mode with the weights that were kept. Under ``torchrun`` every process calls this with the
        same arguments, and the first of them writes.

        Args:
            model: Maps ``(N, C, H, W)`` to ``(N, classes)``; lazy layers get their shapes from two images.
            dataset: What to learn from and to be judged by.
            out: The run folder; None takes the next free ``runs/MODEL-DATA-NUMBER``.
            overwrite: Whether a run that is there may be replaced.
            command: The words that repeat this, written into ``environment.json``.

        Returns:
            The finished run.

        Raises:
            ValueError: Settings, images and model do not fit each other.
            RunError: The folder is taken or cannot be written, or another process of the run was lost.
            TrainingDiverged: A loss was NaN or infinite; the last good weights are kept.
            TrainingInterrupted: Stopped by Ctrl-C; ``resume`` goes on.
        """
        see_shapes(model, dataset, self.config)
        config = describe(model, dataset, self.config)
        with process_kept(), lent_generators(), join() as world:
            seed_generators(self.config.seed)
            parts = assemble(
                self.config, model, dataset, objective=self.objective, world=world, emit=self._voice(world)
            )
            folder = Path(world.tell(str(self._folder(out, model, dataset)) if world.main else ""))
            with claim(folder, overwrite=overwrite) if world.main else nullcontext():
                loop = Loop(Run.draft(folder, config), parts)
                if world.main:
                    loop.folder.write_beginning({**self._here(parts), "command": command})
                loop.begin()  # before the folder is a run: whoever goes on finds the weights that it began with
                if world.main:
                    loop.folder.write_config()
                world.tell("made")  # from here on the folder is a run
                return self._train(loop)

    @classmethod
    def resume(
        cls,
        path: Path | str,
        model: nn.Module,
        dataset: Dataset,
        *,
        config: TrainConfig | None = None,
        force: bool = False,
        objective: Objective | None = None,
        listeners: Iterable[Listener] = (),
    ) -> Run:
        """Go on where a run stopped; with its own settings the result is what it would have been without the stop.

        Args:
            path: The run folder.
            model: The same network; its weights are replaced.
            dataset: The same images.
            config: Other settings from here on; None keeps the run's own.
            force: Go on although settings, images or network differ from those that the run began with.
            objective: The same task; classification unless told otherwise.
            listeners: Called with every event.

        Raises:
            RunError: The run cannot go on, has nothing left to train, or differs from what is given; the differences
                are listed.
        """
        run = Run.open(path)
        trainer = cls(config or run.train_config, objective=objective, listeners=listeners)
        see_shapes(model, dataset, trainer.config)
        now = describe(model, dataset, trainer.config)
        with process_kept(), lent_generators(), join() as world, locked(run.path) if world.main else nullcontext():
            emit = trainer._voice(world)
            with world.together():  # and nobody changes what another one still reads
                history, changed = run.history, differences(run.config, now)
                if history.of("end") and not changed:
                    raise _complete(run, run.train_config)
                saved = run.checkpoints.newest(lambda warning: emit(Noted(warning)))
                saved = replace(saved, config=saved.config or dict(run.config))
                changed += changed_step(saved, trainer.config, world.size)
                if changed and not force:
                    listed = "".join(f"\n  {line}" for line in changed)
                    raise RunError(f"{run.path} was begun with other words; --force goes on all the same:{listed}")
                before = precedent(run, trainer.config.execution, same_work=same_work(run.config, now))
            seed_generators(trainer.config.seed)
            if changed:
                emit(Noted(f"going on by other words: {'; '.join(changed)}"))
            if before.note:
                emit(Noted(before.note))
            settings = replace(trainer.config, execution=before.execution)
            parts = assemble(settings, model, dataset, objective=objective, world=world, emit=emit, resumed=before.plan)
            loop = Loop(run.having(now), parts)
            with world.together():
                loop.restore(saved, history)
                if history.of("end") and loop.complete:
                    raise _complete(run, trainer.config)
            if world.main:
                run.rewrite_history(loop.history)
                run.note_sitting({**trainer._here(parts), "changed": [*changed, *filter(None, [before.note])]})
                loop.folder.write_config()
            return trainer._train(loop)

    def find_lr(
        self, model: nn.Module, dataset: Dataset, *, progress: Callable[[int, int], None] | None = None
    ) -> LrRange:
        """Train a copy of the model while the learning rate rises, and see where the loss falls; nothing is written.

        The program that asks goes on as if nothing had been: its generators, threads and kernels are those of before.

        Args:
            model: Stays where it is and as it is, but for lazy layers, which get their shapes.
            dataset: What to learn from.
            progress: Called with steps done and steps in all.

        Raises:
            ValueError: Settings, images and model do not fit each other.
        """
        see_shapes(model, dataset, self.config)
        settings, copied = self.config, copy.deepcopy(model)
        with process_kept(), untouched_process(find_device(settings.execution.device)):
            seed_generators(settings.seed)
            parts = assemble(settings, copied, dataset, objective=self.objective, world=ALONE, emit=_silent)
            return find_lr(copied, parts.train, parts.objective, settings.optimizer, way=parts.plan, progress=progress)

    def _folder(self, out: Path | str | None, model: nn.Module, dataset: Dataset) -> Path:
        return Path(out) if out is not None else next_free(Path("runs"), f"{model_name(model)}-{dataset.name}")

    def _here(self, parts: Parts) -> dict[str, Any]:
        """Where and how a sitting is executed, and what was asked for."""
        return {**environment(parts.plan, command=None), "asked": asdict(self.config.execution), "job": parts.world.job}

    def _voice(self, world: World) -> Listener:
        """One process speaks for all."""
        return self._emit if world.main else _silent

    def _train(self, loop: Loop) -> Run:
        parts = loop.parts
        parts.emit(
            Started(
                title=loop.folder.title,
                folder=loop.folder.path,
                plan=str(parts.plan) + (f", {parts.world.size} processes" if parts.world.size > 1 else ""),
                epochs=parts.epochs,
                steps=loop.total_steps,
                batch_size=self.config.batch_size * self.config.optimizer.accumulate * parts.world.size,
                step=loop.step,
                epoch=loop.epoch,
                history=loop.history,
            )
        )
        with graceful_stop() as stop:
            loop.run(stop)
        return loop.folder

    def _emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)


def _silent(event: Event) -> None:
    """Hear an event and say nothing."""


def _complete(run: Run, config: TrainConfig) -> RunError:
    """What to say of a run that has ended and, by these settings, is not to go further."""
    done, more = run.history.of("end")[-1].epoch, "more --epochs"
    if config.saving.patience and done < config.epochs_begun:
        more = "a larger --patience (0 never stops early)"
    return RunError(
        f"{run.path} is complete: nothing is left to train; go further with {more} and --force, or start a new run "
        "with another --out"
    )
