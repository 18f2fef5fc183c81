"""From a run folder to answers about photographs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convscope import models
from convscope.data import Preprocess, decode
from convscope.errors import DataError, RunError
from convscope.measure import predict
from convscope.train import Run, find_device

FILES_AT_A_TIME = 256  # photographs decoded before they are shown to the network


def make_model(run: Run) -> nn.Module:
    """The network of a run, as it was before training.

    Raises:
        RunError: It was not made by ``models.create``, or this version cannot make it.
    """
    described = run.config["model"]
    if "name" not in described:
        raise RunError(
            f"{run.path} was trained with your own class {described['class']}: only Python can make one; "
            "pass it as model=..."
        )
    try:
        return models.create(described["name"], **described["arguments"])
    except (ValueError, TypeError) as error:
        raise RunError(f"{run.path / 'config.json'} names a network that cannot be made: {error}") from error


def restore_model(run: Run, *, model: nn.Module | None = None) -> nn.Module:
    """The network of a run with its trained weights, in eval mode, on the CPU.

    Args:
        run: An opened run folder.
        model: An instance to put the weights in; needed when the network was not made by ``models.create``.

    Raises:
        RunError: The weights are missing, damaged, no numbers or of another network, or the network cannot be made
            again.
    """
    model = make_model(run) if model is None else model
    run.load_weights(model)
    broken = [name for name, value in model.state_dict().items() if not bool(value.isfinite().all())]
    if broken:
        raise RunError(
            f"there is NaN or infinity in the weights {', '.join(broken[:3])} of {run.path}, so it can say nothing; "
            "train again with a lower --lr or with --clip-grad 1"
        )
    return model.eval()


@dataclass(frozen=True)
class Guess:
    """One class and the probability that the image shows it."""

    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one file.

    Args:
        file: The path as it was given.
        guesses: The most probable classes, best first; empty when the file could not be read.
        error: Why it could not be read; None when it could.
    """

    file: str
    guesses: tuple[Guess, ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``--json``."""
        return asdict(self)


class Classifier:
    """A trained network, ready for photographs: they go through exactly what the training images went through.

    Args:
        model: Maps ``(N, C, H, W)`` to scores ``(N, len(classes))``.
        preprocess: What it was trained with.
        classes: The names of its scores.
        stored_size: ``(H, W)`` that training images were stored at; photographs are first brought to it.
        device: Where to compute, ``"auto"`` for the best here.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Preprocess,
        classes: tuple[str, ...],
        *,
        stored_size: tuple[int, int],
        device: str = "auto",
    ) -> None:
        self.model = model
        self.preprocess = preprocess
        self.classes = classes
        self.stored_size = stored_size
        self.device = find_device(device)

    @classmethod
    def open(cls, path: Path | str, *, model: nn.Module | None = None, device: str = "auto") -> Classifier:
        """The classifier of a run folder.

        Raises:
            RunError: No such run, or its weights cannot be used; see ``restore_model``.
        """
        run = Run.open(path)
        height, width = run.config["data"]["image_size"]
        network = run.scorer(restore_model(run, model=model))
        return cls(network, run.preprocess, run.classes, stored_size=(height, width), device=device)

    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities ``(N, K)`` for images ``(N, C, h, w)`` uint8."""
        return predict(self.model, images, self.preprocess, device=self.device)

    def predict(self, files: Iterable[Path | str], *, top: int = 3) -> list[Prediction]:
        """What each file shows. A file that cannot be read is answered with its error; the others still are.

        Args:
            files: Photographs in any format that Pillow reads.
            top: How many guesses for each.

        Raises:
            ValueError: ``top`` is less than 1.
        """
        if top < 1:
            raise ValueError(f"--top must be at least 1, got {top}")
        top, answers = min(top, len(self.classes)), []
        paths = iter(files)
        while some := list(islice(paths, FILES_AT_A_TIME)):
            answers += self._predict_some([str(file) for file in some], top)
        return answers

    def _predict_some(self, files: list[str], top: int) -> list[Prediction]:
        images, answers = [], {}
        for file in files:
            try:
                images.append(decode(Path(file), image_size=self.stored_size, channels=self.preprocess.channels))
            except DataError as error:
                answers[file] = Prediction(file, error=str(error))
        readable = [file for file in files if file not in answers]
        probabilities = self(torch.stack(images)) if images else torch.empty(0, top)
        for file, row in zip(readable, probabilities, strict=True):
            values, indices = row.topk(top)
            guesses = (Guess(self.classes[i], p) for i, p in zip(indices.tolist(), values.tolist(), strict=True))
            answers[file] = Prediction(file, tuple(guesses))
        return [answers[file] for file in files]
