"""Crops and rotations: one look into the stored image for every pixel that the network sees."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.data.augment.boxes import sides

ASPECTS = (3 / 4, 4 / 3)  # width / height of a crop, in pixels


class Crop(NamedTuple):
    """Which part of each image is kept, ``(N,)`` each, in shares of the image's sides.

    Args:
        top: From the upper edge.
        left: From the left edge.
        height: Above 0, at most 1.
        width: Above 0, at most 1.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def crops(area: Tensor, aspect: Tensor, down: Tensor, right: Tensor, *, image: tuple[int, int]) -> Crop:
    """Boxes of these areas somewhere in the image; they need not begin or end with a pixel.

    Args:
        area: ``(N,)`` share of the image's.
        aspect: ``(N,)`` draw in 0..1, spread over 3/4 to 4/3.
        down: ``(N,)`` draw in 0..1: where, from the top to the bottom.
        right: ``(N,)`` draw in 0..1: where, from the left to the right.
        image: ``(H, W)`` in pixels.
    """
    height, width = sides(area, aspect, aspects=ASPECTS, image=image)
    return Crop(down * (1 - height), right * (1 - width), height, width)


def _places(count: int, like: Tensor) -> Tensor:
    """The middles of ``count`` pixels in a row, from -1 to 1 between the outer edges."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) * 2 + (1 - count)) / count


def _lookups(crop: Crop, angle: Tensor, *, image: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Where each pixel is looked up: ``(N, H, W, 2)``, x and y from -1 to 1, as ``grid_sample`` takes them.

    The image is turned about its middle and then cropped, so a place goes into the crop first and is turned then. Both
    steps are affine: a look is a sum of what its row and what its column gives. Adding these up is several times
    faster than the matrix product of ``affine_grid``.
    """
    x = (2 * crop.left + crop.width - 1)[:, None] + crop.width[:, None] * _places(size[1], angle)  # -> N,W
    y = (2 * crop.top + crop.height - 1)[:, None] + crop.height[:, None] * _places(size[0], angle)  # -> N,H
    cosine, sine = torch.cos(angle.deg2rad())[:, None], torch.sin(angle.deg2rad())[:, None]
    ratio = image[0] / image[1]  # an angle is one between pixels, not between shares of the sides
    grid = torch.empty(len(angle), *size, 2, device=angle.device, dtype=angle.dtype)
    torch.add((cosine * x)[:, None], (-ratio * sine * y)[:, :, None], out=grid[..., 0])  # N,1,W + N,H,1 -> N,H,W
    torch.add((sine / ratio * x)[:, None], (cosine * y)[:, :, None], out=grid[..., 1])
    return grid


def warp(images: Tensor, size: tuple[int, int], *, crop: Crop | None = None, angle: Tensor | None = None) -> Tensor:
    """Turn images, crop them and resize what is left, in one interpolation.

    Interpolation is bilinear, beyond the border reflected. Against aliasing, an image much larger than ``size`` is
    looked at several times per pixel and averaged: two looks are then at most 1.5 stored pixels apart whatever the
    crop, and a look is a blend of 2x2 pixels, so none is skipped.

    Args:
        images: ``(N, C, h, w)``, any dtype.
        size: ``(H, W)`` of the result.
        crop: What is kept; None keeps everything.
        angle: ``(N,)`` degrees, counter-clockwise; None turns no image.

    Returns:
        ``(N, C, H, W)`` float32, in the range of the images.

    Example:
        >>> quarter = warp(torch.tensor([[[[1.0, 2], [3, 4]]]]), (2, 2), angle=torch.tensor([90.0]))
        >>> quarter.round().squeeze().tolist()
        [[2.0, 4.0], [1.0, 3.0]]
    """
    count, _, height, width = images.shape
    if crop is None and angle is None:
        raise ValueError("expected a crop or an angle; resizing alone is Preprocess's work")
    zero = torch.zeros(count, device=images.device)
    crop = Crop(zero, zero, zero + 1, zero + 1) if crop is None else crop
    tall, wide = (max(1, math.ceil(old / new - 0.5)) for old, new in zip((height, width), size, strict=True))
    looks = (tall * size[0], wide * size[1])
    grid = _lookups(crop, zero if angle is None else angle, image=(height, width), size=looks)
    x = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return F.avg_pool2d(x, (tall, wide)) if tall * wide > 1 else x
