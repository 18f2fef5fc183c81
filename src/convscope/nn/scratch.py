"""A convolution layer with nothing hidden in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope.ops import corr2d
from convscope.ops._arguments import Pair, pair


class Conv2D(nn.Module):
    """A convolution layer from nothing but ``corr2d``: one channel in, one out, and it learns.

    Args:
        kernel_size: ``(kh, kw)`` in pixels, or one number for both.

    Raises:
        TypeError: Neither an integer nor two of them.
        ValueError: A side below 1.

    Example:
        >>> layer = Conv2D((1, 2))
        >>> layer(torch.ones(6, 8)).shape
        torch.Size([6, 7])

    Source:
        Zhang et al., "Dive into Deep Learning", section 7.2.2.
    """

    def __init__(self, kernel_size: Pair) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(pair("kernel_size", kernel_size, least=1)))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """``(H, W)`` to ``(H-kh+1, W-kw+1)``."""
        return corr2d(x, self.weight) + self.bias
