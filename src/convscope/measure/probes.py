"""What can be read off each layer: a linear classifier's accuracy, and how many directions its features use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.data import ImageSet, Preprocess
from convscope.measure.features import collect
from convscope.measure.intervals import Share
from convscope.measure.undisturbed import batches

PIXELS = "pixels"  # what the row of the baseline is called
STRENGTHS = tuple(10.0**power for power in range(-1, 6))  # of the ridge penalty, per standardised feature


@dataclass(frozen=True)
class Probe:
    """What is in a layer.

    Args:
        layer: Its path, or ``"pixels"`` for the images themselves.
        accuracy: Test images that a linear classifier on this layer calls what they are.
        effective_rank: Directions that the features of the training images use; see ``effective_rank``.
        features: Numbers that the probe saw of each image.
        pooled: Whether feature maps were averaged over neighbouring positions to get no more than that.
    """

    layer: str
    accuracy: Share
    effective_rank: float
    features: int
    pooled: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "accuracy": self.accuracy.to_dict()}


def effective_rank(features: Tensor) -> float:
    """How many directions features spread over: the exponential of the entropy of their singular values.

    Singular values are those of the features minus their mean, divided by their sum. Equal ones give their number; one
    that outweighs all others gives 1.

    Args:
        features: ``(N, ...)``, flattened to ``(N, D)``.

    Returns:
        From 1 to ``min(N - 1, D)``; 0 when all rows are equal.

    Raises:
        ValueError: Fewer than two rows, or numbers that are not finite.

    Example:
        >>> square = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
        >>> round(effective_rank(square), 6), round(effective_rank(square * torch.tensor([1.0, 0])), 6)
        (2.0, 1.0)

    Source:
        Roy and Vetterli, "The effective rank: a measure of effective dimensionality", 2007.
    """
    if len(features) < 2 or not bool(features.isfinite().all()):
        raise ValueError(f"expected finite features of at least two images, got {tuple(features.shape)}")
    x = features.double().flatten(1)
    x = x - x.mean(0)
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x  # its eigenvalues are the squares of the singular values
    squares = torch.linalg.eigvalsh(gram).clamp_min(0)
    largest = float(squares.max())
    scale = float(features.double().abs().max()) ** 2 * features.numel()
    if largest <= 1e-24 * scale or largest == 0:  # nothing but rounding is left of constant features
        return 0.0
    squares[squares < largest * len(squares) * torch.finfo(torch.float64).eps] = 0  # rounding of the eigenvalues
    weights = squares.sqrt() / squares.sqrt().sum()
    return math.exp(float(torch.special.entr(weights).sum()))


def linear_probes(
    model: nn.Module,
    train: ImageSet,
    test: ImageSet,
    preprocess: Preprocess,
    layers: Sequence[str] | None = None,
    *,
    most_features: int = 2048,
    batch_size: int = 256,
) -> tuple[Probe, ...]:
    """Train a linear classifier on what each layer gives, and see how well it does.

    The classifier is a ridge regression on standardised features; its penalty is chosen by leave-one-out error on
    ``train``. Feature maps of more than ``most_features`` numbers are averaged over neighbouring positions first. The
    first row is the baseline: the same classifier on the pixels that the network sees.

    Args:
        model: Used where it is, in eval mode, and left as it was.
        train: What probes learn from; one or two thousand images are plenty.
        test: What they are judged by.
        preprocess: What the model was trained with.
        layers: Paths of modules; None takes every leaf, without those that only repeat the layer before.
        most_features: Numbers for each image that a probe may see.
        batch_size: Images at a time.

    Returns:
        The pixels, then the layers in the order in which they run.

    Raises:
        ValueError: Other classes in ``test``, fewer than two classes in ``train``, an unknown layer, or features that
            are not finite.

    Source:
        Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016.
    """
    if train.classes != test.classes:
        raise ValueError("the images to learn from and the images to judge by have different classes")
    if sum(count > 0 for count in train.counts()) < 2:
        raise ValueError("a probe needs training images of at least two classes")
    seen = [torch.cat(list(batches(s.images, preprocess, batch_size=batch_size))) for s in (train, test)]
    full: dict[str, int] = {}
    features = [_features(model, x, layers, most_features, batch_size, full) for x in seen]
    probes, before = [], torch.empty(0)
    for layer, learned in features[0].items():
        if layers is None and torch.equal(learned, before):  # nn.Flatten, nn.Dropout in eval mode, nn.Identity
            continue
        before = learned
        if not bool(learned.isfinite().all()):
            raise ValueError(f"layer {layer!r} gives NaN or infinity, so nothing can be read off it")
        classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=STRENGTHS))
        classifier.fit(learned.double().numpy(), train.labels.numpy())
        said = torch.from_numpy(classifier.predict(features[1][layer].double().numpy()))
        right = Share(int((said == test.labels).sum()), len(test))
        count = learned.shape[1]
        probes.append(Probe(layer, right, effective_rank(learned), count, full[layer] > count))
    return tuple(probes)


def _features(
    model: nn.Module, x: Tensor, layers: Sequence[str] | None, most: int, batch_size: int, full: dict[str, int]
) -> dict[str, Tensor]:
    """``{layer: (N, D)}``, pixels first; ``full`` is told how many numbers each layer gives unpooled."""
    sizes: list[int] = []

    def reduce(value: Tensor) -> Tensor:
        sizes.append(value[0].numel())
        return _at_most(value, most)

    found = {PIXELS: _at_most(x, most)}
    full[PIXELS] = x[0].numel()
    found |= collect(model, x, layers, batch_size=batch_size, reduce=reduce)
    full.update(zip(list(found)[1:], sizes, strict=False))  # every batch runs the layers in the same order
    return found


def _at_most(value: Tensor, most: int) -> Tensor:
    """``(N, D)`` with ``D`` no more than ``most`` where averaging over positions can reach it."""
    if value.ndim == 4 and value[0].numel() > most:
        channels, height, width = value.shape[1:]
        shrink = math.sqrt(most / (channels * height * width))
        size = max(1, int(height * shrink)), max(1, int(width * shrink))
        value = F.adaptive_avg_pool2d(value, size)
    return value.flatten(1)
