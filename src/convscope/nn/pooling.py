"""Ways to halve an image that do not forget where things were."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.nn._arguments import images, positive
from convscope.ops._arguments import number

PaddingMode = Literal["reflect", "replicate", "circular", "zeros"]
_PADDING_MODES = ("reflect", "replicate", "circular", "zeros")


class BlurPool(nn.Module):
    """Blur each channel with a binomial filter, then keep every ``stride``-th pixel.

    To replace a max pool of stride 2, take the maximum at stride 1 and give it to this layer.

    Args:
        channels: ``C`` of the images.
        taps: Length of the filter in pixels: 2 is ``[1 1]``, 3 is ``[1 2 1]``, 5 is ``[1 4 6 4 1]``, over their sum.
        stride: Keep one pixel in so many, along both axes.
        padding_mode: What stands beyond the border. An even filter gets its odd pixel at the bottom and right.

    Raises:
        TypeError: A number is not an integer.
        ValueError: A number below 1, an unknown ``padding_mode``, or images with other axes, other channels, or too
            few pixels for a border that reflects or goes round.

    Example:
        >>> BlurPool(3)(torch.zeros(1, 3, 8, 7)).shape
        torch.Size([1, 3, 4, 4])

    Source:
        Zhang, "Making convolutional networks shift-invariant again", 2019.
    """

    kernel: Tensor

    def __init__(self, channels: int, *, taps: int = 3, stride: int = 2, padding_mode: PaddingMode = "reflect") -> None:
        super().__init__()
        positive(channels=channels, taps=taps, stride=stride)
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {', '.join(_PADDING_MODES)}, got {padding_mode!r}")
        self.channels, self.taps, self.stride, self.padding_mode = channels, taps, stride, padding_mode
        line = torch.tensor([math.comb(taps - 1, i) for i in range(taps)], dtype=torch.get_default_dtype())
        line = line / 2 ** (taps - 1)
        square = line[:, None] * line[None, :]  # taps,taps
        self.register_buffer("kernel", square.expand(channels, 1, taps, taps).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C, ceil(H / stride), ceil(W / stride))``."""
        images(x, self.channels)
        before, after = (self.taps - 1) // 2, self.taps // 2
        least = {"reflect": after + 1, "circular": after}.get(self.padding_mode, 1)
        if min(x.shape[2:]) < least:
            raise ValueError(
                f"expected H and W of at least {least} for taps={self.taps} with padding_mode={self.padding_mode!r}, "
                f"got {x.shape[2]}x{x.shape[3]}; use padding_mode='replicate' or fewer taps"
            )
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        x = F.pad(x, (before, after, before, after), mode=mode)
        return F.conv2d(x, self.kernel, stride=self.stride, groups=self.channels)

    def extra_repr(self) -> str:
        """The numbers it was made with."""
        return f"{self.channels}, taps={self.taps}, stride={self.stride}, padding_mode={self.padding_mode!r}"


class AdaptivePolyphaseSampling(nn.Module):
    """Of the ``stride`` x ``stride`` grids that plain subsampling could keep, keep the strongest, image by image.

    Shift the image in a circle and the same grid wins from its new place: what comes out is the same image, itself
    shifted. With circular padding and a global average at the end, a network gives every shift the same scores.

    Args:
        stride: Keep one pixel in so many, along both axes.
        order: Of the norm that tells how strong a grid is; 2 is the root of the sum of squares.

    Raises:
        TypeError: ``stride`` is not an integer, or ``order`` no number.
        ValueError: ``stride`` or ``order`` is below 1, the images have other axes, or ``stride`` does not divide the
            ``H`` and ``W`` that come.

    Example:
        >>> strip = torch.tensor([0.0, 1, 0, 3]).expand(1, 1, 2, 4)
        >>> AdaptivePolyphaseSampling()(strip)
        tensor([[[[1., 3.]]]])

    Source:
        Chaman and Dokmanic, "Truly shift-invariant convolutional neural networks", 2021.
    """

    def __init__(self, *, stride: int = 2, order: float = 2.0) -> None:
        super().__init__()
        positive(stride=stride)
        if number("order", order) < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        self.stride, self.order = stride, order

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C, H / stride, W / stride)``."""
        images(x)
        n, c, h, w = x.shape
        s = self.stride
        if h % s or w % s:
            raise ValueError(f"expected H and W that stride={s} divides, got {h}x{w}; pad or resize the images first")
        grids = x.reshape(n, c, h // s, s, w // s, s).permute(0, 3, 5, 1, 2, 4)  # -> N,s,s,C,H/s,W/s
        grids = grids.reshape(n, s * s, c, h // s, w // s)
        strength = torch.linalg.vector_norm(grids, ord=self.order, dim=(2, 3, 4))  # -> N,s*s
        best = strength.argmax(dim=1).reshape(n, 1, 1, 1, 1)
        return torch.take_along_dim(grids, best, dim=1).squeeze(1)

    def extra_repr(self) -> str:
        """The numbers it was made with."""
        return f"stride={self.stride}, order={self.order}"
