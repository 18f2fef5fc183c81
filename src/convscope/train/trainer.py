"""From a network and images to a run folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from convscope.data import Dataset, ImageSet, Loader, Preprocess, fingerprint, hold_out
from convscope.errors import RunError
from convscope.train.checkpoint import Checkpoint
from convscope.train.config import TrainConfig
from convscope.train.events import Event, History, Listener, Started
from convscope.train.folder import claim, locked, next_free
from convscope.train.interrupt import graceful_stop
from convscope.train.loop import Loop, Parts
from convscope.train.objective import Classification, Objective
from convscope.train.optim import build_optimizer
from convscope.train.plan import Plan, environment, make_plan
from convscope.train.run import Run

EVALUATION_BATCH = 500  # images; nothing is kept for a gradient, so it may exceed the training batch


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
        self.objective = objective or Classification(self.config.label_smoothing)
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

        PyTorch's global generator is seeded with ``config.seed``. The model is moved to the device, trained in place,
        and left in eval mode with the weights that were kept.

        Args:
            model: Maps ``(N, C, H, W)`` to ``(N, classes)``.
            dataset: What to learn from and to be judged by.
            out: The run folder; None takes the next free ``runs/MODEL-DATA-NUMBER``.
            overwrite: Whether a run that is there may be replaced.
            command: The words that repeat this, written into ``environment.json``.

        Returns:
            The finished run.

        Raises:
            ValueError: Settings, images and model do not fit each other.
            RunError: The folder is taken or cannot be written.
            TrainingDiverged: A loss was NaN or infinite; the last good weights are kept.
            TrainingInterrupted: Stopped by Ctrl-C; ``resume`` goes on.
        """
        torch.manual_seed(self.config.seed)
        plan = make_plan(self.config.execution)
        parts = self._parts(model, dataset, plan)
        folder = Path(out) if out is not None else next_free(Path("runs"), f"{_model_name(model)}-{dataset.name}")
        config = {
            "model": _describe_model(model),
            "data": _describe_data(dataset),
            "input": self._preprocess(dataset).to_dict(),
            "train": self.config.to_dict(),
        }
        with claim(folder, overwrite=overwrite):
            return self._train(Loop(Run.create(folder, config, environment(plan, command=command)), parts), plan)

    @classmethod
    def resume(
        cls,
        path: Path | str,
        model: nn.Module,
        dataset: Dataset,
        *,
        objective: Objective | None = None,
        listeners: Iterable[Listener] = (),
    ) -> Run:
        """Go on where a run stopped, with its own settings; the result is what it would have been without the stop.

        Args:
            path: The run folder.
            model: The same network; its weights are replaced.
            dataset: The same images.
            objective: The same task; classification unless told otherwise.
            listeners: Called with every event.

        Raises:
            RunError: The run cannot go on, is complete, or was trained on other images.
        """
        run = Run.open(path)
        with locked(run.path):
            history = run.history
            if history.of("end"):
                raise RunError(f"{run.path} is complete: nothing is left to train; start a new run with another --out")
            if fingerprint(dataset) != run.config["data"]["fingerprint"]:
                raise RunError(
                    f"{run.path} was trained on other images than {dataset.name!r} holds now; start a new run"
                )
            saved = Checkpoint.load(run.path / "checkpoint")
            trainer = cls(run.train_config, objective=objective, listeners=listeners)
            plan = make_plan(trainer.config.execution)
            loop = Loop(run, trainer._parts(model, dataset, plan))
            loop.restore(saved, history)
            run.note_sitting(environment(plan, command=None))
            return trainer._train(loop, plan)

    def _preprocess(self, dataset: Dataset) -> Preprocess:
        return Preprocess.of(dataset, image_size=self.config.image_size, normalize=self.config.normalize)

    def _parts(self, model: nn.Module, dataset: Dataset, plan: Plan) -> Parts:
        """Everything that a loop works with, checked; nothing is written yet."""
        config, device = self.config, torch.device(plan.device)
        learn, held = dataset.train, dataset.test
        if config.val_fraction:
            learn, held = hold_out(dataset.train, config.val_fraction, config.seed)
        if config.batch_size > len(learn):
            raise ValueError(
                f"--batch-size {config.batch_size} is more than the {len(learn):,} training images; "
                f"expected 1 to {len(learn)}"
            )
        if len(learn) % config.batch_size == 1 and any(isinstance(m, _BatchNorm) for m in model.modules()):
            raise ValueError(
                f"--batch-size {config.batch_size} leaves one image alone in the last batch of an epoch, which batch "
                f"norm cannot normalise; try --batch-size {config.batch_size - 1}"
            )
        preprocess = self._preprocess(dataset)

        def loader(images: ImageSet, batch_size: int, shuffle_seed: int | None = None) -> Loader:
            return Loader(images, preprocess, batch_size=batch_size, device=device, shuffle_seed=shuffle_seed)

        test = loader(dataset.test, max(EVALUATION_BATCH, config.batch_size))
        model.to(device)
        model.eval()  # two images are looked at, and nothing may be learned from them
        self.objective.check(model, preprocess(dataset.test.images[:2].to(device)), len(dataset.classes))
        return Parts(
            config=config,
            model=model,
            objective=self.objective,
            optimizer=build_optimizer(model, config.optimizer),
            train=loader(learn, config.batch_size, config.seed),
            held=loader(held, max(EVALUATION_BATCH, config.batch_size)) if config.val_fraction else test,
            test=test,
            device=device,
            emit=self._emit,
        )

    def _train(self, loop: Loop, plan: Plan) -> Run:
        self._emit(
            Started(
                title=loop.folder.title,
                folder=loop.folder.path,
                plan=str(plan),
                epochs=self.config.epochs,
                steps_per_epoch=len(loop.parts.train),
                batch_size=self.config.batch_size,
                step=loop.step,
                history=History(tuple(loop.rows)),
            )
        )
        with graceful_stop() as stop:
            loop.run(stop)
        return loop.folder

    def _emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)


def _model_name(model: nn.Module) -> str:
    spec = getattr(model, "spec", None)
    return spec.name if spec is not None else type(model).__name__.lower()


def _describe_model(model: nn.Module) -> dict[str, Any]:
    """How to make the network again, when it says so itself, and what it is otherwise."""
    spec = getattr(model, "spec", None)
    parameters = sum(p.numel() for p in model.parameters())
    described: dict[str, Any] = {
        "class": f"{type(model).__module__}:{type(model).__qualname__}",
        "parameters": parameters,
    }
    if spec is not None:
        described |= {"name": spec.name, "arguments": dict(spec.arguments)}
    return described


def _describe_data(dataset: Dataset) -> dict[str, Any]:
    """What was learned from, how to load it again, and how to notice that it changed."""
    return {
        "name": dataset.name,
        "source": dict(dataset.source),
        "classes": list(dataset.classes),
        "image_size": list(dataset.image_size),
        "train_images": len(dataset.train),
        "test_images": len(dataset.test),
        "fingerprint": fingerprint(dataset),
    }
