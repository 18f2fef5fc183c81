"""Flips and shifts: pixels are moved and none is computed, so they are moved as bytes."""

from __future__ import annotations

import torch
from torch import Tensor


def _sources(length: int, shift: Tensor) -> Tensor:
    """``(N,)`` shifts to ``(N, length)``: which pixel comes to each place; the border is reflected."""
    place = torch.arange(length, device=shift.device) - shift[:, None]
    return (length - 1) - ((length - 1) - place.abs()).abs()


def move(
    images: Tensor, *, down: Tensor | None = None, right: Tensor | None = None, mirrored: Tensor | None = None
) -> Tensor:
    """Mirror images left and right, then move them; what comes in is reflected, as by ``numpy.pad(mode="reflect")``.

    Rows are copied whole, and columns gathered through one index per image that all its rows and channels share: an
    index for every pixel would take eight times the memory of the images.

    Args:
        images: ``(N, C, H, W)``, any dtype.
        down: ``(N,)`` int64 pixels in ``-H < down < H``, negative moves up; None moves no image.
        right: ``(N,)`` int64 pixels in ``-W < right < W``, negative moves left; None moves no image.
        mirrored: ``(N,)`` bool; None mirrors no image.

    Returns:
        ``(N, C, H, W)``, new unless there is nothing to do.

    Example:
        >>> strip = torch.tensor([1, 2, 3]).view(1, 1, 1, 3)
        >>> move(strip, right=torch.tensor([1])).flatten().tolist()
        [2, 1, 2]
        >>> move(strip, mirrored=torch.tensor([True])).flatten().tolist()
        [3, 2, 1]
    """
    count, channels, height, width = images.shape
    if down is not None:
        planes = torch.arange(count * channels, device=images.device).view(count, channels, 1) * height
        rows = (planes + _sources(height, down)[:, None]).flatten()  # N,C,1 + N,1,H -> N*C*H
        images = images.reshape(-1, width).index_select(0, rows).view(count, channels, height, width)
    if right is None and mirrored is None:
        return images
    if right is None:
        columns = torch.arange(width, device=images.device).expand(count, width)
    else:
        columns = _sources(width, right)
    if mirrored is not None:
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    flat = images.reshape(count, channels * height, width)
    columns = columns[:, None].expand(count, channels * height, width)  # N,W -> N,C*H,W without memory
    return flat.gather(2, columns).view(count, channels, height, width)
