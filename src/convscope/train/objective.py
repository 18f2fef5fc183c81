"""What the loop needs to know of a task."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Outcome(NamedTuple):
    """What one batch gave.

    Args:
        loss: Scalar; in training the gradient starts here.
        sums: Scalars on the device, each summed over the images; the loop divides by their number.
        images: How many images the batch has.
    """

    loss: Tensor
    sums: dict[str, Tensor]
    images: int


class Objective(Protocol):
    """A task: how a batch is judged, in training and in evaluation.

    The loop calls nothing else, so another training step is another objective and there is one loop.
    """

    def check(self, model: nn.Module, inputs: Tensor, classes: int) -> None:
        """Refuse a model that cannot do the task, before anything is trained or written."""

    def training(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Outcome:
        """Judge a training batch; gradients flow from ``loss``."""

    def evaluation(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Outcome:
        """Judge a batch without gradients; ``sums`` must hold ``loss``."""


class Classification:
    """Cross-entropy and accuracy for a model that maps ``(N, C, H, W)`` to scores ``(N, classes)``.

    Args:
        label_smoothing: Share of the target spread evenly over all classes, in training only.

    Source:
        Szegedy et al., "Rethinking the Inception architecture", 2016, section 7 (label smoothing).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def check(self, model: nn.Module, inputs: Tensor, classes: int) -> None:
        """Run two images through and compare the shape of what comes out.

        Raises:
            ValueError: The model gives something else than ``(N, classes)`` finite numbers.
        """
        with torch.no_grad():
            scores = model(inputs)
        if not isinstance(scores, Tensor) or scores.shape != (len(inputs), classes):
            came = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(
                f"expected {type(model).__name__} to map images {tuple(inputs.shape)} to scores "
                f"({len(inputs)}, {classes}), one for each class; got {came}"
            )
        if not torch.isfinite(scores).all():
            raise ValueError(
                f"{type(model).__name__} gives NaN or infinite scores before any training; check its weights"
            )

    def training(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Outcome:
        """Smoothed cross-entropy, averaged over the batch."""
        scores = model(inputs)
        loss = F.cross_entropy(scores, targets, label_smoothing=self.label_smoothing)
        return self._outcome(loss, scores, targets)

    def evaluation(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Outcome:
        """Plain cross-entropy, averaged over the batch."""
        scores = model(inputs)
        return self._outcome(F.cross_entropy(scores, targets), scores, targets)

    @staticmethod
    def _outcome(loss: Tensor, scores: Tensor, targets: Tensor) -> Outcome:
        detached = scores.detach()
        correct = (detached.argmax(1) == targets).sum()
        return Outcome(loss, {"loss": loss.detach() * len(targets), "accuracy": correct}, len(targets))


class Meter:
    """Sums of outcomes, kept on the device; reading them is the only wait."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, outcome: Outcome) -> None:
        """Take in one batch."""
        self._add(outcome.images, outcome.sums)

    def merge(self, other: Meter) -> None:
        """Take in all that another meter took in."""
        self._add(other.count, other.sums)

    def state(self) -> dict[str, Any]:
        """Plain values and tensors, for a checkpoint."""
        return {"count": self.count, "sums": self.sums}

    @classmethod
    def of(cls, state: dict[str, Any], device: torch.device) -> Meter:
        """The inverse of ``state``."""
        meter = cls()
        meter._add(state["count"], {name: value.to(device) for name, value in state["sums"].items()})
        return meter

    def means(self, prefix: str = "") -> dict[str, float]:
        """Every sum divided by the number of images. Reading waits for the device."""
        # One by one and not stacked: counts of images are integers, and not every device has float64 to hold them.
        return {prefix + name: value.item() / self.count for name, value in self.sums.items()}

    def _add(self, count: int, sums: dict[str, Tensor]) -> None:
        self.count += count
        for name, value in sums.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
