"""What the loop needs to know of a task."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

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


@runtime_checkable
class Stateful(Protocol):
    """An objective with a state of its own (an ``nn.Module``, say): checkpoints take it along.

    The state holds tensors, numbers, texts, and lists and dictionaries of them: nothing else is ever loaded.
    """

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """The inverse of ``state_dict``."""


class Classification:
    """Cross-entropy and accuracy for a model that maps ``(N, C, H, W)`` to scores ``(N, K)``, one for each class.

    Targets are labels ``(N,)`` int64 or, where images were mixed, shares of the classes ``(N, K)`` that add up to 1;
    an image counts as right when the heaviest class has the highest score. The loss is computed in float32 also when
    the scores come in half precision.

    Smoothing and weights shape what is learned. Evaluation leaves both out, so that its loss means the same in every
    run: nats per image, all images alike.

    Args:
        label_smoothing: Share of the target spread evenly over all classes, in training only.
        class_weights: ``(K,)``, factors on the loss of each class, in training only. The loss is divided by the number
            of images and not, as PyTorch does, by the sum of their weights: so it stays a mean over images, and the
            gradient of a batch is that of its parts, on one machine or several.

    Raises:
        ValueError: ``class_weights`` is no vector of finite numbers, or has negative ones, or only zeros.

    Source:
        Szegedy et al., "Rethinking the Inception architecture", 2016, section 7 (label smoothing).
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> None:
        if class_weights is not None:
            weights = class_weights.detach()
            if weights.ndim != 1 or not (torch.isfinite(weights).all() and weights.min() >= 0 and weights.any()):
                raise ValueError(
                    f"expected one class weight for each class, at least 0 and not all 0, got {weights.tolist()}"
                )
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights

    def check(self, model: nn.Module, inputs: Tensor, classes: int) -> None:
        """Run two images through and compare the shape of what comes out.

        Raises:
            ValueError: The model gives something else than ``(N, classes)`` finite numbers, or there are more or fewer
                class weights than classes.
        """
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(f"expected {classes} class weights, one for each class, got {len(self.class_weights)}")
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
        """Smoothed and weighted cross-entropy, averaged over the images."""
        scores = _at_least_float32(model(inputs))
        if self.class_weights is None:
            loss = F.cross_entropy(scores, targets, label_smoothing=self.label_smoothing)
        else:
            self.class_weights = weights = self.class_weights.to(scores)  # moves once
            loss = F.cross_entropy(scores, targets, weights, label_smoothing=self.label_smoothing, reduction="sum")
            loss = loss / len(targets)
        return _outcome(loss, scores, targets)

    def evaluation(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Outcome:
        """Plain cross-entropy, averaged over the images."""
        scores = _at_least_float32(model(inputs))
        return _outcome(F.cross_entropy(scores, targets), scores, targets)


def _at_least_float32(scores: Tensor) -> Tensor:
    return scores.float() if scores.dtype in (torch.bfloat16, torch.float16) else scores


def _outcome(loss: Tensor, scores: Tensor, targets: Tensor) -> Outcome:
    """The sums of a batch; ``loss`` is the mean over its images."""
    labels = targets.argmax(1) if targets.is_floating_point() else targets  # of (N, K) shares, the heaviest
    correct = (scores.detach().argmax(1) == labels).sum()
    return Outcome(loss, {"loss": loss.detach() * len(targets), "accuracy": correct}, len(targets))
