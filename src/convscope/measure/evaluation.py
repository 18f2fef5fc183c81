"""How well a classifier does on a set of images, in total and class by class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import Tensor, nn

from convscope.data import ImageSet, Loader, Preprocess


@dataclass(frozen=True)
class ClassScore:
    """How one class fares.

    Args:
        name: Of the class.
        precision: Of the images called this, the share that is; 0 when none was called this.
        recall: Of the images that are this, the share called so.
        f1: Harmonic mean of the two.
        support: Images that are this.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Mistake:
    """An image that was called something else than it is.

    Args:
        index: Its position in the image set.
        true: What it is.
        said: What it was called.
        confidence: Probability given to ``said``.
    """

    index: int
    true: str
    said: str
    confidence: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a classifier said of a set of images, and how right it was.

    Args:
        probabilities: ``(N, K)`` float32, rows sum to 1.
        labels: ``(N,)`` int64, the truth.
        classes: The ``K`` names.

    Example:
        >>> said = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> result = Evaluation(said, torch.tensor([0, 1, 1]), ("cat", "dog"))
        >>> round(result.accuracy, 3), result.confusion.tolist(), result.mistakes(1)[0].said
        (0.667, [[1, 0], [1, 1]], 'cat')
    """

    probabilities: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    @cached_property
    def predictions(self) -> Tensor:
        """``(N,)`` int64, the class with the highest probability."""
        return self.probabilities.argmax(1)

    @cached_property
    def accuracy(self) -> float:
        """Share of images called what they are."""
        return int((self.predictions == self.labels).sum()) / len(self)

    @cached_property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        chosen = self.probabilities.gather(1, self.labels[:, None]).double()
        return float(-chosen.clamp_min(torch.finfo(torch.float32).tiny).log().mean())

    @cached_property
    def confusion(self) -> Tensor:
        """``(K, K)`` int64: row is what an image is, column is what it was called."""
        counts = confusion_matrix(self.labels.numpy(), self.predictions.numpy(), labels=range(len(self.classes)))
        return torch.from_numpy(counts)

    @cached_property
    def per_class(self) -> tuple[ClassScore, ...]:
        """Precision, recall and F1 of every class, by scikit-learn; a class without images scores 0."""
        scores = precision_recall_fscore_support(
            self.labels.numpy(), self.predictions.numpy(), labels=range(len(self.classes)), zero_division=0
        )
        return tuple(
            ClassScore(name, float(p), float(r), float(f), int(n))
            for name, p, r, f, n in zip(self.classes, *scores, strict=True)
        )

    def mistakes(self, most: int) -> tuple[Mistake, ...]:
        """The mistakes made with the highest confidence, the worst first."""
        confidence = self.probabilities.amax(1)
        wrong = (self.predictions != self.labels).nonzero().squeeze(1)
        worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][:most]
        return tuple(
            Mistake(
                int(i), self.classes[int(self.labels[i])], self.classes[int(self.predictions[i])], float(confidence[i])
            )
            for i in worst
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ``accuracy`` first, for ``--json``."""
        return {
            "accuracy": self.accuracy,
            "loss": self.loss,
            "images": len(self),
            "classes": list(self.classes),
            "per_class": [vars(score) for score in self.per_class],
            "confusion": self.confusion.tolist(),
        }


def predict(
    model: nn.Module,
    images: Tensor,
    preprocess: Preprocess,
    *,
    batch_size: int = 500,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Class probabilities for images.

    Args:
        model: Maps ``(N, C, H, W)`` to scores ``(N, K)``; moved to ``device``. Its mode is put back afterwards.
        images: ``(N, C, h, w)`` uint8.
        preprocess: What the model was trained with.
        batch_size: Images at a time.
        device: Where to compute.

    Returns:
        ``(N, K)`` float32 on the CPU, rows sum to 1.
    """
    unlabelled = ImageSet(images, torch.zeros(len(images), dtype=torch.int64), ("",))
    loader = Loader(unlabelled, preprocess, batch_size=batch_size, device=device)
    was_training = model.training
    model.to(device).eval()
    with torch.inference_mode():
        probabilities = [model(inputs).float().softmax(1).cpu() for inputs, _ in loader.batches()]
    model.train(was_training)
    return torch.cat(probabilities)


def evaluate(
    model: nn.Module,
    images: ImageSet,
    preprocess: Preprocess,
    *,
    batch_size: int = 500,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Judge a classifier on labelled images; see ``predict`` for the arguments.

    Raises:
        ValueError: The model gives another number of scores than there are classes.
    """
    probabilities = predict(model, images.images, preprocess, batch_size=batch_size, device=device)
    if probabilities.shape[1] != len(images.classes):
        raise ValueError(
            f"the model gives {probabilities.shape[1]} scores and the images have {len(images.classes)} classes"
        )
    return Evaluation(probabilities, images.labels, images.classes)
