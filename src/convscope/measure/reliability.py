"""Whether a classifier that says 80 % is right in 80 of 100 cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Bin:
    """The images whose confidence lies above ``low`` and is at most ``high``.

    Args:
        low: Of the confidence, in 0..1.
        high: Of the confidence, in 0..1.
        count: Images in the bin.
        right: Of these, how many were called what they are.
        confidence: Their mean confidence; 0 where there are none.
    """

    low: float
    high: float
    count: int
    right: int
    confidence: float

    @property
    def accuracy(self) -> float:
        """Share called what they are; 0 where there are none."""
        return self.right / max(self.count, 1)

    @property
    def gap(self) -> float:
        """Accuracy minus confidence: negative where the classifier is too sure of itself."""
        return self.accuracy - self.confidence


@dataclass(frozen=True)
class Calibration:
    """How confidence and accuracy compare, bin by bin.

    Args:
        bins: Of equal width, from 0 to 1.
    """

    bins: tuple[Bin, ...]

    @property
    def total(self) -> int:
        """The number of images."""
        return sum(each.count for each in self.bins)

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean distance of accuracy and confidence, each bin by its images; in 0..1."""
        return sum(each.count * abs(each.gap) for each in self.bins) / self.total

    @property
    def largest_error(self) -> float:
        """The distance in the worst bin that has images."""
        return max(abs(each.gap) for each in self.bins if each.count)

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus accuracy over all images: above 0 the classifier promises too much."""
        return -sum(each.count * each.gap for each in self.bins) / self.total

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "expected_calibration_error": self.expected_error,
            "largest_error": self.largest_error,
            "overconfidence": self.overconfidence,
            "bins": [{**vars(each), "accuracy": each.accuracy} for each in self.bins],
        }


def calibration(probabilities: Tensor, labels: Tensor, *, bins: int = 15) -> Calibration:
    """Sort images by the confidence in what they were called, and count how many were called right.

    The confidence of an image is its highest probability. Bins are equally wide and include their upper end.

    Args:
        probabilities: ``(N, K)``, rows sum to 1.
        labels: ``(N,)`` int64, the truth.
        bins: How many; 15 is usual in papers.

    Raises:
        ValueError: ``bins`` is below 1, there are no images, or the shapes do not fit.

    Example:
        >>> sure = torch.tensor([[0.9, 0.1]] * 10)
        >>> result = calibration(sure, torch.tensor([0] * 7 + [1] * 3))
        >>> round(result.expected_error, 3), round(result.overconfidence, 3)
        (0.2, 0.2)

    Source:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", 2017.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            "expected probabilities (N, K) and labels (N,) of at least one image, "
            f"got {tuple(probabilities.shape)} and {tuple(labels.shape)}"
        )
    confidence, said = probabilities.double().max(1)  # -> N, N
    return binned(confidence, said == labels, bins=bins)


def binned(confidence: Tensor, right: Tensor, *, bins: int = 15) -> Calibration:
    """``calibration`` when it is known already how sure each image was called, and whether rightly.

    Args:
        confidence: ``(N,)`` float64 in 0..1.
        right: ``(N,)`` bool.
        bins: At least 1.

    Raises:
        ValueError: ``bins`` is below 1.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    edges = torch.arange(bins + 1, dtype=torch.float64) / bins
    place = torch.bucketize(confidence, edges[1:-1])  # N in 0..bins-1; a value on an edge belongs below it
    counts = torch.bincount(place, minlength=bins)
    hits = torch.bincount(place, weights=right.double(), minlength=bins)
    sums = torch.bincount(place, weights=confidence, minlength=bins)
    means = sums / counts.clamp_min(1)
    return Calibration(
        tuple(
            Bin(float(edges[i]), float(edges[i + 1]), int(counts[i]), int(hits[i]), float(means[i]))
            for i in range(bins)
        )
    )
