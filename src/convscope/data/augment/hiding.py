"""Boxes that hide a part of an image: random erasing and cutout."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.data.augment.boxes import sides
from convscope.data.augment.draws import between, whole

AREAS = (0.02, 0.33)  # share of the image that erasing hides
ASPECTS = (0.3, 1 / 0.3)  # width / height of what it hides


def _inside(starts: Tensor, lengths: Tensor, side: int) -> Tensor:
    """Which places of a side lie in each image's interval: ``(N,)`` starts and lengths to ``(N, side)`` bool."""
    place = torch.arange(side, device=starts.device)
    return (place >= starts[:, None]) & (place < (starts + lengths)[:, None])


def erased(
    happens: Tensor, area: Tensor, aspect: Tensor, down: Tensor, right: Tensor, *, size: tuple[int, int]
) -> Tensor:
    """The pixels that random erasing hides, all in the image.

    Args:
        happens: ``(N,)`` bool: whether anything is hidden.
        area: ``(N,)`` draws in 0..1, as the next three, spread over 2 to 33 % of the image.
        aspect: Spread over 0.3 to 3.3, by its logarithm.
        down: Where, from the top to the bottom.
        right: Where, from the left to the right.
        size: ``(H, W)``.

    Returns:
        ``(N, 1, H, W)`` bool.

    Source:
        Zhong, Zheng, Kang, Li and Yang, "Random erasing data augmentation", 2020. There the aspect itself is uniform,
        which makes more boxes lie than stand; that its logarithm is, is torchvision's and timm's choice.
    """
    shares = sides(between(area, *AREAS), aspect, aspects=ASPECTS, image=size)
    masks = []
    for share, draw, side in zip(shares, (down, right), size, strict=True):
        length = (share * side).round().clamp(min=1).long()
        masks.append(_inside(whole(draw, side + 1 - length), length, side))
    rows, columns = masks
    return ((rows & happens[:, None])[:, :, None] & columns[:, None])[:, None]  # N,H,1 & N,1,W -> N,1,H,W


def cut_out(side: int, down: Tensor, right: Tensor, *, size: tuple[int, int]) -> Tensor:
    """The pixels of one square per image, whose centre is anywhere in the image: part of it may lie outside.

    Args:
        side: In pixels.
        down: ``(N,)`` draws in 0..1: the row of the centre.
        right: ``(N,)`` draws in 0..1: its column.
        size: ``(H, W)``.

    Returns:
        ``(N, 1, H, W)`` bool.

    Source:
        DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
    """
    length = torch.full_like(down, side, dtype=torch.int64)
    rows, columns = (
        _inside(whole(draw, places) - side // 2, length, places)
        for draw, places in zip((down, right), size, strict=True)
    )
    return (rows[:, :, None] & columns[:, None])[:, None]  # N,H,1 & N,1,W -> N,1,H,W
