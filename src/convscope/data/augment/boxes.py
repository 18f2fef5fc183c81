"""Boxes in an image: of a given area, with an aspect at random."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sides(
    share: Tensor, draw: Tensor, *, aspects: tuple[float, float], image: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Height and width of boxes that have this share of the area and fit into the image.

    The logarithm of width / height is uniform over the part of its range in which the box fits. Drawing again until
    it fits, as is common, would make large boxes rarer than asked for, and take a loop.

    Args:
        share: ``(N,)`` of the image's area, in 0..1.
        draw: ``(N,)`` in 0..1, decides the aspect.
        aspects: Smallest and largest width / height, in pixels. Where none fits, the nearest that does.
        image: ``(H, W)`` in pixels.

    Returns:
        Heights and widths, ``(N,)`` each, as shares of the image's.

    Example:
        >>> height, width = sides(torch.tensor([1.0]), torch.tensor([0.3]), aspects=(0.75, 1.33), image=(28, 28))
        >>> height.item(), width.item()
        (1.0, 1.0)
    """
    square = math.log(image[0] / image[1])  # of the aspect, when both sides are shares
    widest = -share.log()  # both sides are at most 1 where |log(width / height)| is at most this
    low, high = (widest.clamp(max=math.log(aspect) + square).maximum(-widest) for aspect in aspects)
    stretch = torch.lerp(low, high, draw).mul_(0.5).exp_()
    root = share.sqrt()
    return (root / stretch).clamp_(max=1), (root * stretch).clamp_(max=1)
