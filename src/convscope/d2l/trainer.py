"""The book's trainer: its attributes, its order of calls, and our loop."""

from __future__ import annotations

from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from convscope.d2l import runs
from convscope.d2l.book import current
from convscope.d2l.hyper import HyperParameters
from convscope.d2l.limits import limits


class Asked(NamedTuple):
    """What only this trainer has, as it was given to its ``__init__``; an attribute of that name is the program's."""

    precision: str = "float32"
    out: str | Path | None = None
    resume: bool = False


class Trainer(HyperParameters):
    """Trains a ``Module`` on a ``DataModule`` with the loop that trains everything here.

    Every method may be overridden in a subclass or replaced with ``add_to_class``, and so may those of the model;
    whatever stands there is what is called, in the order in which the book calls it. Where ``fit_epoch`` is somebody
    else's, that is the loop.

    What differs from the book: no worker processes; nothing waits for an accelerator between the board's windows; and
    a loss that is NaN or infinite ends the training with a warning and the weights of the last good epoch, where the
    book goes on with NaN.

    After ``fit``, ``history`` has every epoch of it (losses, accuracies, seconds, images per second), and ``run`` the
    run folder where one was asked for.

    Args:
        max_epochs: Passes over the training batches.
        num_gpus: Accelerators to use: 0 or less is the CPU, anything else the first accelerator, or the CPU where there
            is none. More than one is never used.
        gradient_clip_val: Largest norm of the whole gradient; 0 lets every gradient through.
        precision: Of the arithmetic: ``"float32"`` is the book's, ``"auto"`` the fastest that agrees with it on a
            batch, by trying; ``"reduced"``, without trying, bfloat16 or float16 where the device computes it natively;
            ``"bfloat16"`` and ``"float16"`` are taken in any case.
        out: A run folder to leave behind, to go on with or for ``report.write(trainer.run, model, data.source)``; None
            leaves nothing on disk. Needs ``FashionMNIST`` with square images, and ``fit_epoch`` as it is here.
        resume: Go on with the run that ``out`` holds from its last complete epoch, board and all, to the same numbers
            as without the stop; begin one where there is none. A run that is complete is not trained again: its
            weights and curves are put into the model.

    Raises:
        TypeError: A number that is none.
        ValueError: A number or a precision out of range, or ``resume`` without ``out``.

    Source:
        Zhang et al., "Dive into Deep Learning", sections 3.2, 3.4, 6.7 and 9.5.
    """

    # Programs bring an __init__ of their own that knows none of these.
    gpus: list[torch.device] = []  # noqa: RUF012 - replaced and never changed
    gradient_clip_val: float = 0
    # What is ours and not the book's has an underscore: programs keep things of their own in a trainer.
    _batch_images: int = 1
    _asked: Asked = Asked()
    _run: Any = None
    _history: Any = None

    max_epochs: int
    model: Any
    optim: Any
    train_dataloader: Any
    val_dataloader: Any
    num_train_batches: int
    num_val_batches: int
    epoch: int
    train_batch_idx: int
    val_batch_idx: int

    def __init__(
        self,
        max_epochs: int,
        num_gpus: int = 0,
        gradient_clip_val: float = 0,
        *,
        precision: str = "float32",
        out: str | Path | None = None,
        resume: bool = False,
    ) -> None:
        self.save_hyperparameters(ignore=["precision", "out", "resume"])
        _check(max_epochs, num_gpus, gradient_clip_val, precision)
        if resume and out is None:
            raise ValueError("resume=True goes on with a run folder: name it, as in Trainer(..., out='runs/lenet')")
        self._asked = Asked(precision, out, resume)
        self.gpus = [current("gpu")(i) for i in range(min(num_gpus, current("num_gpus")()))]

    def __getattr__(self, name: str) -> Any:
        """``history`` and ``run`` of the last fit, unless the program keeps something of its own under these names."""
        if name in ("history", "run"):
            return getattr(self, f"_{name}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def _measured(self) -> dict[str, Any]:
        """What the step at hand has plotted, by key; the loop takes its numbers from here."""
        found: dict[str, Any] = self.__dict__.setdefault("_plotted", {})
        return found

    def prepare_data(self, data: Any) -> None:
        """Ask for the batches; without validation batches nothing is judged."""
        self.train_dataloader = data.train_dataloader()
        self.val_dataloader = data.val_dataloader()
        self.num_train_batches = len(self.train_dataloader)
        self.num_val_batches = len(self.val_dataloader) if self.val_dataloader is not None else 0

    def prepare_model(self, model: Any) -> None:
        """Let model and board know this training, and bring the model to the device, where it stays."""
        model.trainer = self
        model.board.xlim = [0, self.max_epochs]
        if self.gpus:
            model.to(self.gpus[0])
        self.model = model

    def prepare_batch(self, batch: Any) -> Any:
        """Bring a batch to the device."""
        return [part.to(self.gpus[0]) for part in batch] if self.gpus else batch

    def fit(self, model: Any, data: Any) -> None:
        """Train; afterwards the model is on the device and in eval mode. The same model again goes on with its board.

        Raises:
            ValueError: A loader whose length is not the number of its batches, or ``out`` with data that it cannot
                describe.
            RunError: The folder ``out`` is taken, cannot be written, or holds a run of another training.

        Warns:
            UserWarning: The loss was NaN or infinite and training stopped.
        """
        self.max_epochs, self._history, self._run = limits().epochs(self.max_epochs), None, None
        self.prepare_data(data)
        self.prepare_model(model)
        self.optim = model.configure_optimizers()
        self.epoch = self.train_batch_idx = self.val_batch_idx = 0
        place = self._place(data)
        try:
            if self.loop_is_ours:
                self._learn(self.max_epochs, place)
            else:
                for epoch in range(self.max_epochs):
                    self.epoch = epoch
                    self.fit_epoch()
        finally:
            settle = getattr(model.board, "_settle", None)
            if settle is not None:
                settle()

    def fit_epoch(self) -> None:
        """Train for one epoch and judge the model. ``fit`` calls this only where it has been replaced."""
        self._learn(1)

    def clip_gradients(self, grad_clip_val: float, model: nn.Module) -> None:
        """Shorten the gradient of all parameters together to a norm, where it is longer; nothing waits for the device.

        Args:
            grad_clip_val: The norm.
            model: Whose parameters.
        """
        gradients = [p.grad for p in model.parameters() if p.requires_grad and p.grad is not None]
        if not gradients:
            return
        norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))  # type: ignore[arg-type]
        factor = torch.where(norm > grad_clip_val, grad_clip_val / norm, torch.ones_like(norm))
        for gradient in gradients:
            gradient.mul_(factor)

    @property
    def loop_is_ours(self) -> bool:
        """Whether ``fit_epoch`` is the one above."""
        return getattr(self.fit_epoch, "__func__", None) is OUR_EPOCH

    def _place(self, data: Any) -> Any:
        """Where this fit is kept: in ``out``, or where whoever started the program wants it; None for nowhere."""
        asked = runs.next_folder(type(self.model).__name__)
        if self._asked.out is None and asked is None:
            return None
        from convscope.d2l.folders import place

        return place(self, data, asked)

    def _learn(self, epochs: int, place: Any = None) -> None:
        from convscope.d2l.engine import learn  # the engine is not needed to read the book's names

        if epochs and self.num_train_batches:
            learn(self, epochs, place)

    def __deepcopy__(self, memo: dict[int, Any]) -> Trainer:
        """Itself: it holds the data, and a training is not doubled by doubling a model."""
        return self


OUR_EPOCH, OUR_BATCH = Trainer.fit_epoch, Trainer.prepare_batch  # to see whether somebody else's stands there


def _check(max_epochs: Any, num_gpus: Any, gradient_clip_val: Any, precision: str) -> None:
    for name, value in (("max_epochs", max_epochs), ("num_gpus", num_gpus)):
        try:
            index(value)
        except TypeError:
            raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if max_epochs < 0:
        raise ValueError(f"max_epochs must be at least 0, got {max_epochs}")
    if not gradient_clip_val >= 0:
        raise ValueError(f"gradient_clip_val must be at least 0, got {gradient_clip_val}")
    known = ("float32", "auto", "reduced", "bfloat16", "float16")
    if precision not in known:
        raise ValueError(f"precision must be one of {', '.join(known)}, got {precision!r}")
