"""Brightness, contrast and saturation, changed in place: images are floats in 0..255, factors one per image.

Results are cut off at 0 and 255, as a camera's would be. The arithmetic is that of torchvision's ``adjust_*``.
"""

from __future__ import annotations

from torch import Tensor

GREY = (0.2989, 0.587, 0.114)  # how bright red, green and blue look; the weights of ITU-R BT.601


def _grey(colors: Tensor) -> Tensor:
    """The brightness of colours along axis 1: ``(N, C, ...) -> (N, 1, ...)``, the mean of other than three channels."""
    if colors.shape[1] != len(GREY):
        return colors.mean(1, keepdim=True)
    red, green, blue = colors.chunk(3, 1)
    grey: Tensor = (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])
    return grey


def brighten(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply images ``(N, C, H, W)`` by ``factor`` ``(N,)``, in place."""
    return x.mul_(factor.view(-1, 1, 1, 1)).clamp_(0, 255)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply differences from each image's mean grey by ``factor`` ``(N,)``, in place."""
    middle = _grey(x.mean((2, 3), keepdim=True))  # the mean of greys is the grey of means; N,C,H,W -> N,1,1,1
    factor = factor.view(-1, 1, 1, 1)
    return x.mul_(factor).add_(middle * (1 - factor)).clamp_(0, 255)


def saturate(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply differences from grey by ``factor`` ``(N,)``, in place; images that are not RGB have none and stay."""
    if x.shape[1] != len(GREY):
        return x
    grey = _grey(x)  # N,1,H,W
    return x.sub_(grey).mul_(factor.view(-1, 1, 1, 1)).add_(grey).clamp_(0, 255)
