"""Weights of the classes in the loss, for images that are unevenly spread over them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def class_weights(counts: Sequence[int]) -> Tensor:
    """Weights in inverse proportion to the number of images: ``N / (K * count)``.

    ``N`` counts images and ``K`` the classes that have any, so the mean weight *of an image* is 1: the loss, and with
    it the right learning rate, keeps its size.

    Args:
        counts: How many training images each class has, as ``ImageSet.counts`` gives them.

    Returns:
        ``(len(counts),)`` float32; 0 for a class without images, which no image can ask for.

    Raises:
        ValueError: A count is negative, or there are no images at all.

    Example:
        >>> class_weights([30, 10, 0])
        tensor([0.6667, 2.0000, 0.0000])

    Source:
        King and Zeng, "Logistic regression in rare events data", 2001; scikit-learn's ``"balanced"``.
    """
    if any(count < 0 for count in counts) or not any(counts):
        raise ValueError(f"expected the number of images of each class, at least one above 0, got {[*counts]}")
    total, present = sum(counts), sum(count > 0 for count in counts)
    return torch.tensor([total / (present * count) if count else 0.0 for count in counts])
