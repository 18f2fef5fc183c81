"""The book's batches and steps in the form that our loop takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.d2l.keeping import give_back, give_back_loose, state_of
from convscope.train import Outcome

if TYPE_CHECKING:
    from convscope.d2l.trainer import Trainer

NAMES = {"acc": "accuracy"}
"""What the engine calls what the book plots."""
_NO_INPUTS = torch.empty(0)
_END = object()


@dataclass
class Rest:
    """A whole batch, travelling where the loop has its targets.

    Args:
        batch: As the program's loader gave it.
        images: How many there are.
    """

    batch: Any
    images: int

    def __len__(self) -> int:
        return self.images

    @property
    def inputs(self) -> Tensor:
        """The first part, if it is a tensor."""
        first = self.batch[0] if isinstance(self.batch, (list, tuple)) and self.batch else None
        return first if isinstance(first, Tensor) else _NO_INPUTS

    def having(self, inputs: Tensor) -> Any:
        """The batch with other inputs, which may be on another device by now."""
        own = self.inputs
        if own is _NO_INPUTS or inputs is own:
            return self.batch
        return [inputs, *self.batch[1:]]

    def __getitem__(self, rows: slice) -> Rest:
        """The same rows of every part.

        Raises:
            TypeError: A part is no tensor with a row for each image.
        """
        parts = list(_parts(self.batch))
        if not all(isinstance(part, Tensor) and part.ndim and len(part) == self.images for part in parts):
            raise TypeError("expected a batch of tensors with a row for each image")
        return Rest([part[rows] for part in parts], len(range(self.images)[rows]))

    def to(self, device: torch.device | str) -> Rest:
        """The same; the trainer's ``prepare_batch`` moves what has to be moved."""
        return self


class Stream:
    """Any iterable of batches, passed over once in each epoch.

    Args:
        source: Has ``len``; each ``iter`` begins a new pass.
        trainer: Is told the number of each epoch.
        device: Where the model is.
        learning: Whether these are the training batches.
    """

    def __init__(self, source: Any, trainer: Trainer, device: torch.device, *, learning: bool) -> None:
        self.batch_size = getattr(source, "batch_size", None) or 1
        self.device = device
        self._source, self._trainer, self._learning = source, trainer, learning
        self._first = trainer.epoch
        self._iterator: Iterator[Any] = iter(())
        self._ahead: Any = None

    def __len__(self) -> int:
        """The number of batches in an epoch, as the source says."""
        return len(self._source)

    def images_in(self, batch: int) -> int:
        """How many images the next batch has: it is read, and kept until it is drawn."""
        if self._ahead is None:
            self._ahead = _next(self._iterator)
        return 0 if self._ahead is _END else _images(self._ahead)

    def batches(self, epoch: int = 0, *, start: int = 0) -> Iterator[tuple[Tensor, Rest]]:
        """A new pass over the source.

        Raises:
            ValueError: The source has more or fewer batches than it says.
        """
        if self._learning:
            self._trainer.epoch = self._first + epoch
        with torch.inference_mode(False):  # what a data set keeps for later must not be bound to evaluation
            self._iterator = iter(self._source)
        self._ahead = None
        return self._pass(start)

    def _pass(self, start: int) -> Iterator[tuple[Tensor, Rest]]:
        for number in range(len(self)):
            images = self.images_in(number)
            batch, self._ahead = self._ahead, None
            if batch is _END:
                raise ValueError(
                    f"the loader {type(self._source).__name__} has a length of {len(self)} and ended after {number} "
                    "batches; expected len(loader) batches in each pass"
                )
            if number + 1 == len(self) and _next(self._iterator) is not _END:
                raise ValueError(
                    f"the loader {type(self._source).__name__} has a length of {len(self)} and more batches than that; "
                    "expected len(loader) batches in each pass"
                )
            if number >= start:
                rest = Rest(batch, images)
                yield rest.inputs, rest


def _next(iterator: Iterator[Any]) -> Any:
    with torch.inference_mode(False):
        return next(iterator, _END)


def _images(batch: Any) -> int:
    """How many images, sentences or rows a batch has."""
    first = next((part for part in _parts(batch) if isinstance(part, Tensor) and part.ndim), None)
    return len(first) if first is not None else 1


def _parts(batch: Any) -> Iterable[Any]:
    return batch if isinstance(batch, (list, tuple)) else [batch]


class BookObjective:
    """Calls the model's own training and validation step; the loop knows no more of the task.

    Args:
        trainer: Prepares batches, and has been told what the model plotted.
        trial: Whether this is only to find out how fast the model can be, so that nothing is shown.
    """

    def __init__(self, trainer: Trainer, *, trial: bool = False) -> None:
        self.trainer, self.trial = trainer, trial
        self._kept: dict[str, Any] | None = None  # what the last checkpoint was told

    def check(self, model: nn.Module, inputs: Tensor, classes: int) -> None:
        """Whatever runs is right."""

    def training(self, model: Any, inputs: Tensor, targets: Any) -> Outcome:
        """The loss that the model's ``training_step`` gives.

        Raises:
            TypeError: It gives none.
        """
        trainer = self.trainer
        if self.trial:
            model.board.display = False
        trainer._measured.clear()
        trainer._batch_images = targets.images
        loss = model.training_step(trainer.prepare_batch(targets.having(inputs)))
        if not isinstance(loss, Tensor):
            raise TypeError(
                f"{type(model).__name__}.training_step must return the loss as a tensor, got {type(loss).__name__}"
            )
        if loss.numel() == 1:
            loss = loss.reshape(())
        if not self.trial:  # here and not before, as in the book: the step may have looked at the last gradients
            trainer.optim.zero_grad()
        return Outcome(loss, self._sums({"loss": loss}, targets.images), targets.images)

    def evaluation(self, model: Any, inputs: Tensor, targets: Any) -> Outcome:
        """What the model's ``validation_step`` plots; it runs without gradients, as in the book.

        Models tell training from evaluation by ``torch.is_grad_enabled()`` and bind tensors anew in either, so it is
        not PyTorch's inference mode, whose tensors cannot be learned from later.
        """
        trainer = self.trainer
        trainer._measured.clear()
        trainer._batch_images = targets.images
        with torch.inference_mode(False), torch.no_grad():
            model.validation_step(trainer.prepare_batch(targets.having(inputs)))
        trainer.val_batch_idx += 1
        sums = self._sums({}, targets.images)
        return Outcome(sums.get("loss", torch.zeros(())), sums, targets.images)

    def state_dict(self) -> dict[str, Any]:
        """What goes into a checkpoint, so that the program goes on where it was."""
        self._kept = state_of(self.trainer)
        return self._kept

    def put_back(self) -> None:
        """Give layers the tensors that belong to the weights of the last checkpoint, which the loop has put back."""
        if self._kept is not None:
            give_back_loose(self.trainer.model, self._kept["loose"])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        give_back(self.trainer, state)

    def __deepcopy__(self, memo: dict[int, Any]) -> BookObjective:
        """Itself: what it knows is the trainer's, and there is one."""
        return self

    def _sums(self, known: dict[str, Tensor], images: int) -> dict[str, Tensor]:
        """What was plotted, times the images it is a mean of."""
        plotted = {key: value for key, value in self.trainer._measured.items() if _is_number(value)}
        return {NAMES.get(key, key): value.detach() * images for key, value in {**plotted, **known}.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and value.ndim == 0
