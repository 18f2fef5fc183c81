"""How well a classifier does on a set of images, in total and class by class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.data import ImageSet, Loader, Preprocess
from convscope.measure.identity import Prints
from convscope.measure.intervals import Share
from convscope.measure.reliability import Calibration, binned
from convscope.measure.undisturbed import check_images, scores, undisturbed

ROWS = 4096  # images whose scores are in double precision at a time


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
        scores: ``(N, K)`` float32, whose softmax the probabilities are; see ``of_scores``. They tell apart what
            probabilities round to 0 or 1, so that loss and order are exact. None where only probabilities are known.
        prints: Of the images, so that ``compare`` notices others; None where nobody took them.

    Example:
        >>> said = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> result = Evaluation(said, torch.tensor([0, 1, 1]), ("cat", "dog"))
        >>> round(result.accuracy, 3), result.confusion.tolist(), result.mistakes(1)[0].said
        (0.667, [[1, 0], [1, 1]], 'cat')
    """

    probabilities: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    scores: Tensor | None = None
    prints: Prints | None = None

    @classmethod
    def of_scores(
        cls, scores: Tensor, labels: Tensor, classes: tuple[str, ...], *, prints: Prints | None = None
    ) -> Evaluation:
        """From what the network gives, ``(N, K)`` before softmax.

        Example:
            >>> Evaluation.of_scores(torch.tensor([[1000.0, -1000.0]]), torch.tensor([1]), ("cat", "dog")).loss
            2000.0
        """
        return cls(scores.softmax(1), labels, classes, scores, prints)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    @cached_property
    def predictions(self) -> Tensor:
        """``(N,)`` int64, the class with the highest probability."""
        return self._ranked.argmax(1)

    @property
    def _ranked(self) -> Tensor:
        """``(N, K)``: what orders the classes of an image, as finely as it is known."""
        return self.probabilities if self.scores is None else self.scores

    @cached_property
    def confidence(self) -> Tensor:
        """``(N,)`` float64, the probability of the class that each image was called."""
        if self.scores is None:
            return self.probabilities.double().amax(1)
        return torch.cat([part.double().softmax(1).amax(1) for part in torch.split(self.scores, ROWS)])

    @cached_property
    def accuracy(self) -> float:
        """Share of images called what they are."""
        return int((self.predictions == self.labels).sum()) / len(self)

    @property
    def share_right(self) -> Share:
        """The accuracy as a count, with Wilson's interval for new images of the same kind."""
        return self.top_k(1)

    def top_k(self, k: int) -> Share:
        """Images whose true class is among the ``k`` most probable ones; of equal ones the first declared leads.

        Raises:
            ValueError: ``k`` is not in 1 to the number of classes.

        Example:
            >>> said = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
            >>> result = Evaluation(said, torch.tensor([1, 2]), ("cat", "dog", "emu"))
            >>> result.top_k(1).value, result.top_k(2).value, result.top_k(3).value
            (0.0, 0.5, 1.0)
        """
        if not 1 <= k <= len(self.classes):
            raise ValueError(f"top-k must be 1 to {len(self.classes)}, the number of classes; got {k}")
        if k == 1:
            return Share(int((self.predictions == self.labels).sum()), len(self))
        ranked = self._ranked
        own = ranked.gather(1, self.labels[:, None])  # N,1
        earlier = torch.arange(len(self.classes)) < self.labels[:, None]  # N,K
        ahead = (ranked > own) | ((ranked == own) & earlier)
        return Share(int((ahead.sum(1) < k).sum()), len(self))

    def calibration(self, *, bins: int = 15) -> Calibration:
        """How confidence and accuracy compare; see ``measure.calibration``."""
        return binned(self.confidence, self.predictions == self.labels, bins=bins)

    @cached_property
    def loss(self) -> float:
        """Mean cross-entropy in nats.

        Of probabilities without scores, one that was rounded to 0 counts as the smallest float32: 87 nats at most.
        """
        if self.scores is not None:
            parts = zip(torch.split(self.scores, ROWS), torch.split(self.labels, ROWS), strict=True)
            return sum(float(F.cross_entropy(s.double(), y, reduction="sum")) for s, y in parts) / len(self)
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
        wrong = (self.predictions != self.labels).nonzero().squeeze(1)
        worst = wrong[self._doubt(wrong).argsort(stable=True)][:most]
        return tuple(
            Mistake(
                int(i),
                self.classes[int(self.labels[i])],
                self.classes[int(self.predictions[i])],
                float(self.confidence[i]),
            )
            for i in worst
        )

    def _doubt(self, index: Tensor) -> Tensor:
        """``(M,)``: the log of what is left of the confidence up to 1, which still differs where 1 is all one sees."""
        if self.scores is None:
            return torch.log1p(-self.confidence[index])
        values = self.scores[index].double()
        others = values.scatter(1, self.predictions[index, None], -torch.inf)
        return others.logsumexp(1) - values.logsumexp(1)

    def to_dict(self, *, top_k: int | None = None) -> dict[str, Any]:
        """Plain values, ``accuracy`` first, for ``--json``; with the share of ``top_k`` when it is given."""
        return {
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.share_right.interval),
            **({} if top_k is None else {"top_k": {"k": top_k, **self.top_k(top_k).to_dict()}}),
            "loss": self.loss,
            "calibration": self.calibration().to_dict(),
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

    Raises:
        TypeError: The model gives something else than one tensor.
        ValueError: There are no images, or the scores are no ``(N, K)`` of finite numbers.
    """
    return _scores(model, images, preprocess, batch_size=batch_size, device=device).softmax(1)


def _scores(
    model: nn.Module, images: Tensor, preprocess: Preprocess, *, batch_size: int, device: torch.device | str
) -> Tensor:
    """``(N, K)`` float32 on the CPU; see ``predict``."""
    check_images(images)
    unlabelled = ImageSet(images, torch.zeros(len(images), dtype=torch.int64), ("",))
    loader = Loader(unlabelled, preprocess, batch_size=batch_size, device=device)
    # Not inference_mode: whatever a module keeps of its activations could take no part in training afterwards.
    with undisturbed(model.to(device)), torch.no_grad():
        return torch.cat([scores(model, inputs).cpu() for inputs, _ in loader.batches()])


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
    given = _scores(model, images.images, preprocess, batch_size=batch_size, device=device)
    if given.shape[1] != len(images.classes):
        raise ValueError(f"the model gives {given.shape[1]} scores and the images have {len(images.classes)} classes")
    return Evaluation.of_scores(given, images.labels, images.classes, prints=Prints.of(images.images))
